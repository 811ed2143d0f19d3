"""One FilterSet, for the API and for the pages. A value that no run can have is an error, not an empty list."""

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, time
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_date, parse_datetime

from runs import search, validation
from runs.limits import KEY_LENGTH, METRIC_NAME_LENGTH, TAG_LENGTH
from runs.metrics import NAME
from runs.models import TunixRun
from runs.querysets import NEWEST_FIRST, InTurn
from runs.time_limit import time_limit

VALUES_PER_FILTER = 50
TOO_SLOW = "takes the database too long: narrow it by a status, a dataset or a time"
# A model's name of 256 characters fits in, quoted, with others beside it. How many terms there are is bounded as well.
SEARCH_LENGTH = 1_000


class SeveralWidget(forms.TextInput):
    """Reads `?status=a,b` and `?status=a&status=b` alike. `separator` is None where values may contain commas."""

    def __init__(self, separator: str | None = ",", **options: Any):
        super().__init__(**options)
        self.separator = separator

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        given: list[str] = data.getlist(name) if hasattr(data, "getlist") else data.get(name) or []
        if len(given) > VALUES_PER_FILTER:
            return given  # repeats and all: it is refused for their number
        parts: Iterable[str] = given
        if self.separator:
            parts = (part.strip() for value in given for part in value.split(self.separator))
        return list(dict.fromkeys(part for part in parts if part))

    def format_value(self, value: Any) -> Any:
        return (self.separator or ",").join(value) if isinstance(value, list) else value


class SeveralField(forms.Field):
    """A list of values, each one of `allowed` where that is given."""

    def __init__(self, *, allowed: list[str] | None = None, max_length: int = KEY_LENGTH, **options: Any):
        super().__init__(**options)
        self.allowed, self.max_length = allowed, max_length

    def validate(self, value: list[str]) -> None:
        super().validate(value)
        if len(value) > VALUES_PER_FILTER:
            raise ValidationError(f"must have at most {VALUES_PER_FILTER} values")
        for each in value:
            validation.no_nul(each)
            if self.allowed and each not in self.allowed:
                raise ValidationError(f"must be among {', '.join(self.allowed)}, not {each[:40]!r}")
            if len(each) > self.max_length:
                raise ValidationError(f"a value has at most {self.max_length} characters")


class SeveralFilter(django_filters.Filter):
    field_class = SeveralField

    def __init__(self, *args: Any, separator: str | None = ",", **options: Any):
        super().__init__(*args, widget=SeveralWidget(separator), lookup_expr="in", **options)


class MomentField(forms.CharField):
    """An ISO 8601 date or time. Without an offset it is UTC; a date means its beginning, or its end for `before`."""

    def __init__(self, *, end_of_day: bool = False, **options: Any):
        super().__init__(**options)
        self.end_of_day = end_of_day

    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        if not text:
            return None
        try:
            moment = self._date(text) or parse_datetime(text)
            if moment is None:
                raise ValueError("neither a date nor a time")
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValidationError("must be a date or time such as 2025-12-22 or 2025-12-22T14:30:00Z") from error

    def _date(self, text: str) -> datetime | None:
        day = parse_date(text) if len(text) == len("2025-12-22") else None
        return datetime.combine(day, time.max if self.end_of_day else time.min) if day else None


class MomentFilter(django_filters.Filter):
    field_class = MomentField


class SearchField(forms.CharField):
    default_validators = [validation.no_nul]

    def clean(self, value: Any) -> search.Search | None:
        try:
            return search.parse(super().clean(value))
        except search.SearchError as error:
            raise ValidationError(str(error)) from error


class SearchFilter(django_filters.Filter):
    field_class = SearchField


class RunFilter(django_filters.FilterSet):
    status = SeveralFilter(label="Status", allowed=list(TunixRun.Status.values))
    cause = SeveralFilter(label="Cause", allowed=list(TunixRun.Cause.values))
    dataset_key = SeveralFilter(label="Dataset")
    mode = SeveralFilter(label="Mode", allowed=list(TunixRun.Mode.values))
    model_id = SeveralFilter(label="Model", separator=None)
    tag = SeveralFilter(label="Tag", method="by_tag", max_length=TAG_LENGTH)
    started_after = MomentFilter(label="Started on or after", field_name="started_at", lookup_expr="gte")
    started_before = MomentFilter(
        label="Started on or before", field_name="started_at", lookup_expr="lte", end_of_day=True
    )
    q = SearchFilter(label="Search", method="by_text", max_length=SEARCH_LENGTH)

    class Meta:
        model = TunixRun
        fields: tuple[str, ...] = ()

    def by_tag(self, runs: Any, name: str, value: list[str]) -> Any:
        return runs.tagged(value) if value else runs

    def by_text(self, runs: Any, name: str, value: search.Search | None) -> Any:
        return search.apply(runs, value) if value else runs

    def limit(self) -> AbstractContextManager[None]:
        """What rows are read in: no condition that somebody writes may keep the database for long."""
        found = self.form.cleaned_data.get("q") if self.is_valid() else None
        return time_limit() if found and found.has_conditions else nullcontext()


FILTER_NAMES = tuple(RunFilter.base_filters)

SORTS: dict[str, tuple[Any, ...]] = {
    "-started": NEWEST_FIRST,
    "started": ("started_at", "run_id"),
    "-duration": ("-duration_seconds", "-run_id"),
    "duration": ("duration_seconds", "run_id"),
}


# `metric:<name>`: by the last value of a metric, with `-` the largest first; NaN is last in either case.
BY_METRIC = re.compile(rf"(-?)metric:({NAME.pattern})")
COLUMNS_SHOWN = 6

# The heads that sort: label, style, and the orders that pressing them goes through.
SORTABLE = (
    ("Started At", "c-when", ("-started", "started")),
    ("Duration", "c-long num", ("-duration", "duration")),
)


class SortField(forms.CharField):
    def validate(self, value: str) -> None:
        super().validate(value)
        if value and value not in SORTS and not BY_METRIC.fullmatch(value):
            raise ValidationError(f"must be among {', '.join(SORTS)}, or metric: and the name of a metric")


class SortFilter(django_filters.Filter):
    field_class = SortField


def _metric_head(name: str) -> tuple[str, str, tuple[str, str]]:
    return name, "c-metric num", (f"metric:{name}", f"-metric:{name}")


class RunTableFilter(RunFilter):
    """The same for the pages, where a table can also be sorted by its heads."""

    sort = SortFilter(method="leave")
    # The metrics that are shown as columns.
    column = SeveralFilter(method="leave", separator=None, max_length=METRIC_NAME_LENGTH)

    def leave(self, runs: Any, name: str, value: str) -> Any:
        return runs

    @property
    def chosen_sort(self) -> str:
        return self.form.cleaned_data.get("sort") or "-started" if self.is_valid() else "-started"

    def sorted(self) -> InTurn:
        if found := BY_METRIC.fullmatch(self.chosen_sort):
            return self.qs.by_metric(found[2], descending=bool(found[1]))
        runs = self.qs.filter(duration_seconds__isnull=False) if self.only_with == "a duration" else self.qs
        return InTurn((runs.order_by(*SORTS[self.chosen_sort]),))

    @property
    def only_with(self) -> str:
        """What the list is sorted by and runs may lack: those that do are not in it, so that an index gives it."""
        found = BY_METRIC.fullmatch(self.chosen_sort)
        return found[2] if found else "a duration" if self.chosen_sort.endswith("duration") else ""

    @property
    def columns(self) -> list[str]:
        return (self.form.cleaned_data.get("column") or [])[:COLUMNS_SHOWN] if self.is_valid() else []

    def heads(self) -> list[dict[str, Any]]:
        """The sortable heads, each with its present order and the one that pressing it gives."""
        names = {"-": "descending", "": "ascending"}
        return [
            {
                "label": label,
                "css": css,
                "order": names["-" if self.chosen_sort.startswith("-") else ""] if self.chosen_sort in orders else None,
                "next": orders[1] if self.chosen_sort == orders[0] else orders[0],
            }
            for label, css, orders in (*SORTABLE, *map(_metric_head, self.columns))
        ]

    @property
    def fell(self) -> bool:
        """Whether these runs have a cause of death to choose by."""
        return bool(self.data.get("cause")) or bool({"failed", "timeout", "lost", "cancelled"} & set(self.statuses))

    @property
    def statuses(self) -> list[str]:
        return self.form.cleaned_data.get("status") or [] if self.is_valid() else []

    def in_use(self) -> list[tuple[str, str]]:
        """Name and wording of each filter that narrows the list."""
        return [
            (name, f"{self.filters[name].label}: {', '.join(self.data.getlist(name))}")
            for name in FILTER_NAMES
            if self.data.get(name)
        ]

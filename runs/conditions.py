"""What a condition of a search means: each field, what it is compared with, and how."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from runs.limits import METRIC_NAME_LENGTH, TRAINING
from runs.models import MetricSeries, RunTag, TunixRun
from runs.querysets import id_begins_with

LOOKUPS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MAX_INTEGER = 2**31 - 1
MAX_BIG_INTEGER = 2**63 - 1


class SearchError(ValueError):
    """What cannot be read, with the character, from 1 on, where it stands."""

    def __init__(self, message: str, position: int):
        super().__init__(f"cannot be read at character {position + 1}: {message}")


@dataclass(frozen=True)
class Value:
    """A value as it was written, without its quotes; `at` is where in the search it stands, from 0 on."""

    text: str
    at: int


@dataclass(frozen=True)
class Condition:
    """`name operator value,value`. `is_metric`: the name was written metric."…", so that it is no field's."""

    name: str
    is_metric: bool
    at: int
    operator: str
    operator_at: int
    values: list[Value]

    @property
    def one_value(self) -> Value:
        if len(self.values) > 1:
            raise SearchError("it is compared with one value", self.values[0].at)
        return self.values[0]

    def only(self, *operators: str) -> None:
        if self.operator not in operators:
            allowed = f"{', '.join(operators[:-1])} and {operators[-1]}"
            raise SearchError(f"only {allowed} go with it, not {self.operator}", self.operator_at)


Field = Callable[[Condition], Q]
Convert = Callable[[Value], Any]


def build(condition: Condition) -> Q:
    """Raises SearchError."""
    name = condition.name
    if condition.is_metric or "/" in name or name.startswith("metric."):
        return _metric(name if condition.is_metric else name.removeprefix("metric."), condition)
    field = FIELDS.get(name.lower())
    if field is None:
        known = ", ".join(FIELDS)
        raise SearchError(
            f"{name[:40]!r} is no field. There are {known}, and metrics: train/loss, metric.accuracy, "
            'metric."any name". In quotes it is a text',
            condition.at,
        )
    return field(condition)


def _any_of(found: Iterable[Q], operator: str) -> Q:
    joined = reduce(or_, found)
    return ~joined if operator == "!=" else joined


def _equal(column: str, convert: Convert) -> Field:
    """Of a column that is one value or another: `:` and `=` take several."""

    def field(condition: Condition) -> Q:
        condition.only(":", "=", "!=")
        return _any_of([Q(**{f"{column}__in": [convert(each) for each in condition.values]})], condition.operator)

    return field


def _ordered(column: str, convert: Convert) -> Field:
    """Of a column that is more or less."""

    def field(condition: Condition) -> Q:
        if condition.operator in LOOKUPS:
            return Q(**{f"{column}__{LOOKUPS[condition.operator]}": convert(condition.one_value)})
        return _any_of([Q(**{column: convert(each)}) for each in condition.values], condition.operator)

    return field


def _moment(column: str) -> Field:
    """Of a time: before or after one, or on a day. A day has its whole length: `<=` includes it, `>` too."""

    def field(condition: Condition) -> Q:
        operator = condition.operator
        if operator not in LOOKUPS:
            return _any_of([_on_day(column, each) for each in condition.values], operator)
        value = condition.one_value
        if operator == "<=" and (day := _day(value)):
            return Q(**{f"{column}__lt": day + timedelta(days=1)})
        return Q(**{f"{column}__{LOOKUPS[operator]}": _time(value)})

    return field


def _on_day(column: str, value: Value) -> Q:
    day = _day(value)
    if day is None:
        _time(value)
        raise SearchError("with : and = goes a day, such as 2025-12-22; a time is compared with < or >", value.at)
    return Q(**{f"{column}__gte": day, f"{column}__lt": day + timedelta(days=1)})


def _id(condition: Condition) -> Q:
    condition.only(":", "=", "!=")
    return _any_of([id_begins_with(each.text) for each in condition.values], condition.operator)


def _tag(condition: Condition) -> Q:
    condition.only(":", "=", "!=")
    names = [_text(each) for each in condition.values]
    return _any_of([Q(pk__in=RunTag.objects.filter(name__in=names).values("run"))], condition.operator)


def _notes(condition: Condition) -> Q:
    """By a part of the text."""
    condition.only(":", "=", "!=")
    return _any_of([Q(notes__icontains=_text(each)) for each in condition.values], condition.operator)


def _metric(name: str, condition: Condition) -> Q:
    """By its last value, of runs that have it. NaN is a value: stored as NULL, and neither more nor less than any."""
    if not name or len(name) > METRIC_NAME_LENGTH:
        raise SearchError(f"a metric's name has 1 to {METRIC_NAME_LENGTH} characters", condition.at)
    operator = condition.operator
    if operator in LOOKUPS:
        value = _any_number(condition.one_value)
        if math.isnan(value):
            raise SearchError("NaN is neither more nor less; ask for it with : or !=", condition.one_value.at)
        wanted = Q(**{f"last_value__{LOOKUPS[operator]}": value})
    else:
        wanted = _any_of([_exactly(_any_number(each)) for each in condition.values], operator)
    return Q(pk__in=MetricSeries.objects.filter(wanted, name=_text(Value(name, condition.at))).values("run"))


def _exactly(value: float) -> Q:
    return Q(last_value__isnull=True) if math.isnan(value) else Q(last_value=value)


# --- values -----------------------------------------------------------------------------------------------------------


def _among(known: list[str]) -> Convert:
    def convert(value: Value) -> str:
        if value.text.lower() not in known:
            raise SearchError(f"{value.text[:40]!r} is none of {', '.join(known)}", value.at)
        return value.text.lower()

    return convert


def _text(value: Value) -> str:
    if "\0" in value.text:
        raise SearchError("a text has no NUL", value.at)
    return value.text


def _priority(value: Value) -> int:
    names = [each.name.lower() for each in TunixRun.Priority]
    return int(TunixRun.Priority[_among(names)(value).upper()])


def _any_number(value: Value) -> float:
    """NaN and infinities among them, as pages write them too."""
    try:
        return float(value.text.replace("∞", "inf").replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        raise SearchError(f"{value.text[:40]!r} is no number", value.at) from None


def _number(value: Value) -> float:
    number = _any_number(value)
    if not math.isfinite(number):
        raise SearchError(f"{value.text[:40]!r} is no number", value.at)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _whole(maximum: int) -> Convert:
    def convert(value: Value) -> int:
        number = _number(value)
        if not isinstance(number, int) or abs(number) > maximum:
            raise SearchError(f"{value.text[:40]!r} is no whole number", value.at)
        return number

    return convert


def _span(value: Value) -> float:
    found = SPAN.fullmatch(value.text)
    return float(found[1]) * SECONDS[found[2]] if found else float(_number(value))


def _day(value: Value) -> datetime | None:
    """The beginning of a date, in UTC; None for what is none."""
    try:
        day = parse_date(value.text)
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None


def _time(value: Value) -> datetime:
    """`7d` is so long ago; else a date or a time, in UTC where it does not say."""
    if found := SPAN.fullmatch(value.text):
        try:
            return timezone.now() - timedelta(seconds=float(found[1]) * SECONDS[found[2]])
        except OverflowError:
            raise SearchError(f"{value.text[:40]!r} is before all time", value.at) from None
    try:
        moment = _day(value) or parse_datetime(value.text)
    except ValueError:
        moment = None
    if moment is None:
        raise SearchError(f"{value.text[:40]!r} is no time such as 7d, 12h or 2025-12-22", value.at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


SHORT = {
    "lr": "learning_rate",
    "epochs": "num_epochs",
    "batch": "batch_size",
    "length": "max_seq_length",
    "timeout": "timeout_seconds",
    "lora": "lora_rank",
}
FIELDS: dict[str, Field] = {
    "status": _equal("status", _among(list(TunixRun.Status.values))),
    "cause": _equal("cause", _among(list(TunixRun.Cause.values))),
    "mode": _equal("mode", _among(list(TunixRun.Mode.values))),
    "priority": _equal("priority", _priority),
    "dataset": _equal("dataset_key", _text),
    "model": _equal("model_id", _text),
    "owner": _equal("owner__username", _text),
    "host": _equal("host", _text),
    "tag": _tag,
    "notes": _notes,
    "id": _id,
    "started": _moment("started_at"),
    "ended": _moment("completed_at"),
    "duration": _ordered("duration_seconds", _span),
    "exit": _ordered("exit_code", _whole(MAX_INTEGER)),
    "step": _ordered("step", _whole(MAX_BIG_INTEGER)),
    **{short: _ordered(f"config__{name}", _number) for short, name in SHORT.items()},
    **{name: _ordered(f"config__{name}", _number) for name in TRAINING},
}

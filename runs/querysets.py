"""What is asked of the run table. Each method is named for what it serves."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.db import connection, models
from django.db.models import Q

# The seven fields of the list, in the order that the contract shows them. None of them is a log.
LIST_FIELDS = ("run_id", "dataset_key", "model_id", "mode", "status", "started_at", "duration_seconds")
NEWEST_FIRST = ("-started_at", "-run_id")
# From here on finding the keys first and the rows second is cheaper: 861 against 168 ms at row 900,000.
DEEP_OFFSET = 10_000
# A search looks at so many different datasets, models and tags.
SEARCHED_VALUES = 5_000
# A statement names so many of each for a word: with 100 words it stays below SQLite's 32,766 variables.
LISTED_VALUES = 100
LARGE_COLUMNS = ("stdout", "stderr", "provenance")


class TunixRunQuerySet(models.QuerySet):
    def alive(self) -> Self:
        """Not in the trash."""
        return self.filter(deleted_at=None)

    def newest_first(self) -> Self:
        return self.order_by(*NEWEST_FIRST)

    def for_list(self) -> Any:
        """Rows as dicts of LIST_FIELDS: a third of the time that model instances and a serializer take."""
        return self.values(*LIST_FIELDS)

    def for_table(self) -> Self:
        """Runs for a page's table of them: what a row shows, its tags included, in two queries."""
        return self.only(*LIST_FIELDS).prefetch_related("tags")

    def without_logs(self) -> Self:
        """Runs with all that is small of them."""
        return self.defer(*LARGE_COLUMNS)

    def slice_from(self, offset: int, count: int) -> Any:
        """`count` rows from `offset` on, in this queryset's order, which must be a total one."""
        by_another_table = any("__" in str(each) for each in self.query.order_by)
        if offset < DEEP_OFFSET or by_another_table:
            return self[offset : offset + count]
        keys = self.values("pk")[offset : offset + count]
        return self.model._default_manager.filter(pk__in=keys).order_by(*self.query.order_by)

    def after(self, started_at: datetime, run_id: uuid.UUID) -> Self:
        """The rows that follow this one, newest first. The first condition alone is what the index seeks by."""
        return self.filter(started_at__lte=started_at).filter(Q(started_at__lt=started_at) | Q(run_id__lt=run_id))

    def places_of(self, words: Iterable[str]) -> dict[str, Q]:
        """For each word the condition that finds it in the dataset or model, in a tag, or at the head of the ID.

        Words are looked up among the different values first, of which there are few, and the runs by their indexes
        then: LIKE over the rows takes 1,075 ms at a million runs when nothing is found. Where a word is in many values,
        LIKE finds a page of runs soon, and a list of the values would be longer than a statement may be.
        """
        words = list(words)
        columns = {name: self.known(name, SEARCHED_VALUES) for name in ("dataset_key", "model_id") if words}
        tags = self.known_tags(SEARCHED_VALUES) if words else []
        found = {}
        for word in words:
            place = id_begins_with(word) | Q(pk__in=self._tags().filter(_place("name", word, tags)).values("run"))
            for column, values in columns.items():
                place |= _place(column, word, values)
            found[word] = place
        return found

    def by_metric(self, name: str, *, descending: bool) -> "InTurn":
        """Those that have it, by its last value, NaN last in either order: read off an index, whatever their number.

        NaN is stored as NULL, which databases place differently, so those are a part of their own.
        """
        sign = "-" if descending else ""
        numbers = self.filter(metrics__name=name, metrics__last_value__isnull=False)
        nans = self.filter(metrics__name=name, metrics__last_value__isnull=True)
        order = f"{sign}metrics__run"
        return InTurn((numbers.order_by(f"{sign}metrics__last_value", order), nans.order_by(order)))

    def known_metrics(self, count: int = 200) -> list[str]:
        table = self.model._meta.get_field("metrics").related_model._meta.db_table  # type: ignore[union-attr]
        return _different_values(table, "name", count, "TRUE")

    def ahead_of(self, run: Any) -> Self:
        """What is started before this pending run."""
        waiting = self.alive().filter(status="pending").exclude(pk=run.pk)
        return waiting.filter(Q(priority__gt=run.priority) | Q(priority=run.priority, accepted_at__lt=run.accepted_at))

    def tagged(self, names: Iterable[str]) -> Self:
        return self.filter(pk__in=self._tags().filter(name__in=list(names)).values("run"))

    def known(self, column: str, count: int = 50) -> list[str]:
        """The first `count` different values of an indexed column, over all runs that are not in the trash.

        SELECT DISTINCT reads every row: 292 ms for 40 values in a million runs, this 1 ms.
        """
        return _different_values(self.model._meta.db_table, column, count, "deleted_at IS NULL")

    def counts_by_status(self, statuses: Iterable[str], at_most: int) -> dict[str, int]:
        """How many runs that are not in the trash have each status, counted up to `at_most`.

        One query of short stretches of an index, whatever the number of runs: GROUP BY would read them all.
        """
        statuses = list(statuses)
        rows = f"SELECT 1 FROM {self.model._meta.db_table} WHERE status = %s AND deleted_at IS NULL LIMIT {at_most:d}"
        counts = ", ".join([f"(SELECT count(*) FROM ({rows}) AS counted)"] * len(statuses))
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {counts}", statuses)
            return dict(zip(statuses, cursor.fetchone(), strict=True))

    def known_tags(self, count: int = 50) -> list[str]:
        return _different_values(self._tags().model._meta.db_table, "name", count, "TRUE")

    def _tags(self) -> Any:
        return self.model._meta.get_field("tags").related_model._default_manager  # type: ignore[union-attr]

    def datetimes(self, field_name: str, kind: Any, order: Any = "ASC", tzinfo: Any = None) -> Any:
        """The days, months or years that have a run, found by hopping down the index.

        Django's own reads every row: 324 ms for the years of a million runs, this 2 ms. The admin asks on every page.
        """
        if kind not in ("year", "month", "day") or self.query.is_sliced:
            return super().datetimes(field_name, kind, order, tzinfo)
        found: list[datetime] = []
        rows = self.order_by(f"-{field_name}").values_list(field_name, flat=True)
        newest = rows.first()
        while newest is not None:
            found.append(_period_start(newest, kind))
            newest = rows.filter(**{f"{field_name}__lt": found[-1]}).first()
        return found[::-1] if order == "ASC" else found


@dataclass(frozen=True)
class InTurn:
    """Runs of one queryset after those of another; each part has a total order of its own."""

    parts: tuple[TunixRunQuerySet, ...]

    def rows(self, offset: int, count: int, prepare: Callable[[Any], Any]) -> list[Any]:
        """`count` runs from `offset` on. `prepare` says of each part what to fetch with its runs."""
        found: list[Any] = []
        for number, part in enumerate(self.parts):
            rows = list(prepare(part.slice_from(offset, count - len(found))))
            found += rows
            if len(found) == count or number == len(self.parts) - 1:
                break
            offset = 0 if rows else max(0, offset - part.count())
        return found

    def iterator(self, chunk_size: int, prepare: Callable[[Any], Any]) -> Iterator[Any]:
        """All of them, `chunk_size` in memory at a time."""
        for part in self.parts:
            yield from prepare(part).iterator(chunk_size=chunk_size)


def _period_start(moment: datetime, kind: str) -> datetime:
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind != "day":
        start = start.replace(day=1)
    return start.replace(month=1) if kind == "year" else start


def _different_values(table: str, column: str, count: int, condition: str) -> list[str]:
    """One query that seeks the next greater value of an index again and again. No name in it is a request's."""
    smallest = f"SELECT min({column}) FROM {table} WHERE {condition}"
    query = f"""
        WITH RECURSIVE hop(value) AS (
            {smallest}
            UNION ALL
            SELECT ({smallest} AND {column} > hop.value) FROM hop WHERE hop.value IS NOT NULL
        )
        SELECT value FROM hop WHERE value IS NOT NULL LIMIT %s"""
    with connection.cursor() as cursor:
        cursor.execute(query, [count])
        return [value for (value,) in cursor.fetchall()]


def _place(column: str, word: str, known: list[str]) -> Q:
    """Where `column` contains `word`, given the first SEARCHED_VALUES different values of the column."""
    values = [value for value in known if word.casefold() in value.casefold()]
    if len(values) > LISTED_VALUES or len(known) == SEARCHED_VALUES:
        return Q(**{f"{column}__icontains": word})
    return Q(**{f"{column}__in": values})


def id_begins_with(prefix: str) -> Q:
    """A range of UUIDs, so that an index can answer. Nothing, where `prefix` is no beginning of a UUID."""
    digits = prefix.replace("-", "").lower()
    if not 0 < len(digits) <= 32 or not set(digits) <= set("0123456789abcdef"):
        return Q(pk__in=[])
    return Q(run_id__range=(uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))))

"""Metric series of a run: points in, points out, down-sampled so that peaks stay visible.

Points lie in blocks of BLOCK_STEPS steps, a row each, as arrays of 64-bit numbers: a million points are 2,000 rows.
Each block also knows its outline, four points that a chart of the whole can do with. A point that is written again, by
a training that repeats steps after a crash, is replaced.
"""

import math
import re
import sys
import uuid
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any
from zlib import crc32

from django.db import transaction
from django.db.models import Max, Min, Q, QuerySet, Sum

from runs.limits import METRIC_NAME_LENGTH, POINTS_PER_RUN
from runs.models import MetricBlock, MetricSeries, TunixRun

# 12 KB a full block. Larger ones cost more to write again with every few points, smaller ones more rows to read.
BLOCK_STEPS = 512
OUTLINE_POINTS = 4
# Read at once by whoever wants all: 2 MB.
STREAMED_BLOCKS = 200
# Norms of each tensor and rewards of each function are thousands of names. A trainer that puts a step into its names
# would make a series of each.
MAX_SERIES = 10_000
MAX_STEP = 2**53
# The years 1 to 9999, of which Python has times.
MIN_TIME, MAX_TIME = -62_135_596_800, 253_402_300_800
_NEVER = r"\x00-\x1f\x7f\ud800-\udfff"
NAME = re.compile(rf"[^\s{_NEVER}](?:[^{_NEVER}]{{0,{METRIC_NAME_LENGTH - 2}}}[^\s{_NEVER}])?")
# Series that say how a machine did, not how a model did: they differ between two runs that are the same.
OF_THE_MACHINE = ("system/", "perf/")


def is_of_the_machine(name: str) -> bool:
    return name.startswith(OF_THE_MACHINE)


# Step, value (NaN and infinities are values), and seconds since 1970.
Point = tuple[int, float, float]
Batch = Mapping[str, Sequence[Point]]


def infinity(value: float) -> str | None:
    """`Infinity` or `-Infinity`, as JSON's users write what JSON has no number for; None for other values."""
    return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else None


@dataclass(frozen=True)
class LeftOut:
    """Points that were not stored: beyond the MAX_SERIES names, or the POINTS_PER_RUN, that a run can have."""

    points: int = 0
    first_name: str = ""
    first_step: int = 0
    most: str = ""

    @property
    def reason(self) -> str:
        first = f"{self.first_name!r} at step {self.first_step:,}"
        return f"a run has at most {self.most or f'{MAX_SERIES:,} metrics'}; the first left out was {first}"

    def and_(self, other: "LeftOut") -> "LeftOut":
        """Both, with the reason of the first that has one."""
        first = self if self.points else other
        return replace(first, points=self.points + other.points)


@dataclass
class Points:
    """One series, or a part of it, by rising step: three arrays of the same length."""

    steps: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    times: "array[float]" = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Point]:
        return zip(self.steps, self.values, self.times, strict=True)

    @classmethod
    def of(cls, points: Iterable[Point]) -> "Points":
        columns = list(zip(*points, strict=True)) or [(), (), ()]
        return cls(array("q", columns[0]), array("d", columns[1]), array("d", columns[2]))

    def take(self, indexes: Sequence[int]) -> "Points":
        return Points(*(array(each.typecode, map(each.__getitem__, indexes)) for each in self.columns))

    def between(self, first: int, last: int) -> "Points":
        """Those of the steps from `first` to `last`, both included."""
        part = slice(bisect_left(self.steps, first), bisect_right(self.steps, last))
        return Points(*(each[part] for each in self.columns))

    @property
    def columns(self) -> tuple[Any, Any, Any]:
        return self.steps, self.values, self.times

    def to_bytes(self) -> bytes:
        return b"".join(_little_endian(each).tobytes() for each in self.columns)

    def extend(self, stored: bytes | memoryview) -> None:
        """Append what `to_bytes` made."""
        stored = memoryview(stored)
        length = len(stored) // 3
        for number, column in enumerate(self.columns):
            part = array(column.typecode, stored[number * length : (number + 1) * length].tobytes())
            column.extend(_little_endian(part))


def _little_endian(numbers: Any) -> Any:
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers


# --- in ---------------------------------------------------------------------------------------------------------------


def append(run_id: uuid.UUID, batch: Batch) -> LeftOut:
    """Store points, all or none; one that is there already at its step is replaced.

    Of new names beyond MAX_SERIES the points are left out, and of all names those beyond POINTS_PER_RUN, and no others:
    what comes first in `batch` is taken. One that would replace another counts as one more.
    Raises ValueError for a name that none can have, and the database's errors.
    """
    batch = _filled(batch)
    for name in batch:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is no name of a metric")
    if not batch:
        return LeftOut()
    with transaction.atomic():
        batch, surplus = _that_fit(run_id, batch)
        series = _locked_series(run_id, batch)
        left_out = _left_out({name: points for name, points in batch.items() if name not in series})
        batch = {name: points for name, points in batch.items() if name in series}
        known = _blocks(series, batch)
        changed = [_merged(known, series[name], number, points) for name, number, points in _by_block(batch)]
        MetricBlock.objects.bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["series", "number"],
            update_fields=["count", "minimum", "maximum", "outline", "points"],
        )
        _summarize(series, batch)
    return left_out.and_(surplus)


def _that_fit(run_id: uuid.UUID, batch: Batch) -> tuple[Batch, LeftOut]:
    """What of the batch is within POINTS_PER_RUN, and what is not."""
    room = POINTS_PER_RUN - (MetricSeries.objects.filter(run_id=run_id).aggregate(sum=Sum("count"))["sum"] or 0)
    if sum(map(len, batch.values())) <= room:
        return batch, LeftOut()
    fit: dict[str, Sequence[Point]] = {}
    surplus: dict[str, Sequence[Point]] = {}
    for name, points in batch.items():
        taken = max(0, room)
        fit[name], surplus[name] = points[:taken], points[taken:]
        room -= len(points)
    left_out = _left_out(_filled(surplus))
    return _filled(fit), replace(left_out, most=f"{POINTS_PER_RUN:,} points")


def _filled(batch: Batch) -> Batch:
    return {name: points for name, points in batch.items() if points}


def _left_out(batch: Batch) -> LeftOut:
    for name, points in batch.items():
        return LeftOut(sum(map(len, batch.values())), name, points[0][0])
    return LeftOut()


def _locked_series(run_id: uuid.UUID, batch: Batch) -> dict[str, MetricSeries]:
    """The series of the batch, made where they are new and may be. Whoever holds them is alone with their blocks."""
    of_run = MetricSeries.objects.filter(run_id=run_id)
    there = set(of_run.values_list("name", flat=True))
    room = max(0, MAX_SERIES - len(there))
    if new := [name for name in batch if name not in there][:room]:
        MetricSeries.objects.bulk_create(
            (MetricSeries(run_id=run_id, name=name) for name in sorted(new)), ignore_conflicts=True
        )
    locked = of_run.filter(name__in=list(batch)).order_by("pk").select_for_update()
    return {each.name: each for each in locked}


def _by_block(batch: Batch) -> Iterator[tuple[str, int, list[Point]]]:
    for name, points in batch.items():
        blocks: dict[int, list[Point]] = {}
        for point in points:
            blocks.setdefault(point[0] // BLOCK_STEPS, []).append(point)
        for number, inside in blocks.items():
            yield name, number, inside


def _blocks(series: dict[str, MetricSeries], batch: Batch) -> dict[tuple[int, int], MetricBlock]:
    """Those that the batch's points lie in and that are there, and perhaps others at the same steps."""
    numbers = {step // BLOCK_STEPS for points in batch.values() for step, _, _ in points}
    found = MetricBlock.objects.filter(series__in=series.values(), number__in=numbers)
    return {(each.series_id, each.number): each for each in found}


def _merged(known: Any, series: MetricSeries, number: int, new: list[Point]) -> MetricBlock:
    points = Points()
    if block := known.get((series.pk, number)):
        points.extend(block.points)
    by_step = {point[0]: point for point in (*points, *new)}
    points = Points.of(by_step[step] for step in sorted(by_step))
    lowest, highest = _extremes(points.values)
    return MetricBlock(
        series=series,
        number=number,
        count=len(points),
        minimum=lowest,
        maximum=highest,
        outline=thinned(points, OUTLINE_POINTS).to_bytes(),
        points=points.to_bytes(),
    )


def _extremes(values: Iterable[float]) -> tuple[float | None, float | None]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (None, None)


def _summarize(series: dict[str, MetricSeries], batch: Batch) -> None:
    """Count, last, minimum and maximum of each, from its blocks: a replaced point may have been any of them."""
    of_blocks = MetricBlock.objects.filter(series__in=series.values()).values_list("series")
    totals = {pk: rest for pk, *rest in of_blocks.annotate(Sum("count"), Min("minimum"), Max("maximum"))}
    for name, each in series.items():
        each.count, each.minimum, each.maximum = totals[each.pk]
        step, value, _ = max(reversed(batch[name]), key=lambda point: point[0])
        if step >= each.last_step:
            each.last_step, each.last_value = step, None if math.isnan(value) else value
    # All of them are there. bulk_update would take 20 times as long for thousands.
    MetricSeries.objects.bulk_create(
        series.values(),
        update_conflicts=True,
        unique_fields=["pk"],
        update_fields=["count", "minimum", "maximum", "last_step", "last_value"],
    )


# --- out --------------------------------------------------------------------------------------------------------------


def series(run: TunixRun) -> list[MetricSeries]:
    return list(run.metrics.all())


def losses(run: TunixRun, count: int) -> list[MetricSeries]:
    """The first `count` of those whose names say that they are one."""
    named = Q(name="loss") | Q(name__endswith="/loss") | Q(name__endswith="_loss")
    return list(run.metrics.filter(named)[:count])


def names(runs: Iterable[TunixRun]) -> list[str]:
    """Of all metrics that any of these runs has."""
    found = MetricSeries.objects.filter(run__in=list(runs))
    return list(found.order_by("name").values_list("name", flat=True).distinct())


def version(run: TunixRun, of: Sequence[str]) -> str:
    """Another one when points of these metrics have come."""
    columns = ("name", "count", "last_step", "last_value", "minimum", "maximum")
    summaries = run.metrics.filter(name__in=of).order_by("name").values_list(*columns)
    return f"{crc32(repr(list(summaries)).encode()):08x}"


def read(
    run: TunixRun,
    names: Sequence[str] | None = None,
    max_points: int | None = None,
    steps: tuple[int, int] = (0, MAX_STEP),
) -> dict[str, Points]:
    """Each series of `run`, or those that `names` names and that are there; whole, or down to `max_points` each.

    `steps` are the first and the last that are wanted; a series without a point between them is there, empty.
    """
    wanted = list(run.metrics.all() if names is None else run.metrics.filter(name__in=names))
    outlined = {each.pk for each in wanted if max_points is not None and _has_outline_for(each, max_points, steps)}
    found = {each.pk: Points() for each in wanted}
    for column, chosen in (("outline", outlined), ("points", found.keys() - outlined)):
        if chosen:
            blocks = _of_steps(MetricBlock.objects.filter(series__in=chosen), steps).order_by("series", "number")
            for series_id, stored in blocks.values_list("series_id", column).iterator():
                found[series_id].extend(stored)
    whole = {each.name: found[each.pk].between(*steps) for each in wanted}
    return whole if max_points is None else {name: thinned(points, max_points) for name, points in whole.items()}


def stream(
    run: TunixRun, names: Sequence[str] | None, steps: tuple[int, int]
) -> Iterator[tuple[str, Iterator[Points]]]:
    """As `read`, whole, in bounded memory: each series in pieces, which are to be taken before the next series is."""
    wanted = run.metrics.all() if names is None else run.metrics.filter(name__in=names)
    series_names = dict(wanted.order_by("pk").values_list("pk", "name"))
    blocks = _of_steps(MetricBlock.objects.filter(series__in=wanted.order_by().values("pk")), steps)
    rows = blocks.order_by("series", "number").values_list("series_id", "points").iterator(STREAMED_BLOCKS)
    for series_id, of_series in groupby(rows, key=itemgetter(0)):
        if name := series_names.pop(series_id, ""):  # else it is newer than this request
            yield name, (_piece(stored, steps) for _, stored in of_series)
    for name in series_names.values():
        yield name, iter(())


def _piece(stored: bytes | memoryview, steps: tuple[int, int]) -> Points:
    points = Points()
    points.extend(stored)
    return points.between(*steps)


def last(series: MetricSeries, count: int) -> Points:
    """The last `count` points, BLOCK_STEPS at most."""
    points = Points()
    for stored in reversed(list(series.blocks.order_by("-number").values_list("points", flat=True)[:2])):
        points.extend(stored)
    return Points(*(each[-count:] for each in points.columns))


def _of_steps(blocks: QuerySet[MetricBlock], steps: tuple[int, int]) -> QuerySet[MetricBlock]:
    first, last = steps
    return blocks.filter(number__gte=first // BLOCK_STEPS, number__lte=last // BLOCK_STEPS)


def _has_outline_for(series: MetricSeries, max_points: int, steps: tuple[int, int]) -> bool:
    """Where there are as many blocks as stretches are wanted, their outlines have every peak that can be seen."""
    at_most = (min(series.last_step, steps[1]) - steps[0]) // BLOCK_STEPS + 1
    if series.count <= max_points or 2 * at_most < max_points:
        return False
    return 2 * _of_steps(series.blocks.all(), steps).count() >= max_points


def thinned(points: Points, max_points: int) -> Points:
    """At most `max_points` (3 at least) of them: the first, the last and, of equal stretches, the lowest and highest.

    A value that is not finite stands for its stretch: it is what its reader must see.
    """
    if len(points) <= max_points:
        return points
    stretches, count = max(1, (max_points - 2) // 2), len(points)
    chosen = {0, count - 1}
    values = points.values
    for start, end in pairwise(count * each // stretches for each in range(stretches + 1)):
        stretch = values[start:end]
        if math.isfinite(sum(stretch)):
            chosen |= {start + stretch.index(min(stretch)), start + stretch.index(max(stretch))}
        else:
            chosen |= set(_of_broken(stretch, start))
    return points.take(sorted(chosen))


def _of_broken(stretch: "array[float]", start: int) -> Iterator[int]:
    broken = [index for index, value in enumerate(stretch) if not math.isfinite(value)]
    whole = [index for index, value in enumerate(stretch) if math.isfinite(value)]
    yield start + broken[0] if broken else start
    if whole:
        yield start + max(whole, key=stretch.__getitem__)


def at_steps(run: TunixRun, steps: Iterable[int], of: Sequence[str] | None = None) -> dict[int, dict[str, float]]:
    """What each series of the model, or those named, said at each of these steps or, where it said nothing, shortly
    before."""
    found: dict[int, dict[str, float]] = {step: {} for step in steps}
    blocks = MetricBlock.objects.filter(series__run=run, number__in={step // BLOCK_STEPS for step in found})
    if of is not None:
        blocks = blocks.filter(series__name__in=of)
    for name, number, stored in blocks.values_list("series__name", "number", "points").order_by("series__name"):
        if is_of_the_machine(name):
            continue
        points = Points()
        points.extend(stored)
        for step in (step for step in found if step // BLOCK_STEPS == number):
            before = [value for at, value, _ in points if at <= step]
            if before:
                found[step][name] = before[-1]
    return found

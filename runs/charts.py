"""Metric series as plots: lines in SVG, drawn by the server, there with the page and without a script."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from runs import metrics
from runs.models import TunixRun

WIDTH, HEIGHT = 600, 120
MAX_POINTS = 400
# A line that goes up and down by so many times its height is noise: an average is drawn, with the points pale behind.
NOISE = 4
WEIGHT_OF_THE_PAST = 0.85


@dataclass(frozen=True)
class Plot:
    """One series. `raw` and `line` are SVG paths in WIDTH × HEIGHT; `raw` is empty where `line` shows the points."""

    name: str
    last: float | None
    low: float
    high: float
    first_step: int
    last_step: int
    raw: str
    line: str

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    @property
    def middle_step(self) -> int:
        return (self.first_step + self.last_step) // 2


@dataclass(frozen=True)
class Group:
    """The plots of one prefix, `train/` say; `of_the_machine` says that they tell nothing of the model."""

    prefix: str
    plots: list[Plot]
    of_the_machine: bool


def groups(run: TunixRun) -> list[Group]:
    """The model's first. A series without one finite value has no plot."""
    found = metrics.read(run, max_points=MAX_POINTS)
    plots = [plot for name, points in found.items() if (plot := _plot(name, points))]
    plots.sort(key=_order)
    by_prefix = groupby(plots, key=lambda plot: _prefix(plot.name))
    return [Group(prefix, list(each), _of_the_machine(prefix)) for prefix, each in by_prefix]


def _order(plot: Plot) -> tuple[bool, bool, str, bool, str]:
    """The model before the machine, training before evaluation, and each prefix's loss first."""
    prefix = _prefix(plot.name)
    return _of_the_machine(plot.name), prefix != "train/", prefix, not plot.name.endswith("/loss"), plot.name


@dataclass(frozen=True)
class Line:
    """One run's line in a plot of several; `number` is the run's place."""

    number: int
    last: float | None
    path: str


@dataclass(frozen=True)
class Overlay:
    """One metric of several runs, over the same steps and the same heights."""

    name: str
    low: float
    high: float
    first_step: int
    last_step: int
    lines: list[Line]

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    @property
    def middle_step(self) -> int:
        return (self.first_step + self.last_step) // 2


def overlays(runs: Sequence[TunixRun]) -> list[Overlay]:
    """A plot for each metric of the model that at least one of them has; losses first."""
    each_runs = [metrics.read(run, max_points=MAX_POINTS) for run in runs]
    names = {name for found in each_runs for name in found if not _of_the_machine(name)}
    found = [_overlay(name, [series.get(name) for series in each_runs]) for name in names]
    return sorted(filter(None, found), key=lambda each: (not each.name.endswith("/loss"), each.name))


def _overlay(name: str, series: Sequence[metrics.Points | None]) -> Overlay | None:
    there = [(number, points) for number, points in enumerate(series) if points]
    finite = [value for _, points in there for value in points.values if math.isfinite(value)]
    if not finite:
        return None
    frame = _Frame(min(p.steps[0] for _, p in there), max(p.steps[-1] for _, p in there), min(finite), max(finite))
    lines = [Line(number, _finite(points.values[-1]), frame.path(points)) for number, points in there]
    return Overlay(name, frame.low, frame.high, frame.first, frame.last, lines)


@dataclass(frozen=True)
class _Frame:
    """Which steps and which values the picture spans."""

    first: int
    last: int
    low: float
    high: float

    def path(self, points: metrics.Points, values: Sequence[float] | None = None) -> str:
        across, up = WIDTH / ((self.last - self.first) or 1), HEIGHT / ((self.high - self.low) or 1)
        return _path(
            (round((step - self.first) * across), round((self.high - value) * up, 1) if math.isfinite(value) else None)
            for step, value in zip(points.steps, points.values if values is None else values, strict=True)
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _prefix(name: str) -> str:
    return name.rpartition("/")[0] + "/" if "/" in name else ""


def _of_the_machine(name: str) -> bool:
    return name.startswith(metrics.OF_THE_MACHINE)


def _plot(name: str, points: metrics.Points) -> Plot | None:
    finite = [value for value in points.values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    frame = _Frame(points.steps[0], points.steps[-1], low, high)
    smooth = sum(abs(b - a) for a, b in pairwise(finite)) > NOISE * (high - low) and not _of_the_machine(name)
    return Plot(
        name=name,
        last=_finite(points.values[-1]),
        low=low,
        high=high,
        first_step=frame.first,
        last_step=frame.last,
        raw=frame.path(points) if smooth else "",
        line=frame.path(points, _averaged(points.values) if smooth else None),
    )


def _path(places: Iterable[tuple[int, float | None]]) -> str:
    """A gap where a value is none. A point between two gaps is a dot: a line to itself, with round ends."""
    parts, pen = [], "M"
    for x, y in places:
        if y is None:
            pen = "M"
            continue
        parts.append(f"{pen}{x} {y:g}" + (f"L{x} {y:g}" if pen == "M" else ""))
        pen = "L"
    return "".join(parts)


def _averaged(values: Sequence[float]) -> list[float]:
    """Each value with those before it, which count less the older they are; what is no number stays a gap."""
    found, total, weights = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            total = total * WEIGHT_OF_THE_PAST + value
            weights = weights * WEIGHT_OF_THE_PAST + 1
        found.append(total / weights if math.isfinite(value) else value)
    return found

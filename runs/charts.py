"""Metric series as plots: lines in SVG, drawn by the server, there with the page and without a script."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from urllib.parse import urlencode

from runs import metrics
from runs.models import TunixRun

WIDTH, HEIGHT = 600, 120
# A plot is some 300 pixels wide.
MAX_POINTS = 240
# A line that goes up and down by so many times its height is noise: an average is drawn, with the points pale behind.
NOISE = 4
WEIGHT_OF_THE_PAST = 0.85


@dataclass(frozen=True)
class Scale:
    """How plots are drawn: `log` heights, and of the steps from `first` to `last` where these are given."""

    log: bool = False
    first: int | None = None
    last: int | None = None

    @property
    def steps(self) -> tuple[int, int]:
        return self.first or 0, metrics.MAX_STEP if self.last is None else self.last

    @property
    def is_part(self) -> bool:
        return self.first is not None or self.last is not None

    @property
    def other(self) -> "Scale":
        """The same steps, linear where this is logarithmic."""
        return replace(self, log=not self.log)

    @property
    def whole(self) -> "Scale":
        return Scale(self.log)

    @property
    def query(self) -> str:
        """As an address says it, with its question mark; nothing for what is drawn without being asked."""
        given = {"scale": "log" if self.log else None, "first_step": self.first, "last_step": self.last}
        said = urlencode({name: value for name, value in given.items() if value is not None})
        return f"?{said}" if said else ""


@dataclass(frozen=True)
class Frame:
    """Which steps and which values a picture of WIDTH × HEIGHT spans. On a `log` scale every value is above 0."""

    first_step: int
    last_step: int
    low: float
    high: float
    log: bool = False

    @property
    def middle(self) -> float:
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2

    @property
    def middle_step(self) -> int:
        return (self.first_step + self.last_step) // 2

    def path(self, points: metrics.Points, values: Sequence[float] | None = None) -> str:
        first, across = self.first_step, WIDTH / ((self.last_step - self.first_step) or 1)
        places = [round((step - first) * across) for step in points.steps]
        return _path(places, self._heights(points.values if values is None else values))

    def _heights(self, values: Iterable[float]) -> list[float | None]:
        """None for what is no finite number, or has no place on the scale."""
        place: Callable[[float], float] = math.log if self.log else float
        top = place(self.high)
        height, above = (top - place(self.low)) or 1, 0 if self.log else -math.inf
        shown = (each if math.isfinite(each) and each > above else None for each in values)
        return [None if each is None else round((top - place(each)) / height * HEIGHT, 1) for each in shown]


def _frame(series: Sequence[metrics.Points], scale: Scale) -> Frame | None:
    """What spans all of these; None where no value has a place."""
    shown = [v for points in series for v in points.values if math.isfinite(v) and (v > 0 or not scale.log)]
    if not shown:
        return None
    drawn = [points for points in series if len(points)]
    first, last = min(points.steps[0] for points in drawn), max(points.steps[-1] for points in drawn)
    return Frame(first, last, min(shown), max(shown), scale.log)


@dataclass(frozen=True)
class Plot:
    """One series. `raw` and `line` are SVG paths; `raw` is empty where `line` shows the points themselves."""

    name: str
    frame: Frame
    last: float | None
    raw: str
    line: str


@dataclass(frozen=True)
class Group:
    """The plots of one prefix, `train/` say; `of_the_machine` says that they tell nothing of the model."""

    prefix: str
    plots: list[Plot]
    of_the_machine: bool


def groups(run: TunixRun, scale: Scale = Scale()) -> list[Group]:
    """The model's first. A series without one value that has a place has no plot."""
    found = metrics.read(run, max_points=MAX_POINTS, steps=scale.steps)
    plots = [plot for name, points in found.items() if (plot := _plot(name, points, scale))]
    plots.sort(key=_order)
    by_prefix = groupby(plots, key=lambda plot: _prefix(plot.name))
    return [Group(prefix, list(each), metrics.is_of_the_machine(prefix)) for prefix, each in by_prefix]


def _order(plot: Plot) -> tuple[bool, bool, str, bool, str]:
    """The model before the machine, training before evaluation, and each prefix's loss first."""
    prefix = _prefix(plot.name)
    return metrics.is_of_the_machine(plot.name), prefix != "train/", prefix, not plot.name.endswith("/loss"), plot.name


@dataclass(frozen=True)
class Line:
    """One run's line in a plot of several; `number` is the run's place. Paths as in Plot."""

    number: int
    last: float | None
    raw: str
    line: str


@dataclass(frozen=True)
class Overlay:
    """One metric of several runs, over the same steps and the same heights."""

    name: str
    frame: Frame
    lines: list[Line]


def overlays(runs: Sequence[TunixRun], scale: Scale = Scale()) -> list[Overlay]:
    """A plot for each metric of the model that at least one of them has; losses first."""
    each_runs = [metrics.read(run, max_points=MAX_POINTS, steps=scale.steps) for run in runs]
    names = {name for found in each_runs for name in found if not metrics.is_of_the_machine(name)}
    found = [_overlay(name, [series.get(name) for series in each_runs], scale) for name in names]
    return sorted(filter(None, found), key=lambda each: (not each.name.endswith("/loss"), each.name))


def _overlay(name: str, series: Sequence[metrics.Points | None], scale: Scale) -> Overlay | None:
    there = [(number, points) for number, points in enumerate(series) if points]
    frame = _frame([points for _, points in there], scale)
    if frame is None:
        return None
    lines = [Line(number, _finite(points.values[-1]), *_paths(name, points, frame)) for number, points in there]
    return Overlay(name, frame, lines)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _prefix(name: str) -> str:
    return name.rpartition("/")[0] + "/" if "/" in name else ""


def _plot(name: str, points: metrics.Points, scale: Scale) -> Plot | None:
    frame = _frame([points], scale)
    if frame is None:
        return None
    return Plot(name, frame, _finite(points.values[-1]), *_paths(name, points, frame))


def _paths(name: str, points: metrics.Points, frame: Frame) -> tuple[str, str]:
    """The points themselves where they are drawn beneath an average, and the line."""
    finite = [value for value in points.values if math.isfinite(value)]
    travelled = sum(abs(b - a) for a, b in pairwise(finite))
    itself = frame.path(points)
    if metrics.is_of_the_machine(name) or not finite or travelled <= NOISE * (max(finite) - min(finite)):
        return "", itself
    return itself, frame.path(points, _averaged(points.values))


def _path(across: Sequence[int], heights: Sequence[float | None]) -> str:
    """A gap where a height is none. A point between two gaps is a dot: a line to itself, with round ends."""
    drawn = [None if y is None else f"{x} {y:g}" for x, y in zip(across, heights, strict=True)]
    strokes = [[point for point in stroke if point] for _, stroke in groupby(drawn, key=bool)]
    return "".join(f"M{stroke[0]}L{'L'.join(stroke)}" for stroke in strokes if stroke)


def _averaged(values: Sequence[float]) -> list[float]:
    """Each value with those before it, which count less the older they are; what is no number stays a gap."""
    found, total, weights = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            total = total * WEIGHT_OF_THE_PAST + value
            weights = weights * WEIGHT_OF_THE_PAST + 1
        found.append(total / weights if math.isfinite(value) else value)
    return found

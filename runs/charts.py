"""Metric series as plots: lines in SVG, drawn by the server, there with the page and without a script."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from urllib.parse import urlencode

from runs import metrics
from runs.models import TunixRun
from runs.selection import Shown, prefix, shown

WIDTH, HEIGHT = 600, 120
# A plot is some 300 pixels wide.
MAX_POINTS = 240
# A line that goes up and down by so many times its height is noise: an average is drawn, with the points pale behind.
NOISE = 4
# Plots of up to a hundred lines each that a page has.
OVERLAYS = 24
WEIGHT_OF_THE_PAST = 0.85


@dataclass(frozen=True)
class Scale:
    """How plots are drawn: `log` heights, and of the steps from `first` to `last` where these are given. And which:
    of the metrics with `text` in their names, page `page`."""

    log: bool = False
    first: int | None = None
    last: int | None = None
    text: str = ""
    page: int = 1

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
        return replace(self, first=None, last=None)

    @property
    def every(self) -> "Scale":
        """Of all metrics."""
        return replace(self, text="", page=1)

    @property
    def before(self) -> "Scale":
        return replace(self, page=self.page - 1)

    @property
    def after(self) -> "Scale":
        return replace(self, page=self.page + 1)

    def of(self, text: str) -> "Scale":
        return replace(self, text=text, page=1)

    @property
    def query(self) -> str:
        """As an address says it, with its question mark; nothing for what is drawn without being asked."""
        given = {"scale": "log" if self.log else None, "first_step": self.first, "last_step": self.last}
        given |= {"metric": self.text or None, "plots": self.page if self.page > 1 else None}
        said = urlencode({name: value for name, value in given.items() if value is not None})
        return f"?{said}" if said else ""


@dataclass(frozen=True)
class Frame:
    """Which steps and which values a picture of WIDTH × HEIGHT spans. On a `log` scale every value is above 0.

    Where there is no finite value, `low` and `high` are NaN.
    """

    first_step: int
    last_step: int
    low: float
    high: float
    log: bool = False

    @property
    def is_blank(self) -> bool:
        return math.isnan(self.low)

    @property
    def middle(self) -> float:
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2

    @property
    def middle_step(self) -> int:
        return (self.first_step + self.last_step) // 2

    def path(self, points: metrics.Points, values: Sequence[float] | None = None) -> str:
        if self.is_blank:
            return ""
        places = list(map(self._place, points.steps))
        return _path(places, self._heights(points.values if values is None else values))

    def marks(self, points: metrics.Points) -> "list[Mark]":
        """Where the values are NaN, a strip across the middle; +∞ along the top, −∞ along the bottom."""
        found: dict[str, list[tuple[int, int]]] = {}
        for word, stretch in groupby(points, key=lambda point: _not_finite(point[1])):
            if word:
                steps = [step for step, _, _ in stretch]
                found.setdefault(word, []).append((steps[0], steps[-1]))
        return [self._mark(word, found[word]) for word in HEIGHTS if word in found]

    def _mark(self, word: str, stretches: list[tuple[int, int]]) -> "Mark":
        height = HEIGHTS[word]
        path = "".join(f"M{self._place(first)} {height}H{self._place(last)}" for first, last in stretches)
        return Mark(word, path, stretches)

    def _place(self, step: int) -> int:
        return round((step - self.first_step) * WIDTH / ((self.last_step - self.first_step) or 1))

    def _heights(self, values: Iterable[float]) -> list[float | None]:
        """None for what is no finite number, or has no place on the scale."""
        place: Callable[[float], float] = math.log if self.log else float
        top = place(self.high)
        height, above = (top - place(self.low)) or 1, 0 if self.log else -math.inf
        shown = (each if math.isfinite(each) and each > above else None for each in values)
        return [None if each is None else round((top - place(each)) / height * HEIGHT, 1) for each in shown]


# Of what has no height: NaN is in the middle, where no line of the same steps is.
HEIGHTS = {"NaN": HEIGHT // 2, "+∞": 2, "−∞": HEIGHT - 2}
STRETCHES_SAID = 3


def _not_finite(value: float) -> str:
    if math.isfinite(value):
        return ""
    return "NaN" if math.isnan(value) else "+∞" if value > 0 else "−∞"


@dataclass(frozen=True)
class Mark:
    """Where a series is `word`, NaN or an infinity: an SVG path, and the same in words."""

    word: str
    path: str
    stretches: list[tuple[int, int]]

    @property
    def said(self) -> str:
        parts = [f"{a:,}" if a == b else f"{a:,}–{b:,}" for a, b in self.stretches]
        more = f" and {len(parts) - STRETCHES_SAID} more stretches" if len(parts) > STRETCHES_SAID else ""
        one = len(parts) == 1 and self.stretches[0][0] == self.stretches[0][1]
        return f"{self.word} at step{'' if one else 's'} {', '.join(parts[:STRETCHES_SAID])}{more}"


def _frame(series: Sequence[metrics.Points], scale: Scale) -> Frame | None:
    """What spans all of these; None where there is no value, or each is finite and has no place."""
    finite = [value for points in series for value in points.values if math.isfinite(value)]
    shown = [value for value in finite if value > 0 or not scale.log]
    drawn = [points for points in series if len(points)]
    if not drawn or (finite and not shown):
        return None
    first, last = min(points.steps[0] for points in drawn), max(points.steps[-1] for points in drawn)
    return Frame(first, last, min(shown, default=math.nan), max(shown, default=math.nan), scale.log)


@dataclass(frozen=True)
class Plot:
    """One series. `raw` and `line` are SVG paths; `raw` is empty where `line` shows the points themselves."""

    name: str
    frame: Frame
    last: float
    raw: str
    line: str
    marks: list[Mark]


@dataclass(frozen=True)
class Group:
    """The plots of one prefix, `train/` say; `of_the_machine` says that they tell nothing of the model. `every` is how
    many metrics have the prefix, where these are only the first of them."""

    prefix: str
    plots: list[Plot]
    of_the_machine: bool
    every: int | None = None

    @property
    def count(self) -> int:
        return self.every or len(self.plots)


def groups(run: TunixRun, scale: Scale = Scale(), chosen: Shown | None = None) -> list[Group]:
    """The model's first, of the metrics that are `chosen`. One without a value that has a place has no plot."""
    chosen = chosen or shown(metrics.names([run]), scale.text, scale.page)
    found = metrics.read(run, chosen.names, max_points=MAX_POINTS, steps=scale.steps)
    plots = [plot for name in chosen.names if (plot := _plot(name, found.get(name, metrics.Points()), scale))]
    return [
        Group(head, list(each), metrics.is_of_the_machine(head), chosen.groups[head] if head in chosen.cut else None)
        for head, each in groupby(plots, key=lambda plot: prefix(plot.name))
    ]


@dataclass(frozen=True)
class Line:
    """One run's line in a plot of several; `number` is the run's place. Paths as in Plot."""

    number: int
    last: float
    raw: str
    line: str
    marks: list[Mark]


@dataclass(frozen=True)
class Overlay:
    """One metric of several runs, over the same steps and the same heights."""

    name: str
    frame: Frame
    lines: list[Line]

    @property
    def said(self) -> list[str]:
        """What is not finite, in words, of the first run of each kind."""
        found: dict[str, str] = {}
        for line in self.lines:
            for mark in line.marks:
                found.setdefault(mark.word, mark.said)
        return list(found.values())


def overlays(runs: Sequence[TunixRun], scale: Scale = Scale(), chosen: Shown | None = None) -> list[Overlay]:
    """A plot for each of the `chosen` metrics that has a value in one of them."""
    names = (chosen or of_several(runs, scale)).names
    each_runs = [metrics.read(run, names, max_points=MAX_POINTS, steps=scale.steps) for run in runs]
    found = [_overlay(name, [series.get(name) for series in each_runs], scale) for name in names]
    return list(filter(None, found))


def of_several(runs: Sequence[TunixRun], scale: Scale = Scale()) -> Shown:
    """The model's metrics that at least one of the runs has, a page of them."""
    names = (name for name in metrics.names(runs) if not metrics.is_of_the_machine(name))
    return shown(names, scale.text, scale.page, per_page=OVERLAYS, per_group=None)


def _overlay(name: str, series: Sequence[metrics.Points | None], scale: Scale) -> Overlay | None:
    there = [(number, points) for number, points in enumerate(series) if points]
    frame = _frame([points for _, points in there], scale)
    if frame is None:
        return None
    lines = [
        Line(number, points.values[-1], *_paths(name, points, frame), frame.marks(points)) for number, points in there
    ]
    return Overlay(name, frame, lines)


def _plot(name: str, points: metrics.Points, scale: Scale) -> Plot | None:
    frame = _frame([points], scale)
    if frame is None:
        return None
    return Plot(name, frame, points.values[-1], *_paths(name, points, frame), frame.marks(points))


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

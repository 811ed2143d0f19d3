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


def _prefix(name: str) -> str:
    return name.rpartition("/")[0] + "/" if "/" in name else ""


def _of_the_machine(name: str) -> bool:
    return name.startswith(metrics.OF_THE_MACHINE)


def _plot(name: str, points: metrics.Points) -> Plot | None:
    finite = [value for value in points.values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    first, last = points.steps[0], points.steps[-1]
    smooth = sum(abs(b - a) for a, b in pairwise(finite)) > NOISE * (high - low) and not _of_the_machine(name)
    shown = _averaged(points.values) if smooth else points.values
    across, up = WIDTH / ((last - first) or 1), HEIGHT / ((high - low) or 1)

    def path(values: Iterable[float]) -> str:
        places = ((round((step - first) * across), value) for step, value in zip(points.steps, values, strict=True))
        return _path((x, round((high - value) * up, 1) if math.isfinite(value) else None) for x, value in places)

    return Plot(
        name=name,
        last=points.values[-1] if math.isfinite(points.values[-1]) else None,
        low=low,
        high=high,
        first_step=first,
        last_step=last,
        raw=path(points.values) if smooth else "",
        line=path(shown),
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

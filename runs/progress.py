"""How far a training is, how fast it goes, and how long it will take."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import mean, median

from django.utils import timezone

from runs import metrics
from runs.models import TunixRun

# What our trainer measures of each step: its computation, no evaluation, no checkpoint, and no compilation.
STEP_SECONDS = "perf/step_seconds"
# So many of the last points say how fast it goes now.
RECENT = 20


@dataclass(frozen=True)
class Progress:
    """`rate` is in steps per second, of the last steps; what lies between two, where that is known, does not count."""

    step: int
    total_steps: int | None
    rate: float | None = None

    @property
    def percent(self) -> int | None:
        return self.step * 100 // self.total_steps if self.total_steps else None

    @property
    def seconds_left(self) -> float | None:
        return (self.total_steps - self.step) / self.rate if self.total_steps and self.rate else None

    @property
    def done_at(self) -> datetime | None:
        return None if self.seconds_left is None else timezone.now() + timedelta(seconds=self.seconds_left)


def of(run: TunixRun) -> Progress | None:
    """None for a run that has not logged a step. Only one that runs has a rate."""
    if run.step is None:
        return None
    total = run.total_steps if run.total_steps and run.total_steps >= run.step else None
    if run.status != TunixRun.Status.RUNNING:
        return Progress(run.step, total)
    seconds = _seconds_a_step(run)
    return Progress(run.step, total, 1 / seconds if seconds else None)


def _seconds_a_step(run: TunixRun) -> float | None:
    """Of the last steps; None where they do not say."""
    series = {each.name: each for each in metrics.series(run)}
    if measured := series.get(STEP_SECONDS):
        values = [each for each in metrics.last(measured, RECENT).values if math.isfinite(each) and each > 0]
        return mean(values) if values else None
    logged = [each for each in series.values() if not metrics.is_of_the_machine(each.name)]
    # Of those that are logged at the most steps, by name: it is to be the same one each time.
    densest = max(logged, key=lambda each: (each.count, each.name), default=None)
    return _between(metrics.last(densest, RECENT)) if densest else None


def _between(points: metrics.Points) -> float | None:
    """The median of the time from one step to the next: what lies between two now and then does not count."""
    at = list(zip(points.steps, points.times, strict=True))
    passed = [(later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairwise(at)]
    return max(median(passed), 0) or None if passed else None

"""How far a training is, how fast it goes, and how long it will take."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from runs.models import TunixRun


@dataclass(frozen=True)
class Progress:
    """`rate` is in steps per second since the run began, its start and its compilation among them."""

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
    began_at = run.provenance.get("resumed_from_step") or 0
    seconds = (timezone.now() - run.started_at).total_seconds()
    done = run.step - began_at if isinstance(began_at, int) else run.step
    return Progress(run.step, total, done / seconds if done > 0 and seconds > 0 else None)

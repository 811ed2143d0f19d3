"""Who did what, when and from where: an event for every act that changes something, written with the act.

Metrics of a trainer elsewhere are not acts: the first points of a run by somebody are, the millions after them are not.
"""

from collections.abc import Iterable
from typing import Any

from runs import access
from runs.models import Event, TunixRun

SUBJECT_LENGTH = 256
Act = Event.Act


def record(act: Act, *, run: TunixRun | None = None, subject: str = "", **detail: Any) -> None:
    """Raises the database's errors: an act and its event are stored together or not at all."""
    event(act, run=run, subject=subject, **detail).save(force_insert=True)


def record_each(act: Act, runs: Iterable[TunixRun], **detail: Any) -> None:
    Event.objects.bulk_create([event(act, run=run, **detail) for run in runs], batch_size=500)


def event(act: Act, *, run: TunixRun | None = None, subject: str = "", **detail: Any) -> Event:
    """The event of what whoever acts does now. Not stored: for an act that may be stored later than it is done."""
    who = access.actor()
    if who.token:
        detail = detail | {"token": who.token}
    return Event(
        act=act,
        run_id=run.run_id if run else None,
        subject=(subject or (str(run) if run else ""))[:SUBJECT_LENGTH],
        actor=who.name,
        user_id=who.user_id,
        address=who.address,
        way=who.way,
        detail=detail,
    )

"""What happened to a run and when, as its record tells."""

from dataclasses import dataclass
from datetime import datetime

from runs.models import TunixRun


@dataclass(frozen=True)
class Event:
    """`status` gives it its colour; it may be none."""

    moment: datetime
    text: str
    status: str = ""


def of(run: TunixRun) -> list[Event]:
    """The latest first."""
    by = f" by {run.owner.username}" if run.owner else ""
    what = "Retried with resume" if run.resume else "Retried" if run.retry_of_id else "Launched"
    events = [Event(run.accepted_at, f"{what}{by}", "pending")]
    if run.mode == TunixRun.Mode.LOCAL and run.heartbeat_at:
        where = f" on {run.host}" if run.host else ""
        slot = f", slot {run.slot}" if run.slot is not None else ""
        events.append(Event(run.started_at, f"Started{where}{slot}", "running"))
    if run.cancel_requested_at:
        events.append(Event(run.cancel_requested_at, "Cancel was asked for", "cancelled"))
    if run.completed_at:
        events.append(Event(run.completed_at, run.message or run.get_status_display(), run.status))
    elif run.status == TunixRun.Status.LOST and run.heartbeat_at:
        events.append(Event(run.heartbeat_at, "Heard for the last time", "lost"))
    return sorted(events, key=lambda event: event.moment, reverse=True)

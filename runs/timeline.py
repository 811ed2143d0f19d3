"""What happened to a run and when: what its record tells of its execution, and what people did."""

from dataclasses import dataclass
from datetime import datetime

from runs.models import Event as Act
from runs.models import TunixRun


@dataclass(frozen=True)
class Event:
    """`status` gives it its colour; it may be none. `by` is who, and from where."""

    moment: datetime
    text: str
    status: str = ""
    by: str = ""


STATUS_OF: dict[str, str] = {Act.Act.LAUNCH: "pending", Act.Act.RETRY: "pending", Act.Act.CANCEL: "cancelled"}


def of(run: TunixRun) -> list[Event]:
    """The latest first."""
    acts = list(Act.objects.filter(run_id=run.run_id))
    events = [*_by_people(acts), *_of_the_record(run, {act.act for act in acts})]
    return sorted(events, key=lambda event: event.moment, reverse=True)


def _by_people(acts: list[Act]) -> list[Event]:
    found = []
    for act in acts:
        resumed = " with resume" if act.detail.get("resume") else ""
        tag = f", tag {act.detail['tag']}" if "tag" in act.detail else ""
        place = f" from {act.address}" if act.address else f" by {act.way}"
        text = act.get_act_display().capitalize() + resumed + tag
        found.append(Event(act.moment, text, STATUS_OF.get(act.act, ""), act.actor + place))
    return found


def _of_the_record(run: TunixRun, known: set[str]) -> list[Event]:
    """A run from before events were written has its launch from its record."""
    events = []
    if not known & {Act.Act.LAUNCH, Act.Act.RETRY}:
        what = "Retried with resume" if run.resume else "Retried" if run.retry_of_id else "Launched"
        events.append(Event(run.accepted_at, what, "pending", run.owner.username if run.owner else ""))
    if run.mode == TunixRun.Mode.LOCAL and run.heartbeat_at:
        where = f" on {run.host}" if run.host else ""
        slot = f", slot {run.slot}" if run.slot is not None else ""
        events.append(Event(run.started_at, f"Started{where}{slot}", "running"))
    if run.cancel_requested_at and Act.Act.CANCEL not in known:
        events.append(Event(run.cancel_requested_at, "Cancel was asked for", "cancelled"))
    if run.completed_at:
        events.append(Event(run.completed_at, run.message or run.get_status_display(), run.status))
    elif run.status == TunixRun.Status.LOST and run.heartbeat_at:
        events.append(Event(run.heartbeat_at, "Heard for the last time", "lost"))
    return events

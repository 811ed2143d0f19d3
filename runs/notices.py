"""What went wrong beside a run and cost its user something, while the run itself went on: one short list in its record.

Each kind is there once, with how often, the first reason, and when. So the list is never longer than there are kinds,
whatever a trainer does, and only a kind that is known here can be in it.
"""

import threading
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.utils import timezone

from runs import masking
from runs.models import TunixRun
from runs.output import clean_json

DETAIL_LENGTH = 300
MAX_COUNT = 2**53


class Kind(StrEnum):
    """What was lost, left out or is not as asked. The value is stored: never rename one."""

    OUTPUT_LOST = "output_lost"
    OUTPUT_OMITTED = "output_omitted"
    OUTPUT_UNREAD = "output_unread"
    PROCESSES_LEFT = "processes_left"
    NOT_TIED = "not_tied"
    REPORT_MISSED = "report_missed"
    REPORT_REFUSED = "report_refused"
    RESULT_UNWRITTEN = "result_unwritten"
    RESULT_WAITED = "result_waited"
    RECORDED_LATE = "recorded_late"
    NOT_KEPT = "not_kept"
    RECORD_UNWRITTEN = "record_unwritten"
    FACTS_UNREAD = "facts_unread"
    CODE_UNKNOWN = "code_unknown"
    PATCH_OMITTED = "patch_omitted"
    SAMPLES_DROPPED = "samples_dropped"
    GPUS_UNMEASURED = "gpus_unmeasured"
    CHECKPOINT_COPIED = "checkpoint_copied"
    SUPERVISOR_NOT_STARTED = "supervisor_not_started"
    CLAIM_EXPIRED = "claim_expired"
    METRIC_LINES_UNREAD = "metric_lines_unread"
    METRIC_POINTS_OMITTED = "metric_points_omitted"
    FACTS_REFUSED = "facts_refused"
    METRICS_UNREAD = "metrics_unread"
    RESULT_REFUSED = "result_refused"


# For one, and for several: {count} is a number, {size} a number of bytes.
SENTENCES: dict[Kind, tuple[str, str]] = {
    Kind.OUTPUT_LOST: ("{size} of output could not be written to disk and are lost",) * 2,
    Kind.OUTPUT_OMITTED: ("{size} in the middle of the output were left out: a log has a limit",) * 2,
    Kind.OUTPUT_UNREAD: ("Processes outlived the trainer, and what they wrote after it ended was not read",) * 2,
    Kind.PROCESSES_LEFT: (
        "1 process that the trainer started could not be killed",
        "{count} processes that the trainer started could not be killed",
    ),
    Kind.NOT_TIED: ("The trainer goes on alone if its supervisor is killed: setpriv (util-linux) is missing",) * 2,
    Kind.REPORT_MISSED: (
        "1 report did not reach the database in time; what it said came later",
        "{count} reports did not reach the database in time; what they said came later",
    ),
    Kind.REPORT_REFUSED: (
        "1 report could not be stored; the lease alone was renewed",
        "{count} reports could not be stored; the lease alone was renewed",
    ),
    Kind.RESULT_UNWRITTEN: ("The result could not be written to disk: only the database has it",) * 2,
    Kind.RESULT_WAITED: (
        "The database did not take the result at once: it was tried again",
        "The database did not take the result at once: it was tried {count} times more",
    ),
    Kind.RECORDED_LATE: ("The database did not take the record: it is kept on disk until it does",) * 2,
    Kind.NOT_KEPT: ("Neither the database nor the disk took the record: this answer is all there is of it",) * 2,
    Kind.RECORD_UNWRITTEN: ("The file run.json could not be written",) * 2,
    Kind.FACTS_UNREAD: ("What the trainer said about itself in trainer.json cannot be read",) * 2,
    Kind.CODE_UNKNOWN: ("The state of the code could not be recorded",) * 2,
    Kind.PATCH_OMITTED: ("What was changed in the code and not committed could not be kept",) * 2,
    Kind.SAMPLES_DROPPED: (
        "1 measurement of the machine was dropped while the database was away",
        "{count} measurements of the machine were dropped while the database was away",
    ),
    Kind.GPUS_UNMEASURED: ("The GPUs are not measured any more: nvidia-smi does not answer",) * 2,
    Kind.CHECKPOINT_COPIED: (
        "The checkpoint to resume from was copied, not linked: 1 file of it takes its room twice",
        "The checkpoint to resume from was copied, not linked: {count} files of it take their room twice",
    ),
    Kind.SUPERVISOR_NOT_STARTED: (
        "This host could not start it once, and it waited again",
        "This host could not start it {count} times, and it waited again",
    ),
    Kind.CLAIM_EXPIRED: (
        "It was taken from the queue once and did not begin",
        "It was taken from the queue {count} times and did not begin",
    ),
    Kind.METRIC_LINES_UNREAD: (
        "1 line of metrics.jsonl is no point of a metric, or not all of it, and was passed over",
        "{count} lines of metrics.jsonl are no points of metrics, or not all of them, and were passed over",
    ),
    Kind.METRIC_POINTS_OMITTED: (
        "1 point of a metric was left out",
        "{count} points of metrics were left out",
    ),
    Kind.FACTS_REFUSED: ("A part of what the trainer said about itself in trainer.json was not taken",) * 2,
    Kind.METRICS_UNREAD: ("The last {size} of metrics.jsonl were not read: there was more than could be in time",) * 2,
    Kind.RESULT_REFUSED: ("The result in the run's directory was not taken",) * 2,
}


@dataclass(frozen=True)
class Notice:
    """`count` of a kind, between `first_at` and `last_at`; `detail` is the first reason and may be empty."""

    kind: Kind
    count: int
    detail: str
    first_at: datetime
    last_at: datetime

    @property
    def text(self) -> str:
        """One sentence, without the detail."""
        one, several = SENTENCES[self.kind]
        return (one if self.count == 1 else several).format(count=f"{self.count:,}", size=_size(self.count))

    def joined(self, later: "Notice") -> "Notice":
        count, detail = min(self.count + later.count, MAX_COUNT), self.detail or later.detail
        return replace(self, count=count, detail=detail, last_at=max(self.last_at, later.last_at))

    def as_stored(self) -> dict[str, Any]:
        return asdict(self) | {"first_at": self.first_at.isoformat(), "last_at": self.last_at.isoformat()}

    def as_answered(self) -> dict[str, Any]:
        return {"text": self.text} | asdict(self)


def notice(kind: Kind, detail: str = "", count: int = 1) -> Notice:
    """As of now. What looks like a secret in `detail` is masked, and a long one is cut."""
    now = timezone.now()
    return Notice(kind, count, masking.text(clean_json(detail[: 2 * DETAIL_LENGTH]))[:DETAIL_LENGTH], now, now)


class Notices:
    """Collects what is noticed until it can be stored. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Kind, Notice] = {}

    def add(self, found: Iterable[Notice]) -> None:
        with self._lock:
            self._waiting = _merged(self._waiting, found)

    def waiting(self) -> list[Notice]:
        """What is not stored yet."""
        with self._lock:
            return list(self._waiting.values())

    def take(self) -> list[Notice]:
        """What waits, which does not wait any more: whoever cannot store it puts it back by `add`."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        return list(taken.values())


def store(run_id: uuid.UUID, found: Iterable[Notice]) -> None:
    """Add to those in the run's record. Several processes may at the same time. Raises the database's errors."""
    found = list(found)
    if not found:
        return
    with transaction.atomic():
        runs = TunixRun.objects.filter(pk=run_id)
        stored = runs.select_for_update().values_list("notices", flat=True).first()
        if stored is not None:
            runs.update(notices=as_stored(_merged({each.kind: each for each in parsed(stored)}, found).values()))


def as_stored(found: Iterable[Notice]) -> list[dict[str, Any]]:
    return [each.as_stored() for each in found]


def parsed(stored: Any) -> list[Notice]:
    """What `as_stored` made, from a record or a file. Whatever else is in it, from a forged file or a newer version, is
    left out."""
    if not isinstance(stored, list):
        return []
    found = (_parsed(each) for each in stored[: 10 * len(Kind)] if isinstance(each, dict))
    return list(_merged({}, (each for each in found if each)).values())


def _parsed(stored: dict[str, Any]) -> Notice | None:
    try:
        first, last = (datetime.fromisoformat(stored[name]) for name in ("first_at", "last_at"))
        kind, count, detail = Kind(stored["kind"]), stored["count"], stored["detail"]
    except (KeyError, ValueError, TypeError):
        return None
    plain = type(count) is int and 0 < count <= MAX_COUNT and isinstance(detail, str)
    if not plain or first.tzinfo is None or last.tzinfo is None:
        return None
    return Notice(kind, count, clean_json(detail)[:DETAIL_LENGTH], first, last)


def _merged(known: dict[Kind, Notice], found: Iterable[Notice]) -> dict[Kind, Notice]:
    merged = dict(known)
    for each in found:
        merged[each.kind] = merged[each.kind].joined(each) if each.kind in merged else each
    return merged


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("bytes", "KB", "MB"):
        if amount < 1024:
            return f"{count:,} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} GB"

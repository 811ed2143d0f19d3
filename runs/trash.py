"""Where deleted runs lie for 7 days, and how they are freed then: files first, the record last.

Whoever is killed in the middle has freed a part; the record is still there and says that the rest is due.
"""

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.utils import timezone

from core import files
from runs import claims, lifecycle
from runs.models import TunixRun
from runs.querysets import TunixRunQuerySet
from runs.rundir import RunDirectory

log = logging.getLogger(__name__)
LIFETIME = timedelta(days=7)


def put(run: TunixRun, *, for_good: bool = False) -> bool:
    """Out of every list. False: it is pending or running. `for_good`: it is due to be freed and cannot be restored."""
    now = timezone.now()
    return lifecycle.trash(run, now - LIFETIME if for_good else now)


def restore(run_id: uuid.UUID) -> bool:
    """Back from the trash. False: it is not there, or is due and may be half gone."""
    return lifecycle.restore(run_id, _due())


def contents() -> TunixRunQuerySet:
    """What can be restored, deleted last first."""
    return TunixRun.objects.filter(deleted_at__gt=_due()).order_by("-deleted_at", "run_id")


def due() -> TunixRunQuerySet:
    """What has been there for 7 days, or could not be removed when it was to be freed."""
    return TunixRun.objects.filter(deleted_at__lte=_due())


def free(run_id: uuid.UUID) -> bool:
    """Remove the files of a run in the trash, and then its record. False: files are left, and so is the record."""
    gone = remove_files(run_id)
    if gone:
        forget(run_id)
    return gone


def remove_files(run_id: uuid.UUID) -> bool:
    """False: some are left; all, where processes of it may still write them."""
    if TunixRun.objects.filter(pk=run_id, slot__isnull=False).exists():
        log.warning("run %s: it is freed when its processes are known dead", run_id)
        return False
    path = RunDirectory(run_id).path
    try:
        files.remove_tree(path)
    except OSError as error:
        log.error("run %s: %s cannot be removed: %s", run_id, error.filename or path, error.strerror)
        return False
    return True


def forget(run_id: uuid.UUID) -> bool:
    """Delete the record of a run in the trash. False: somebody else has."""
    gone = bool(TunixRun.objects.filter(pk=run_id, deleted_at__isnull=False).delete()[0])
    claims.forget(run_id)
    return gone


def bytes_freed_by(runs: Iterable[TunixRun]) -> int:
    """What freeing these runs gives back: not what another run shares, as a resumed one does its checkpoint."""
    return sum(RunDirectory(run.run_id).freed() for run in runs)


def ended_before(moment: datetime) -> TunixRunQuerySet:
    """Runs with a final status, in no trash, oldest first."""
    return TunixRun.objects.alive().filter(completed_at__lt=moment).order_by("completed_at")


def _due() -> datetime:
    return timezone.now() - LIFETIME

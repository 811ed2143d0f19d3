"""The only writer of a run's status. One function per transition, each a single conditional statement.

A function that changed nothing says so by returning False: somebody else was first.
"""

import uuid
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from runs.models import TunixRun

Status = TunixRun.Status
RESULT_FIELDS = ("status", "exit_code", "stdout", "stderr", "message", "completed_at", "duration_seconds")
# A dry run takes a second. One that is `running` after this long has lost its process.
DRY_RUN_LIFETIME = timedelta(minutes=10)


def begin(run: TunixRun) -> None:
    """(new) -> running: make the record before anything is executed."""
    run.save(force_insert=True)


def finish(run: TunixRun) -> bool:
    """running -> the final status that `run` holds. Or (new) -> that one, where `begin` could not make the record."""
    result = {name: getattr(run, name) for name in RESULT_FIELDS}
    if TunixRun.objects.filter(pk=run.pk, status=Status.RUNNING).update(**result):
        return True
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError:
        if not TunixRun.objects.filter(pk=run.pk).exists():
            raise
        return False
    return True


def fail_interrupted_dry_runs() -> int:
    """running -> failed, for dry runs whose process died in the middle. Returns how many."""
    now = timezone.now()
    overdue = TunixRun.objects.filter(
        status=Status.RUNNING, mode=TunixRun.Mode.DRY_RUN, started_at__lt=now - DRY_RUN_LIFETIME
    )
    message = "Dry-run failed: interrupted"
    stderr = "The server stopped before the validation ended. Nothing was trained; run it again."
    return overdue.update(status=Status.FAILED, message=message, stderr=stderr, completed_at=now)


def trash(run: TunixRun) -> bool:
    """Out of every list. A run that is pending or running cannot go."""
    idle = TunixRun.objects.alive().filter(pk=run.pk).exclude(status__in=TunixRun.UNDER_WAY)
    return bool(idle.update(deleted_at=timezone.now()))


def restore(run_id: uuid.UUID) -> bool:
    """Back from the trash."""
    return bool(TunixRun.objects.filter(pk=run_id, deleted_at__isnull=False).update(deleted_at=None))

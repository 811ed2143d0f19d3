"""What a user can do: launch, annotate, delete, restore, add a dataset; and the housekeeping that nobody asks for."""

import logging
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone

from runs import datasets, dry_run, lifecycle, tunix, unrecorded
from runs.models import RunTag, TunixRun

log = logging.getLogger(__name__)
TRASH_LIFETIME = timedelta(days=7)


class LocalRunsUnavailable(Exception):
    """A training was asked for and cannot be started here. Nothing was recorded."""


class NotEnded(Exception):
    """The run is pending or running and must end first."""


@dataclass(frozen=True)
class LaunchRequest:
    """A valid request to train. `output_dir` is relative to the run's own directory; empty means the default."""

    dataset_key: str
    model_id: str
    config: dict[str, Any]
    output_dir: str = ""
    dry_run: bool = True
    owner: AbstractBaseUser | None = None


def launch(request: LaunchRequest) -> TunixRun:
    """Execute a dry run and return its record, finished, whether or not the database took it (`recorded` says).

    Raises LocalRunsUnavailable for a training.
    """
    if not request.dry_run:
        raise LocalRunsUnavailable(_why_no_local_runs())
    run = _new_run(request)
    _record(lifecycle.begin, run)
    dry_run.execute(run)
    run.recorded = _record(lifecycle.finish, run)
    if not run.recorded:
        _keep(run)
    elif unrecorded.waiting():
        record_the_unrecorded()
    log.info("run %s %s: %s", run.run_id, run.status, run.message)
    return run


def _new_run(request: LaunchRequest) -> TunixRun:
    run_id = uuid.uuid4()
    return TunixRun(
        run_id=run_id,
        dataset_key=request.dataset_key,
        model_id=request.model_id,
        mode=TunixRun.Mode.DRY_RUN,
        status=TunixRun.Status.RUNNING,
        output_dir=request.output_dir or f"./output/tunix_run_{str(run_id)[:8]}",
        config=request.config,
        owner_id=getattr(request.owner, "pk", None),
    )


def _why_no_local_runs() -> str:
    found = tunix.availability()
    if not found.available:
        return f"Local runs are not available: {found.message}."
    return f"Local runs are not available: {found.message}, but this version of tunix-rt cannot start it yet."


def _record(write: Callable[[TunixRun], Any], run: TunixRun) -> bool:
    """Try a write of `run`'s record. Execution comes first: a database that fails is logged, never raised."""
    try:
        write(run)
    except DatabaseError as error:
        if _connection_died():
            connection.close()
            return _record(write, run)
        log.error("run %s: %s could not be recorded: %s", run.run_id, write.__name__, error)
        return False
    return True


def _connection_died() -> bool:
    """Whether the server was restarted under an old connection, so that a new one may do."""
    return connection.connection is not None and not connection.in_atomic_block and not connection.is_usable()


def _keep(run: TunixRun) -> None:
    try:
        unrecorded.keep(run)
    except OSError as error:
        log.critical("run %s: neither the database nor the disk took its result: %s", run.run_id, error)


def record_the_unrecorded() -> int:
    """Bring results that were kept on disk into the database. Returns how many; stops at the first refusal."""
    done = 0
    for path in unrecorded.waiting():
        for run in unrecorded.read(path):
            if not _record(_finish_late, run):
                return done
            path.unlink(missing_ok=True)
            done += 1
            log.info("run %s: recorded from %s", run.run_id, path.name)
    return done


def _finish_late(run: TunixRun) -> bool:
    """As `lifecycle.finish`, for a run whose owner may be gone by now."""
    if run.owner_id and not get_user_model()._default_manager.filter(pk=run.owner_id).exists():
        run.owner_id = None
    return lifecycle.finish(run)


def annotate(run: TunixRun, *, tags: list[str] | None = None, notes: str | None = None) -> None:
    """Set what is given; None leaves it as it is. All of it or nothing."""
    with transaction.atomic():
        if notes is not None:
            run.notes = notes
            run.save(update_fields=["notes"])
        if tags is not None:
            run.tags.exclude(name__in=tags).delete()
            RunTag.objects.bulk_create([RunTag(run=run, name=name) for name in tags], ignore_conflicts=True)


def delete(run: TunixRun, *, purge: bool = False) -> None:
    """Move a run to the trash, or free its record and files at once. Raises NotEnded."""
    if not lifecycle.trash(run) and run.is_under_way:
        raise NotEnded(f"The run is {run.status}: it can be deleted when it has ended.")
    if purge:
        _free(run.run_id)


def restore(run_id: uuid.UUID) -> TunixRun | None:
    """The run, back from the trash; None where there is no such run."""
    lifecycle.restore(run_id)
    return TunixRun.objects.alive().filter(pk=run_id).first()


def empty_trash() -> int:
    """Free what has been in the trash for 7 days. Returns how many runs."""
    overdue = TunixRun.objects.filter(deleted_at__lt=timezone.now() - TRASH_LIFETIME)
    run_ids = list(overdue.values_list("pk", flat=True))
    for run_id in run_ids:
        _free(run_id)
    return len(run_ids)


def _free(run_id: uuid.UUID) -> None:
    """Files first: a record whose files are gone can be freed again, files without a record are never found."""
    shutil.rmtree(Path(settings.RUNS_DIR) / str(run_id), ignore_errors=True)
    TunixRun.objects.filter(pk=run_id, deleted_at__isnull=False).delete()


def housekeeping() -> dict[str, int]:
    """Everything that time, not a user, asks for. Safe at any moment, beside everything else."""
    return {
        "results recorded": record_the_unrecorded(),
        "interrupted dry runs failed": lifecycle.fail_interrupted_dry_runs(),
        "runs freed from the trash": empty_trash(),
        "stale uploads removed": datasets.remove_stale_uploads(),
    }

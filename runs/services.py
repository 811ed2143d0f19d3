"""What a user can do: launch, annotate, delete, restore, add a dataset; and the housekeeping that nobody asks for."""

import logging
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import Count

from runs import checkpoints, datasets, dry_run, lifecycle, metrics, trash, tunix, unrecorded
from runs.execution import wake
from runs.execution.executors.local import LocalExecutor
from runs.limits import TAGS_PER_RUN
from runs.models import RunTag, TunixRun

log = logging.getLogger(__name__)
WAIT_POLL_SECONDS = 0.1


class LocalRunsUnavailable(Exception):
    """A training was asked for and cannot be started here. Nothing was recorded."""


class NotEnded(Exception):
    """The run is pending or running and must end first."""


class AlreadyEnded(Exception):
    """The run's status is final."""


class NothingToResume(Exception):
    """The run has no checkpoint."""


class TakesNoMetrics(Exception):
    """The run does not train now."""


@dataclass(frozen=True)
class LaunchRequest:
    """A valid request to train. `output_dir` is relative to the run's own directory; empty means the default."""

    dataset_key: str
    model_id: str
    config: dict[str, Any]
    output_dir: str = ""
    dry_run: bool = True
    priority: int = TunixRun.Priority.NORMAL
    reproduces: TunixRun | None = None
    owner: AbstractBaseUser | None = None


def launch(request: LaunchRequest) -> TunixRun:
    """Execute a dry run and return its record, finished, or accept a local run and return it, pending.

    A dry run's result is returned whether or not the database took it (`recorded` says). A local run exists only
    with its record. Raises LocalRunsUnavailable, or the database's error for a local run.
    """
    run = _new_run(request)
    if request.dry_run:
        _dry_run(run)
    else:
        if not tunix.availability().available:
            raise LocalRunsUnavailable(f"Local runs are not available: {tunix.availability().message}.")
        _accept(run)
    return run


def _accept(run: TunixRun) -> None:
    lifecycle.accept(run)
    wake.wake_dispatcher()
    log.info("run %s accepted", run.run_id)


def _dry_run(run: TunixRun) -> None:
    _record(lifecycle.begin, run)
    dry_run.execute(run)
    run.recorded = _record(lifecycle.finish, run)
    if not run.recorded:
        _keep(run)
    elif unrecorded.waiting():
        record_the_unrecorded()
    log.info("run %s %s: %s", run.run_id, run.status, run.message)


def _new_run(request: LaunchRequest) -> TunixRun:
    run_id = uuid.uuid4()
    return TunixRun(
        run_id=run_id,
        dataset_key=request.dataset_key,
        model_id=request.model_id,
        mode=TunixRun.Mode.DRY_RUN if request.dry_run else TunixRun.Mode.LOCAL,
        status=TunixRun.Status.RUNNING if request.dry_run else TunixRun.Status.PENDING,
        output_dir=request.output_dir or f"./output/tunix_run_{str(run_id)[:8]}",
        config=request.config,
        priority=request.priority,
        reproduces=request.reproduces,
        owner_id=getattr(request.owner, "pk", None),
    )


def queue(run: TunixRun) -> str:
    """Why a pending run waits, in words; nothing for any other."""
    if run.status != TunixRun.Status.PENDING:
        return ""
    if not wake.is_heard():
        return "No dispatcher runs on this host, so nothing starts. It starts with make run, or manage.py dispatcher."
    ahead = TunixRun.objects.ahead_of(run).count()
    if ahead:
        return f"{ahead} {'run is' if ahead == 1 else 'runs are'} ahead of it; {settings.SLOTS} at a time."
    return "It is next, and starts when a slot is free."


def wait_for_end(run: TunixRun, seconds: float) -> TunixRun:
    """The run as it is when it has ended, or after so long."""
    deadline = time.monotonic() + seconds
    while not run.is_terminal and time.monotonic() < deadline:
        time.sleep(WAIT_POLL_SECONDS)
        run.refresh_from_db()
    return run


def cancel(run: TunixRun) -> None:
    """Ask for the end of a run that has not ended. Asking twice is the same as once. Raises AlreadyEnded."""
    if not lifecycle.cancel(run.run_id):
        raise AlreadyEnded("The run has ended already.")
    run.refresh_from_db()
    LocalExecutor().request_stop(run)


def retry(run: TunixRun, *, resume: bool = False, owner: AbstractBaseUser | None = None) -> TunixRun:
    """A new run of the same inputs. A lost run's supervisor is fenced first.

    Raises NotEnded, NothingToResume, LocalRunsUnavailable.
    """
    if run.is_under_way:
        raise NotEnded(f"The run is {run.status}: it can be retried when it has ended.")
    if resume and not checkpoints.last(run):
        raise NothingToResume("The run has no checkpoint to resume from. Without resume it starts from the beginning.")
    again = _new_run(
        LaunchRequest(
            dataset_key=run.dataset_key,
            model_id=run.model_id,
            config=run.config,
            output_dir="" if run.output_dir.startswith("./output/tunix_run_") else run.output_dir,
            dry_run=run.mode == TunixRun.Mode.DRY_RUN,
            priority=run.priority,
            owner=owner,
        )
    )
    again.retry_of, again.resume = run, resume
    if again.mode == TunixRun.Mode.DRY_RUN:
        _dry_run(again)
        return again
    if not tunix.availability().available:
        raise LocalRunsUnavailable(f"Local runs are not available: {tunix.availability().message}.")
    with transaction.atomic():
        lifecycle.fence(run.run_id)
        lifecycle.accept(again)
    wake.wake_dispatcher()
    return again


def add_metrics(run: TunixRun, batch: metrics.Batch) -> None:
    """Store points of a trainer elsewhere. Raises TakesNoMetrics, metrics.TooManySeries."""
    if run.status not in (TunixRun.Status.RUNNING, TunixRun.Status.LOST) or run.mode != TunixRun.Mode.LOCAL:
        what = "is a dry run" if run.mode == TunixRun.Mode.DRY_RUN else f"is {run.status}"
        raise TakesNoMetrics(f"The run {what}: metrics are taken while it trains.")
    metrics.append(run.run_id, batch)


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


def add_tag(runs: Iterable[TunixRun], name: str) -> None:
    """To each of them. Raises ValidationError, and tags none, where one would have too many."""
    runs = list(runs)
    with transaction.atomic():
        RunTag.objects.bulk_create([RunTag(run=run, name=name) for run in runs], ignore_conflicts=True, batch_size=500)
        full = TunixRun.objects.filter(pk__in=[run.pk for run in runs]).annotate(count=Count("tags"))
        if full.filter(count__gt=TAGS_PER_RUN).exists():
            raise ValidationError(f"would be more than {TAGS_PER_RUN} on a run")


def delete(run: TunixRun, *, purge: bool = False) -> None:
    """Move a run to the trash, or free its record and files at once. Raises NotEnded."""
    if not trash.put(run, for_good=purge) and run.is_under_way:
        raise NotEnded(f"The run is {run.status}: it can be deleted when it has ended.")


def restore(run_id: uuid.UUID) -> TunixRun | None:
    """The run, back from the trash; None where there is no such run."""
    trash.restore(run_id)
    return TunixRun.objects.alive().filter(pk=run_id).first()


def housekeeping() -> dict[str, int]:
    """Everything that time, not a user, asks for. Safe at any moment, beside everything else."""
    return {
        "results recorded": record_the_unrecorded(),
        "interrupted dry runs failed": lifecycle.fail_interrupted_dry_runs(),
        "runs freed from the trash": trash.empty(),
        "stale uploads removed": datasets.remove_stale_uploads(),
    }

"""What a user can do: launch, annotate, delete, restore, add a dataset; and the housekeeping that nobody asks for.

Each asks `access` first whether whoever acts may do it, and raises access.NotAllowed; each leaves an event in `audit`.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from core.errors import Kind, Refusal
from runs import (
    access,
    audit,
    checkpoints,
    datasets,
    dry_run,
    installation,
    lifecycle,
    metrics,
    notices,
    reconcile,
    room,
    trash,
    tunix,
    unrecorded,
)
from runs.access import Right
from runs.execution import wake
from runs.execution.executors.local import LocalExecutor
from runs.limits import SAVED_VIEWS, TAGS_PER_RUN, TOKENS_PER_USER
from runs.models import ApiToken, Event, RunTag, SavedView, TunixRun

log = logging.getLogger(__name__)
WAIT_POLL_SECONDS = 0.1
Act = Event.Act


class LocalRunsUnavailable(Refusal):
    """A training was asked for and cannot be started here. Nothing was recorded."""

    kind = Kind.NOT_AVAILABLE


class InstallsNothing(Refusal):
    """No installer listens beside this server."""

    kind = Kind.NOT_AVAILABLE


class NotEnded(Refusal):
    """The run is pending or running and must end first."""

    kind = Kind.CONFLICT


class AlreadyEnded(Refusal):
    """The run's status is final."""

    kind = Kind.CONFLICT


class NothingToResume(Refusal):
    """The run has no checkpoint."""

    kind = Kind.CONFLICT


class TooOften(Refusal):
    """So many runs a minute is more than one user may launch."""

    kind = Kind.TOO_OFTEN


class DiskAlmostFull(datasets.DiskFull):
    """What is asked for would leave less room than what runs already may need."""


class TooManyViews(Refusal):
    """There are SAVED_VIEWS of them."""

    kind = Kind.CONFLICT


class TooManyTokens(Refusal):
    """The user has TOKENS_PER_USER of them."""

    kind = Kind.CONFLICT


class TakesNoMetrics(Refusal):
    """The run does not train now."""

    kind = Kind.CONFLICT


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
    owner: User | None = None


def launch(request: LaunchRequest) -> TunixRun:
    """Execute a dry run and return its record, finished, or accept a local run and return it, pending.

    A dry run's result is returned whether or not the database took it (`recorded` says). A local run exists only
    with its record. Raises TooOften; for a local run LocalRunsUnavailable, DiskAlmostFull, or the database's error.
    """
    access.require(Right.OPERATE)
    _refuse_flood()
    run = _new_run(request)
    if request.dry_run:
        _dry_run(run)
    else:
        _accept(run)
    return run


def _refuse_flood() -> None:
    """Raises TooOften. A command is not limited: it is typed, or somebody's own loop on the host itself."""
    actor, limit = access.actor(), settings.LAUNCHES_PER_MINUTE
    if not limit or actor.way == "command":
        return
    since = timezone.now() - timedelta(minutes=1)
    launches = Event.objects.filter(actor=actor.name, moment__gt=since, act__in=(Act.LAUNCH, Act.RETRY))
    if launches.order_by()[:limit].count() >= limit:
        raise TooOften(f"You may launch {limit} runs a minute. Try again shortly.")


def _refuse_full_disk(wanted: int = 0) -> None:
    """Raises DiskAlmostFull where `wanted` bytes more would leave less than MIN_FREE_BYTES."""
    if shortage := room.shortage(wanted):
        raise DiskAlmostFull(f"{shortage} Nothing was stored.")


def _accept(run: TunixRun) -> None:
    if not tunix.availability().available:
        raise LocalRunsUnavailable(f"Local runs are not available: {tunix.availability().message}.")
    if refusal := room.refusal():
        raise DiskAlmostFull(f"{refusal} Nothing was stored.")
    with transaction.atomic():
        if run.retry_of_id:
            lifecycle.fence(run.retry_of_id)
        lifecycle.accept(run)
        _launch_of(run).save(force_insert=True)
    wake.wake_dispatcher()
    log.info("run %s accepted", run.run_id)


def _launch_of(run: TunixRun) -> Event:
    if run.retry_of_id:
        return audit.event(Act.RETRY, run=run, of=str(run.retry_of_id), resume=run.resume)
    return audit.event(Act.LAUNCH, run=run, mode=run.mode)


def _begin(run: TunixRun, launch: Event | None) -> None:
    with transaction.atomic():
        lifecycle.begin(run)
        _store(launch)


def _finish(run: TunixRun, launch: Event | None) -> bool:
    """`launch` is stored with the result where it could not be before, and was not in spite of an error."""
    if launch is None:
        return lifecycle.finish(run)  # one statement, which a new connection may repeat
    with transaction.atomic():
        first = lifecycle.finish(run)
        if first and not Event.objects.filter(run_id=run.run_id, act=launch.act).exists():
            _store(launch)
    return first


def _store(launch: Event | None) -> None:
    if launch:
        launch.pk, launch._state.adding = None, True  # a try before this one may have been rolled back
        launch.save(force_insert=True)


def _dry_run(run: TunixRun) -> None:
    launch = _launch_of(run)
    begun = _record(_begin, run, launch)
    dry_run.execute(run)
    unstored = None if begun else launch
    run.recorded = _record(_finish, run, unstored)
    if not run.recorded:
        _keep(run, unstored)
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
        owner=request.owner,  # whole: the answer names him, also while the database is away
    )


def standstill() -> str:
    """Why nothing that waits is started here, in words; empty where it is."""
    if not wake.is_heard():
        return "No dispatcher runs on this host, so nothing starts. It starts with make run, or manage.py dispatcher."
    if refusal := room.refusal():
        return f"{refusal} Runs wait until there is room, and none fails for it."
    return ""


def queue(run: TunixRun) -> str:
    """Why a pending run waits, in words; nothing for any other."""
    if run.status != TunixRun.Status.PENDING:
        return ""
    if run.claim:
        return "It is being started."
    if reason := standstill():
        return reason
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
    access.require_change(run.owner_id)
    with transaction.atomic():
        if not lifecycle.cancel(run.run_id):
            raise AlreadyEnded("The run has ended already.")
        audit.record(Act.CANCEL, run=run)
    run.refresh_from_db()
    LocalExecutor().request_stop(run)


def retry(run: TunixRun, *, resume: bool = False, owner: User | None = None) -> TunixRun:
    """A new run of the same inputs. A lost run's supervisor is fenced first.

    Raises NotEnded, NothingToResume, and what `launch` does.
    """
    access.require(Right.OPERATE)
    if run.status == TunixRun.Status.LOST:  # it is given up for good
        access.require_change(run.owner_id)
    _refuse_flood()
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
    else:
        _accept(again)
    return again


def add_metrics(run: TunixRun, batch: metrics.Batch) -> metrics.LeftOut:
    """Store points of a trainer elsewhere, but for what is left out. Raises TakesNoMetrics."""
    access.require_change(run.owner_id)
    if run.status not in (TunixRun.Status.RUNNING, TunixRun.Status.LOST) or run.mode != TunixRun.Mode.LOCAL:
        what = "is a dry run" if run.mode == TunixRun.Mode.DRY_RUN else f"is {run.status}"
        raise TakesNoMetrics(f"The run {what}: metrics are taken while it trains.")
    with transaction.atomic():
        left_out = metrics.append(run.run_id, batch)
        if left_out.points:
            notice = notices.notice(notices.Kind.METRIC_POINTS_OMITTED, left_out.reason, left_out.points)
            notices.store(run.run_id, [notice])
        if not Event.objects.filter(run_id=run.run_id, act=Act.METRICS, actor=access.actor().name).exists():
            audit.record(Act.METRICS, run=run)
    return left_out


def _record(write: Callable[[TunixRun, Event | None], Any], run: TunixRun, launch: Event | None) -> bool:
    """Try a write of `run`'s record. Execution comes first: a database that fails is logged, never raised."""
    try:
        write(run, launch)
    except DatabaseError as error:
        if _connection_died():
            connection.close()
            return _record(write, run, launch)
        log.error("run %s: %s could not be recorded: %s", run.run_id, write.__name__.lstrip("_"), error)
        return False
    return True


def _connection_died() -> bool:
    """Whether the server was restarted under an old connection, so that a new one may do."""
    return connection.connection is not None and not connection.in_atomic_block and not connection.is_usable()


def _keep(run: TunixRun, launch: Event | None) -> None:
    try:
        run.notices = notices.as_stored([notices.notice(notices.Kind.RECORDED_LATE)])
        unrecorded.keep(run, launch)
    except OSError as error:
        run.notices = notices.as_stored([notices.notice(notices.Kind.NOT_KEPT, error.strerror or str(error))])
        log.critical("run %s: neither the database nor the disk took its result: %s", run.run_id, error)


def record_the_unrecorded() -> int:
    """Bring results that were kept on disk into the database. Returns how many; stops at the first refusal."""
    done = 0
    for path in unrecorded.waiting():
        for run, launch in unrecorded.read(path):
            if not _record(_finish_late, run, launch):
                return done
            path.unlink(missing_ok=True)
            done += 1
            log.info("run %s: recorded from %s", run.run_id, path.name)
    return done


def _finish_late(run: TunixRun, launch: Event | None) -> bool:
    """As `_finish`, for a run whose owner may be gone by now."""
    if run.owner_id and not get_user_model()._default_manager.filter(pk=run.owner_id).exists():
        run.owner_id = None
    return _finish(run, launch)


def annotate(run: TunixRun, *, tags: list[str] | None = None, notes: str | None = None) -> None:
    """Set what is given; None leaves it as it is. All of it or nothing."""
    access.require_change(run.owner_id)
    with transaction.atomic():
        audit.record(Act.ANNOTATE, run=run, changed=[n for n, v in (("tags", tags), ("notes", notes)) if v is not None])
        if notes is not None:
            run.notes = notes
            run.save(update_fields=["notes"])
        if tags is not None:
            run.tags.exclude(name__in=tags).delete()
            RunTag.objects.bulk_create([RunTag(run=run, name=name) for name in tags], ignore_conflicts=True)


def add_tag(runs: Iterable[TunixRun], name: str) -> None:
    """To each of them. Raises ValidationError, and tags none, where one would have too many."""
    runs = list(runs)
    for run in runs:
        access.require_change(run.owner_id)
    with transaction.atomic():
        audit.record_each(Act.ANNOTATE, runs, tag=name)
        RunTag.objects.bulk_create([RunTag(run=run, name=name) for run in runs], ignore_conflicts=True, batch_size=500)
        full = TunixRun.objects.filter(pk__in=[run.pk for run in runs]).annotate(count=Count("tags"))
        if full.filter(count__gt=TAGS_PER_RUN).exists():
            raise ValidationError(f"would be more than {TAGS_PER_RUN} on a run")


def delete(run: TunixRun, *, purge: bool = False) -> None:
    """Move a run to the trash, or free its record and files at once. Raises NotEnded."""
    access.require(Right.ADMINISTER)
    with transaction.atomic():
        gone = trash.put(run, for_good=purge)
        if gone:
            audit.record(Act.PURGE if purge else Act.DELETE, run=run)
    if gone and purge:
        trash.free(run.run_id)
    if not gone and run.is_under_way:
        raise NotEnded(f"The run is {run.status}: it can be deleted when it has ended.")


def restore(run_id: uuid.UUID) -> TunixRun | None:
    """The run, back from the trash; None where there is no such run."""
    access.require(Right.ADMINISTER)
    with transaction.atomic():
        back = trash.restore(run_id)
        run = TunixRun.objects.alive().filter(pk=run_id).first()
        if back and run:
            audit.record(Act.RESTORE, run=run)
    return run


def free_from_trash(runs: Iterable[TunixRun]) -> int:
    """For good, files and records. Returns how many; what cannot be removed is tried again by the housekeeping."""
    access.require(Right.ADMINISTER)
    runs = list(runs)
    audit.record_each(Act.PURGE, runs)
    return sum(trash.free(run.run_id) for run in runs)


def empty_trash() -> int:
    """Free what is due. Returns how many runs; what cannot be removed stays due."""
    return sum(_free_in_time(run) for run in list(trash.due().without_logs()))


def _free_in_time(run: TunixRun) -> bool:
    """As trash.free, and an event of whoever of several comes first. Killed in the middle, it is done again."""
    if not trash.remove_files(run.run_id):
        return False
    with transaction.atomic():
        freed = trash.forget(run.run_id)
        if freed:
            audit.record(Act.PURGE, run=run, after_days=trash.LIFETIME.days)
    return freed


def release(run_id: uuid.UUID) -> bool:
    """Give up a lost run whose host is gone for good. False: it is not lost. On this host its processes are ended."""
    access.require(Right.ADMINISTER)
    with transaction.atomic():
        run = TunixRun.objects.without_logs().filter(pk=run_id).first()
        released = lifecycle.release(run_id)
        if released:
            audit.record(Act.RELEASE, run=run)
    if released and run:
        LocalExecutor().end(run)
    return released


def install_tunix() -> None:
    """Have the installation that failed beside this server tried again. Raises InstallsNothing."""
    access.require(Right.OPERATE)
    with transaction.atomic():
        audit.record(Act.INSTALL, subject="Tunix")
    if not installation.ask_again():
        raise InstallsNothing("Nothing installs Tunix beside this server: run `make tunix`, or start `make run` again.")


def expect_upload(announced_bytes: int) -> None:
    """Asked before a body is read, which is a file on this disk soon. Raises datasets.TooLarge, DiskAlmostFull."""
    if announced_bytes > settings.MAX_UPLOAD_BYTES + datasets.FORM_BYTES:
        raise datasets.TooLarge(f"A dataset may have {settings.MAX_UPLOAD_BYTES:,} bytes. Nothing was stored.")
    _refuse_full_disk(announced_bytes)


def add_dataset(
    name: str,
    version: str,
    chunks: Iterable[bytes],
    mapping: datasets.Mapping = datasets.NO_MAPPING,
    *,
    skip_invalid: bool = False,
) -> tuple[datasets.Dataset, bool]:
    """As datasets.add. Raises DiskAlmostFull as well."""
    access.require(Right.OPERATE)
    upload = receive_dataset(name, version, chunks)
    try:
        return _noted(*datasets.store_received(upload, mapping, skip_invalid=skip_invalid))
    finally:
        datasets.discard(upload)


def receive_dataset(name: str, version: str, chunks: Iterable[bytes]) -> datasets.Upload:
    """As datasets.receive, for store_dataset. Raises DiskAlmostFull as well."""
    access.require(Right.OPERATE)
    return datasets.receive(name, version, chunks, _refuse_full_disk)


def store_dataset(
    upload: datasets.Upload, mapping: datasets.Mapping = datasets.NO_MAPPING, *, skip_invalid: bool = False
) -> tuple[datasets.Dataset, bool]:
    """As datasets.store_received, and the upload is gone. Where it raises, the upload still waits."""
    access.require(Right.OPERATE)
    stored = _noted(*datasets.store_received(upload, mapping, skip_invalid=skip_invalid))
    datasets.discard(upload)
    return stored


def discard_upload(upload: datasets.Upload) -> None:
    access.require(Right.OPERATE)
    datasets.discard(upload)


def _noted(dataset: datasets.Dataset, new: bool) -> tuple[datasets.Dataset, bool]:
    if new:
        _note_upload(dataset)
    return dataset, new


def _note_upload(dataset: datasets.Dataset) -> None:
    """Datasets live on disk, also while the database is away: then the log has the event."""
    try:
        audit.record(Act.UPLOAD, subject=dataset.key, rows=dataset.manifest["row_count"])
    except DatabaseError as error:
        log.error("event not recorded: %s uploaded %s: %s", access.actor().name, dataset.key, error)


def keep_view(name: str, query: str) -> None:
    """Under this name, in the place of one that is there. Raises TooManyViews."""
    access.require(Right.OPERATE)
    if not SavedView.objects.filter(name=name).exists() and SavedView.objects.count() >= SAVED_VIEWS:
        raise TooManyViews(f"There are {SAVED_VIEWS} views already. Forget one first.")
    with transaction.atomic():
        SavedView.objects.update_or_create(name=name, defaults={"query": query})
        audit.record(Act.KEEP_VIEW, subject=name, query=query)


def forget_view(view: SavedView) -> None:
    access.require(Right.OPERATE)
    with transaction.atomic():
        audit.record(Act.FORGET_VIEW, subject=view.name, query=view.query)
        view.delete()


def make_token(user: Any, name: str, scope: str, lifetime: timedelta) -> str:
    """A token in the name of `user`, who makes it for himself. Only its hash is kept: it is seen here once."""
    ApiToken.objects.filter(user=user, expiry__lte=timezone.now()).delete()
    if ApiToken.objects.filter(user=user).count() >= TOKENS_PER_USER:
        raise TooManyTokens(f"You have {TOKENS_PER_USER} tokens already. Revoke one first.")
    with transaction.atomic():
        _, token = ApiToken.objects.create(user=user, expiry=lifetime, name=name, scope=scope)
        audit.record(Act.MAKE_TOKEN, subject=name, scope=scope, days=lifetime.days)
    return token


def revoke_token(token: ApiToken) -> None:
    with transaction.atomic():
        audit.record(Act.REVOKE_TOKEN, subject=token.name)
        token.delete()


def note_password_change(user: Any) -> None:
    audit.record(Act.PASSWORD, subject=user.get_username())


def housekeeping() -> dict[str, int]:
    """Everything that time, not a user, asks for. Safe at any moment, beside everything else."""
    return {
        "results recorded": record_the_unrecorded(),
        "interrupted dry runs failed": lifecycle.fail_interrupted_dry_runs(),
        "runs freed from the trash": empty_trash(),
        "run directories without a record, see reconcile_runs": reconcile.look(),
        "stale uploads removed": datasets.remove_stale_uploads(),
    }

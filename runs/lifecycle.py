"""The only writer of a run's status. One function per transition, each a single conditional statement.

A function that changed nothing says so: somebody else was first. What guards a local run's transitions is its claim, a
token that the dispatcher makes and the supervisor carries; the database's clock decides when it has run out.
"""

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, Value
from django.db.models.functions import Now
from django.utils import timezone

from runs.models import Event, TunixRun

Status, Mode, Cause = TunixRun.Status, TunixRun.Mode, TunixRun.Cause
RESULT_FIELDS = ("status", "exit_code", "stdout", "stderr", "message", "completed_at", "duration_seconds", "notices")
# A dry run takes a second. One that is `running` after this long has lost its process.
DRY_RUN_LIFETIME = timedelta(minutes=10)
# A run that was claimed so often and never began cannot be started here.
MAX_CLAIMS = 3
SUPERVISED = (Status.RUNNING, Status.LOST)
FENCED: dict[str, Any] = {"claim": "", "lease_expires_at": None}
RELEASED: dict[str, Any] = {**FENCED, "slot": None}


# --- dry runs ---------------------------------------------------------------------------------------------------------


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
    overdue = TunixRun.objects.filter(status=Status.RUNNING, mode=Mode.DRY_RUN, started_at__lt=now - DRY_RUN_LIFETIME)
    message = "Dry-run failed: interrupted"
    stderr = "The server stopped before the validation ended. Nothing was trained; run it again."
    return overdue.update(status=Status.FAILED, message=message, stderr=stderr, completed_at=now)


# --- local runs: what a user asks for ---------------------------------------------------------------------------------


def accept(run: TunixRun) -> None:
    """(new) -> pending."""
    run.save(force_insert=True)


def cancel(run_id: uuid.UUID) -> bool:
    """pending -> cancelled where unclaimed, else a request that the supervisor answers. False: it has ended."""
    runs = TunixRun.objects.filter(pk=run_id)
    if runs.filter(status=Status.PENDING, claim="").update(**_cancelled(), cancel_requested_at=Now()):
        return True
    open_ = runs.filter(status__in=(Status.PENDING, *SUPERVISED))
    return bool(open_.filter(cancel_requested_at=None).update(cancel_requested_at=Now())) or open_.exists()


def fence(run_id: uuid.UUID) -> None:
    """Take a lost run's token: whoever still carries it can write nothing more, and will kill its tree.

    Its slot stays taken until the dispatcher of its host knows that tree dead.
    """
    TunixRun.objects.filter(pk=run_id, status=Status.LOST).update(**FENCED)


def trash(run: TunixRun, moment: datetime) -> bool:
    """Out of every list, as of `moment`. A run that is pending or running cannot go; a lost one is fenced."""
    idle = TunixRun.objects.alive().filter(pk=run.pk).exclude(status__in=TunixRun.UNDER_WAY)
    return bool(idle.update(deleted_at=moment, **FENCED))


def restore(run_id: uuid.UUID, due: datetime) -> bool:
    """Back from the trash, where it was put there after `due`."""
    return bool(TunixRun.objects.filter(pk=run_id, deleted_at__gt=due).update(deleted_at=None))


# --- local runs: the dispatcher ---------------------------------------------------------------------------------------


def claim(host: str, boot_id: str, slots: Iterable[int]) -> tuple[TunixRun, str] | None:
    """Take the next pending run for a free slot of this host. Returns it with the token of its supervisor."""
    with transaction.atomic():
        taken = set(TunixRun.objects.filter(host=host, slot__isnull=False).values_list("slot", flat=True))
        free = [slot for slot in slots if slot not in taken]
        queue = TunixRun.objects.alive().filter(status=Status.PENDING, claim="").order_by(*QUEUE_ORDER)
        if connection.features.has_select_for_update_skip_locked:
            queue = queue.select_for_update(skip_locked=True)
        run = queue.first() if free else None
        if run is None:
            return None
        token = secrets.token_hex(16)
        values = {"host": host, "boot_id": boot_id, "slot": free[0], "claim": hashed(token)}
        try:
            with transaction.atomic():
                TunixRun.objects.filter(pk=run.pk, status=Status.PENDING, claim="").update(
                    **values, claims=F("claims") + 1, lease_expires_at=_lease()
                )
        except IntegrityError:  # another dispatcher of this host took the slot
            return None
    return run, token


QUEUE_ORDER = ("-priority", "accepted_at", "run_id")


def expired_claims() -> list[uuid.UUID]:
    """Runs whose claim ran out before their supervisor began."""
    return list(_expired().values_list("pk", flat=True))


def _expired() -> Any:
    return TunixRun.objects.filter(status=Status.PENDING, lease_expires_at__lt=Now()).exclude(claim="")


def unclaim_expired() -> int:
    """A claim that ran out before its supervisor began: back to the queue, or failed after three. Returns how many.

    One that was to be cancelled meanwhile is: nobody starts it again to do so.
    """
    expired = _expired()
    cancelled = expired.filter(cancel_requested_at__isnull=False).update(**RELEASED, **_cancelled())
    failed = expired.filter(claims__gte=MAX_CLAIMS).update(
        **RELEASED,
        status=Status.FAILED,
        cause=Cause.NOT_STARTED,
        completed_at=Now(),
        message=f"Local execution failed: could not be started in {MAX_CLAIMS} tries",
    )
    return cancelled + failed + expired.update(**RELEASED, host="", boot_id="")


def overdue(host: str, boot_id: str) -> list[TunixRun]:
    """Runs whose supervisor is silent beyond its lease, and those of this host from before it was restarted."""
    silent = Q(lease_expires_at__lt=Now())
    restarted = Q(host=host) & ~Q(boot_id=boot_id)
    runs = TunixRun.objects.filter(status__in=SUPERVISED, mode=Mode.LOCAL).filter(silent | restarted).exclude(claim="")
    return list(runs.exclude(status=Status.LOST, slot=None))


def supervised_on(host: str) -> list[TunixRun]:
    return list(TunixRun.objects.filter(host=host, status=Status.RUNNING, mode=Mode.LOCAL).newest_first())


def lose(run: TunixRun, message: str) -> bool:
    """running -> lost, of the run as it was seen. Its supervisor may come back; its slot stays taken."""
    seen = TunixRun.objects.filter(pk=run.pk, status=Status.RUNNING, claim=run.claim)
    seen = seen.filter(lease_expires_at=run.lease_expires_at)
    return bool(seen.update(status=Status.LOST, cause=Cause.HOST_LOST, message=message))


def fenced(host: str) -> list[TunixRun]:
    """Lost runs that were given up, by a retry or a deletion, and whose processes on this host may still live."""
    return list(TunixRun.objects.filter(status=Status.LOST, claim="", host=host, slot__isnull=False))


def free_slot(run: TunixRun) -> bool:
    """Give a lost run's slot to others, its processes being known dead."""
    return bool(TunixRun.objects.filter(pk=run.pk, status=Status.LOST, claim=run.claim).update(slot=None))


def is_deaf_to_cancel(run: TunixRun) -> bool:
    """Whether it was asked to end so long ago that a supervisor that can hear it has asked its trainer, and waited."""
    patience = timedelta(seconds=settings.GRACE_SECONDS + 2 * settings.HEARTBEAT_SECONDS)
    return TunixRun.objects.filter(pk=run.pk, cancel_requested_at__lt=Now() - patience).exists()


def cancel_dead() -> int:
    """lost -> cancelled, where that was asked for and no process is left that could answer. Returns how many."""
    dead = TunixRun.objects.filter(status=Status.LOST, slot=None, cancel_requested_at__isnull=False)
    return dead.update(**RELEASED, **_cancelled())


def release(run_id: uuid.UUID) -> bool:
    """lost -> failed, by an operator who knows that its host is gone. Its token is void: it cannot come back."""
    lost = TunixRun.objects.filter(pk=run_id, status=Status.LOST)
    return bool(
        lost.update(
            **RELEASED,
            status=Status.FAILED,
            cause=Cause.HOST_LOST,
            completed_at=Now(),
            message="Local execution lost: released by an operator",
        )
    )


# --- local runs: the supervisor ---------------------------------------------------------------------------------------


def start(run_id: uuid.UUID, token: str, processes: dict[str, Any]) -> bool:
    """pending -> running. False: the claim is another's by now, or the run was cancelled; start nothing."""
    held = _held(run_id, token, Status.PENDING)
    if held.filter(cancel_requested_at=None).update(
        status=Status.RUNNING, started_at=Now(), heartbeat_at=Now(), lease_expires_at=_lease(), processes=processes
    ) or (_held(run_id, token, Status.RUNNING).filter(processes=processes).exists()):
        return True  # now, or by a try before whose answer did not arrive
    held.filter(cancel_requested_at__isnull=False).update(**RELEASED, **_cancelled())
    return False


def give_back(run_id: uuid.UUID, token: str) -> bool:
    """pending or running -> pending, by whoever holds the token and has begun no process of it. No try is counted.

    For what is this host's fault and may pass, such as a disk that is full.
    """
    held = TunixRun.objects.filter(pk=run_id, claim=hashed(token), status__in=(Status.PENDING, Status.RUNNING))
    given = held.filter(cancel_requested_at=None).update(
        **RELEASED,
        status=Status.PENDING,
        host="",
        boot_id="",
        processes={},
        claims=F("claims") - 1,
        heartbeat_at=None,
        started_at=F("accepted_at"),
    )
    return bool(given or held.update(**RELEASED, **_cancelled()))


def take_up(run: TunixRun, token: str) -> bool:
    """(none) or pending -> running, by the supervisor that sees it through.

    Of a database that was restored from a backup made before this run began, or was accepted. False: it is another's by
    now, or was freed for good.
    """
    own = {name: getattr(run, name) for name in ("host", "boot_id", "processes", "started_at", "claims")}
    own |= {"status": Status.RUNNING, "claim": hashed(token), "heartbeat_at": Now(), "lease_expires_at": _lease()}
    with transaction.atomic():
        own["slot"] = _slot_beside(run)
        if TunixRun.objects.filter(pk=run.pk, status=Status.PENDING, claim="").update(**own):
            return True
        freed = Event.objects.filter(run_id=run.pk, act=Event.Act.PURGE)
        if freed.exists() or TunixRun.objects.filter(pk=run.pk).exists():
            return False
        restored(run, **own).save(force_insert=True)
    return True


def restored(run: TunixRun, **fields: Any) -> TunixRun:
    """The record of a run that the database does not know, as the disk knows it; not stored yet."""
    again = TunixRun(**{field.attname: getattr(run, field.attname) for field in TunixRun._meta.concrete_fields})
    again.metrics_offset = 0
    for name, value in fields.items():
        setattr(again, name, value)
    for name in ("owner", "retry_of", "reproduces"):
        known = TunixRun._meta.get_field(name).related_model._default_manager  # type: ignore[union-attr]
        if not known.filter(pk=getattr(again, f"{name}_id")).exists():
            setattr(again, f"{name}_id", None)
    return again


def _slot_beside(run: TunixRun) -> int:
    """Its own or, where another run has it by now, the next that nobody has, beyond those that there are."""
    others = TunixRun.objects.filter(host=run.host, slot__isnull=False).exclude(pk=run.pk)
    taken = set(others.values_list("slot", flat=True))
    return next(slot for slot in chain([run.slot or 0], count()) if slot not in taken)


def lose_begun(run_id: uuid.UUID, token: str) -> bool:
    """pending -> lost, of a run that the disk knows to have begun, and not to have ended."""
    return bool(
        _held(run_id, token, Status.PENDING).update(
            **RELEASED,
            status=Status.LOST,
            cause=Cause.HOST_LOST,
            message="Local execution lost: it had begun when the database was restored from a backup, and did not end",
        )
    )


def heartbeat(run_id: uuid.UUID, token: str, **seen: Any) -> bool:
    """Renew the lease, and write what is seen of the output. lost -> running. False: fenced."""
    renewed = {"heartbeat_at": Now(), "lease_expires_at": _lease(), **seen}
    if _held(run_id, token, Status.RUNNING).update(**renewed):
        return True
    return bool(_held(run_id, token, Status.LOST).update(**renewed, status=Status.RUNNING, cause="", message=""))


def note(run_id: uuid.UUID, token_hash: str, **seen: Any) -> bool:
    """Write what is seen of a run whose supervisor is done or dead. Its lease stays as it is."""
    held = TunixRun.objects.filter(pk=run_id, claim=token_hash, status__in=(Status.PENDING, *SUPERVISED))
    return bool(token_hash) and bool(held.update(**seen))


def end(run_id: uuid.UUID, token_hash: str, result: dict[str, Any]) -> bool:
    """pending, running or lost -> the final status of `result`, by whoever holds the token."""
    held = TunixRun.objects.filter(pk=run_id, claim=token_hash, status__in=(Status.PENDING, *SUPERVISED))
    return bool(token_hash) and bool(held.update(**RELEASED, **result))


def _cancelled() -> dict[str, Any]:
    return {
        "status": Status.CANCELLED,
        "cause": Cause.CANCELLED,
        "completed_at": Now(),
        "message": "Local execution cancelled",
    }


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _held(run_id: uuid.UUID, token: str, status: TunixRun.Status) -> Any:
    return TunixRun.objects.filter(pk=run_id, claim=hashed(token), status=status)


def _lease() -> Any:
    length = Value(timedelta(seconds=settings.LEASE_SECONDS))
    return ExpressionWrapper(Now() + length, output_field=DateTimeField())

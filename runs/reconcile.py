"""Directories of runs that the database has no record of, as after a restore from a backup: found, adopted or freed.

A run whose supervisor lives takes itself up again (execution/lease.py), and one that the database says waits is settled
when its turn comes (execution/supervisor.py). What is left to somebody's decision is here.
"""

import contextlib
import secrets
import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from django.conf import settings

from runs import access, audit, claims, lifecycle, trash
from runs.execution import exit_file, presence
from runs.execution.report import Report, record_end
from runs.models import Event, TunixRun
from runs.rundir import RunDirectory

# Asked of the database at once.
BATCH = 500
# So many are remembered between two looks; there may be more.
MAX_KNOWN = 1_000


def without_record() -> Iterator[uuid.UUID]:
    """Those that have a directory here, no record and no living supervisor. Reads every name in the runs' directory."""
    names = _run_ids()
    while batch := list(islice(names, BATCH)):
        known = set(TunixRun.objects.filter(pk__in=batch).values_list("pk", flat=True))
        yield from (each for each in batch if each not in known and not presence.lives(each))


def look() -> int:
    """How many there are, up to MAX_KNOWN; remembered, so that `known` need not look again."""
    found = list(islice(without_record(), MAX_KNOWN))
    with contextlib.suppress(OSError):
        _file().write_text("".join(f"{each}\n" for each in found), encoding="ascii")
    return len(found)


def known() -> list[uuid.UUID]:
    """What the last look found and is so still."""
    with contextlib.suppress(OSError, ValueError):
        found = [uuid.UUID(line) for line in _file().read_text(encoding="ascii").split()[:MAX_KNOWN]]
        return list(_still(found))
    return []


def _still(found: Iterable[uuid.UUID]) -> Iterator[uuid.UUID]:
    found = list(found)
    recorded = set(TunixRun.objects.filter(pk__in=found).values_list("pk", flat=True))
    return (each for each in found if each not in recorded and RunDirectory(each).path.exists())


def adopt(run_id: uuid.UUID) -> TunixRun | None:
    """Make the record anew, from what the disk knows: as it ended, else as lost. None: the disk knows too little.

    Metrics and checkpoints are there again; tags, notes and events of the run are not. Raises the database's errors.
    """
    access.require(access.Right.ADMINISTER)
    before = claims.remembered(run_id)
    if before is None or presence.lives(run_id):
        return None
    result = exit_file.found(RunDirectory(run_id), before.claim)
    # A claim of its own: nobody else may write to it until it is as it ended.
    claim = lifecycle.hashed(secrets.token_hex(16))
    message = "Local execution lost: its record was not in the database that was restored, and it did not end"
    run = lifecycle.restored(before, status="lost", cause="host_lost", message=message, claim=claim, slot=None)
    run.save(force_insert=True)
    report = Report(run)
    if result is None:
        report.catch_up(lambda **columns: lifecycle.note(run_id, claim, **columns))
        lifecycle.fence(run_id)
    else:
        record_end(report, claim, result)
    audit.record(Event.Act.ADOPT, run=run)
    run.refresh_from_db()
    return run


def free(run_id: uuid.UUID) -> bool:
    """Remove the directory. False: some of it is left, or it has a record, or a living supervisor."""
    access.require(access.Right.ADMINISTER)
    if TunixRun.objects.filter(pk=run_id).exists() or presence.lives(run_id) or not trash.remove_files(run_id):
        return False
    audit.record(Event.Act.PURGE, run=claims.remembered(run_id) or TunixRun(run_id=run_id), without_record=True)
    claims.forget(run_id)
    return True


def _run_ids() -> Iterator[uuid.UUID]:
    with contextlib.suppress(FileNotFoundError):
        for path in Path(settings.RUNS_DIR).iterdir():
            with contextlib.suppress(ValueError):
                if str(found := uuid.UUID(path.name)) == path.name:
                    yield found


def _file() -> Path:
    return Path(settings.TUNIX_RT_HOME) / "without-record"

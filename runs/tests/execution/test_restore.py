"""A database that is restored from a backup, really, beneath runs that have begun, ended and been accepted since."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from runs import claims, lifecycle, metrics, services
from runs.execution import presence
from runs.models import Event, TunixRun
from runs.tests.execution.away import database_away
from runs.tests.execution.engine import Engine, database_url, end, launch, started, supervisor_of, until, wait_for
from runs.tests.helpers import create_run

TRAINING = "metrics=20,lines=1,sleep=60"


def backup(path: Path) -> None:
    if connection.vendor == "sqlite":
        source, target = sqlite3.connect(settings.DATABASES["default"]["NAME"]), sqlite3.connect(path)
        with contextlib.closing(source), contextlib.closing(target):
            source.backup(target)
    else:
        postgres("pg_dump", "--format=custom", f"--file={path}", database_url())


def restore(path: Path) -> None:
    """As docs/operations.md has it."""
    connection.close()
    if connection.vendor == "sqlite":
        name = settings.DATABASES["default"]["NAME"]
        for suffix in ("-wal", "-shm"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)
        Path(path).replace(name)
    else:
        postgres("pg_restore", "--clean", "--if-exists", f"--dbname={database_url()}", str(path))


def postgres(program: str, *arguments: str) -> None:
    found = shutil.which(program) or str(max(Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))
    subprocess.run([found, *arguments], check=True, capture_output=True)


def stop(dispatcher) -> None:
    dispatcher.terminate()
    dispatcher.wait(20)


def killed(run: TunixRun) -> TunixRun:
    run = wait_for(run, "running")
    until(lambda: claims.remembered(run.pk) and started(run))
    end(supervisor_of(run))
    return wait_for(run, "lost")


def said(*command) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


FOUR_SLOTS = {"TUNIX_RT_SLOTS": "4", "TUNIX_RT_LEASE_SECONDS": "15"}


def test_a_database_restored_from_a_backup(engine: Engine, api, tmp_path):
    dispatcher = engine.dispatcher(**FOUR_SLOTS)
    before = wait_for(launch("lines=1"))
    going_on = wait_for(launch(TRAINING), "running")
    stop(dispatcher)
    ended, training, gone = launch("lines=1,metrics=3"), launch(TRAINING), launch("sleep=300")
    backup(tmp_path / "backup")
    dispatcher = engine.dispatcher(**FOUR_SLOTS)
    ended, gone = wait_for(ended), killed(gone)
    new_ended, new_gone, new_training = wait_for(launch("lines=1,metrics=3")), launch("sleep=300"), launch(TRAINING)
    new_gone = killed(new_gone)
    wait_for(training, "running")
    wait_for(new_training, "running")
    until(lambda: metrics.read(going_on).get("train/loss"))
    stop(dispatcher)
    restore(tmp_path / "backup")
    assert set(TunixRun.objects.values_list("pk", flat=True)) == {
        r.pk for r in (before, going_on, ended, training, gone)
    }

    engine.dispatcher(**FOUR_SLOTS)
    again = wait_for(TunixRun(pk=ended.pk))
    assert (again.status, again.stdout, again.completed_at) == (ended.status, ended.stdout, ended.completed_at)
    assert wait_for(TunixRun(pk=gone.pk), "lost").message.startswith("Local execution lost: it had begun when")
    for run in (training, new_training, going_on):
        until(lambda run=run: TunixRun.objects.filter(pk=run.pk, status__in=("running", "completed")).exists(), 30)
    assert api.get("/readyz").json()["runs_without_record"] == 0, "nobody has looked yet"
    assert "directories without a record: 2" in said("runs_status")
    assert api.get("/readyz").json()["runs_without_record"] == 2
    listed = said("reconcile_runs")
    assert str(new_ended.pk) in listed and str(new_gone.pk) in listed and "2 without a record" in listed
    assert not TunixRun.objects.filter(pk=new_ended.pk).exists(), "it only said so"
    adopted = said("reconcile_runs", "--adopt")
    assert f"{new_ended.pk}  completed" in adopted and f"{new_gone.pk}  lost" in adopted
    assert api.get("/readyz").json()["runs_without_record"] == 0
    for run in (training, new_training, going_on):
        assert wait_for(run, seconds=90).status == "completed"
    for run in (ended, new_ended, training, new_training, going_on):
        run.refresh_from_db()
        assert (run.status, started(run), run.stdout) == ("completed", 1, "line 0\n")
        if run != going_on:
            assert len(metrics.read(run)["train/loss"]) == (3 if run in (ended, new_ended) else 20)
    assert len(metrics.read(going_on)["train/loss"]) == 20, "those that were delivered since the backup as well"
    assert started(gone) == started(new_gone) == 1
    assert Event.objects.filter(act="adopt").count() == 2


def test_a_directory_without_a_record_is_freed(engine, data_dir):
    engine.dispatcher()
    run = wait_for(launch("lines=1"))
    until(lambda: not presence.lives(run.pk))
    TunixRun.objects.all().delete()
    with pytest.raises(Exception, match="has no directory"):
        said("reconcile_runs", "--free", "00000000-0000-0000-0000-000000000001")
    assert f"{run.pk}  freed" in said("reconcile_runs", "--free", str(run.pk))
    assert not (data_dir / "runs" / str(run.pk)).exists()
    assert claims.remembered(run.pk) is None
    assert said("reconcile_runs").startswith("Every directory of a run has its record")


def test_a_run_that_was_freed_for_good_is_not_taken_up_again(engine):
    engine.dispatcher()
    run = wait_for(launch("sleep=60"), "running")
    Event.objects.create(act="purge", run_id=run.pk, actor="ada", way="page")
    TunixRun.objects.all().delete()
    until(lambda: not presence.lives(run.pk))
    assert not TunixRun.objects.exists()


def test_a_slot_is_taken_as_long_as_a_supervisor_has_it(engine):
    """Whatever the database says of it."""
    engine.dispatcher(TUNIX_RT_SLOTS="1")
    run = wait_for(launch("sleep=6"), "running")
    TunixRun.objects.update(slot=None)
    other = launch("lines=1")
    assert presence.slots() == {0}
    run, other = wait_for(run), wait_for(other)
    assert other.started_at > run.completed_at


@pytest.mark.django_db(transaction=True)
def test_only_one_supervisor_of_a_run_lives(data_dir):
    run = create_run(mode="local", status="running")
    assert presence.hold(run.pk, 3)
    pid = os.fork()
    if pid == 0:
        os._exit(not (not presence.hold(run.pk, 3) and presence.slots() == {3}))
    assert os.waitpid(pid, 0)[1] == 0
    os.close(presence._held.pop())
    assert not presence.lives(run.pk)
    assert list((data_dir / "supervisors").iterdir()) == []


def test_a_supervisor_that_is_started_while_the_database_is_away_asks_again(engine):
    engine.dispatcher(TUNIX_RT_LEASE_SECONDS="60").kill()
    run = launch("lines=1")
    _, token = lifecycle.claim(os.uname().nodename, "boot", [0])
    with database_away(6):
        supervisor = engine.supervisor(run, token)
    assert wait_for(run, seconds=30).status == "completed", "not after a lease of 60 s"
    assert supervisor.wait(10) == 0
    assert services.queue(run) == ""

"""A slot is held as long as processes of a run may use the accelerator, and never longer: however a run ends."""

import signal
import subprocess
import sys

import psutil
import pytest
from django.core.management import call_command
from django.db import connection

from runs import lifecycle, services
from runs.models import TunixRun
from runs.tests.execution.engine import end, environment, launch, supervisor_of, trainer_of, until, wait_for
from runs.tests.helpers import create_run

ONE_SLOT = {"TUNIX_RT_SLOTS": "1", "TUNIX_RT_LEASE_SECONDS": "10"}


@pytest.fixture
def stuck(engine):
    """A lost run whose supervisor and trainer live, in the only slot; and the two processes."""
    engine.dispatcher(**ONE_SLOT)
    run = wait_for(launch("sleep=300,daemon=300"), "running")
    processes = [psutil.Process(supervisor_of(run)), trainer_of(run)]
    # Its first report takes longest: one that stands still within it would hold SQLite's lock, which nobody can take.
    until(lambda: TunixRun.objects.filter(pk=run.pk).exclude(provenance={}).exists())
    end(processes[0].pid, signal.SIGSTOP)
    run = wait_for(run, "lost")
    assert run.slot == 0
    return run, processes


def assert_over(run, processes):
    """Nothing of it lives any more, and its slot is another's."""
    assert wait_for(launch("lines=1")).status == "completed"
    assert not any(process.is_running() and process.status() != "zombie" for process in processes)
    assert TunixRun.objects.filter(pk=run.pk, slot__isnull=False).count() == 0


def test_a_lost_run_that_is_retried_while_its_supervisor_lives(stuck):
    run, processes = stuck
    again = services.retry(run)
    wait_for(again, "running")
    assert not any(process.is_running() and process.status() != "zombie" for process in processes)
    services.cancel(again)
    assert_over(run, processes)
    run.refresh_from_db()
    assert (run.status, run.slot) == ("lost", None)


def test_a_lost_run_that_is_cancelled_while_its_supervisor_lives(stuck):
    run, processes = stuck
    services.cancel(run)
    run = wait_for(run, "cancelled")
    assert_over(run, processes)


def test_a_lost_run_that_is_cancelled_after_its_supervisor_died(stuck):
    run, processes = stuck
    end(processes[0].pid)
    until(lambda: TunixRun.objects.filter(pk=run.pk, slot=None).exists())
    services.cancel(run)
    assert wait_for(run, "cancelled").claim == ""
    assert_over(run, processes)


def test_a_lost_run_that_is_deleted_while_its_supervisor_lives(stuck):
    run, processes = stuck
    services.delete(run)
    assert_over(run, processes)
    services.restore(run.pk)
    run.refresh_from_db()
    assert (run.status, run.slot, run.claim) == ("lost", None, "")


def test_a_lost_run_is_purged_when_its_processes_are_dead_and_not_before(stuck, engine):
    run, processes = stuck
    services.delete(run, purge=True)
    assert TunixRun.objects.filter(pk=run.pk).exists(), "its record says which slot it holds"
    assert_over(run, processes)
    call_command("housekeeping")
    assert not TunixRun.objects.filter(pk=run.pk).exists()
    assert not (engine.home / "runs" / str(run.pk)).exists()


def test_a_lost_run_that_is_released_on_its_own_host(stuck):
    run, processes = stuck
    assert services.release(run.pk)
    assert not any(process.is_running() and process.status() != "zombie" for process in processes)
    assert_over(run, processes)


@pytest.mark.django_db
def test_a_run_that_was_cancelled_while_claimed_does_not_queue_again():
    run = create_run(mode="local", status="pending")
    assert lifecycle.claim("here", "boot", [0])
    assert lifecycle.cancel(run.pk)
    TunixRun.objects.update(lease_expires_at="2020-01-01T00:00:00Z")
    assert lifecycle.unclaim_expired() == 1
    run.refresh_from_db()
    assert (run.status, run.slot, run.claim) == ("cancelled", None, "")


@pytest.mark.django_db
@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_a_fenced_run_keeps_its_slot_until_its_own_host_knows_it_dead(host):
    run = create_run(mode="local", status="lost", host="here", boot_id="b", slot=0, claim="c")
    lifecycle.fence(run.pk)
    assert [each.pk for each in lifecycle.fenced(host)] == ([run.pk] if host == "here" else [])
    run.refresh_from_db()
    assert (run.slot, run.claim) == (0, "")


STANDS_STILL = """
import os, signal
from django.db import transaction
from runs.models import TunixRun
with transaction.atomic():
    TunixRun.objects.update(notes="half written")
    print("holds it", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_process_that_stands_still_in_a_transaction_does_not_hold_the_dispatcher(engine):
    """PostgreSQL ends its session. SQLite's lock nobody takes away: there it is let go on, and so lets go."""
    engine.dispatcher(**ONE_SLOT)
    run = wait_for(launch("sleep=300"), "running")
    shell = [sys.executable, "manage.py", "shell", "-c", STANDS_STILL]
    with subprocess.Popen(shell, env=environment(**ONE_SLOT), stdout=subprocess.PIPE, text=True) as standing:
        assert any("holds it" in line for line in standing.stdout)
        end(supervisor_of(run))
        try:
            run = wait_for(run, "lost", seconds=30)
        finally:
            standing.kill()
    assert run.notes == ("half written" if connection.vendor == "sqlite" else "")

"""What becomes of runs when processes, the database or the machine go away at the worst moment."""

import contextlib
import random
import signal
import statistics
import subprocess
import sys
import time

import psutil
import pytest

from runs import lifecycle, services
from runs.models import TunixRun
from runs.output import OUTPUT_BYTES
from runs.tests.execution.away import database_away
from runs.tests.execution.engine import end, launch, started, supervisor_of, trainer_of, trainers_of, until, wait_for

# For what must fall silent soon; elsewhere the lease is that of the product, which a loaded machine needs as well.
SHORT_LEASE = {"TUNIX_RT_LEASE_SECONDS": "10"}


def test_a_dispatcher_that_is_killed_again_and_again_loses_and_doubles_nothing(engine):
    chance = random.Random(7)
    dispatcher = engine.dispatcher(TUNIX_RT_LEASE_SECONDS="15")
    runs = [launch(f"lines=2,sleep={chance.uniform(0.5, 2):.1f}") for _ in range(10)]
    for _ in range(20):
        time.sleep(chance.uniform(0.1, 1.2))
        dispatcher.kill()
        dispatcher.wait()
        dispatcher = engine.dispatcher(TUNIX_RT_LEASE_SECONDS="15")
    for run in runs:
        assert wait_for(run, seconds=180).status == "completed"
        assert started(run) == 1
        assert run.stdout == "line 0\nline 1\n"


def test_kill_9_of_the_supervisor(engine):
    engine.dispatcher(TUNIX_RT_SLOTS="1", **SHORT_LEASE)
    run = wait_for(launch("sleep=120,daemon=120"), "running")
    time.sleep(0.7)
    trainer = trainer_of(run)
    end(supervisor_of(run))
    trainer_gone = psutil.wait_procs([trainer], timeout=2)[0]
    assert trainer_gone == [trainer]
    run = wait_for(run, "lost")
    assert run.cause == "host_lost" and "its supervisor died" in run.message


def test_kill_9_of_what_supervisors_are_forked_from(engine):
    dispatcher = engine.dispatcher()
    run = wait_for(launch("lines=1,sleep=6"), "running")
    (nursery,) = psutil.Process(dispatcher.pid).children()
    assert psutil.Process(supervisor_of(run)).ppid() == nursery.pid
    nursery.kill()
    nursery.wait(10)
    assert wait_for(launch("lines=1")).status == "completed"
    run = wait_for(run)
    assert (run.status, run.stdout, started(run)) == ("completed", "line 0\n", 1)


def test_what_supervisors_are_forked_from_shares_no_connection_and_goes_with_its_dispatcher(engine):
    dispatcher = engine.dispatcher()
    first = launch("lines=1,sleep=6")
    wait_for(launch("lines=1"))
    (nursery,) = psutil.Process(dispatcher.pid).children()
    assert (nursery.num_threads(), nursery.net_connections()) == (1, [])
    assert "sqlite" not in "".join(file.path for file in nursery.open_files())
    mine = supervisor_of(wait_for(first, "running"))
    until(lambda: [child.pid for child in nursery.children()] == [mine])  # the other is no zombie
    dispatcher.kill()
    dispatcher.wait()
    nursery.wait(10)
    assert wait_for(first).status == "completed"


def test_a_lost_run_frees_its_slot_and_is_retried(engine):
    engine.dispatcher(TUNIX_RT_SLOTS="1", **SHORT_LEASE)
    run = wait_for(launch("sleep=120"), "running")
    end(supervisor_of(run))
    waiting = launch("lines=1")
    assert wait_for(waiting).status == "completed"
    run.refresh_from_db()
    assert (run.status, run.slot) == ("lost", None)
    again = services.retry(run)
    assert again.retry_of == run
    wait_for(again, "running")


def test_a_supervisor_that_was_away_beyond_its_lease_comes_back(engine):
    engine.dispatcher(TUNIX_RT_SLOTS="1", **SHORT_LEASE)
    run = wait_for(launch("lines=1,sleep=40"), "running")
    time.sleep(0.5)
    end(supervisor_of(run), signal.SIGSTOP)
    run = wait_for(run, "lost")
    assert run.slot is not None, "its processes live: the slot is not free"
    end(supervisor_of(run), signal.SIGCONT)
    wait_for(run, "running")
    run = wait_for(run)
    assert (run.status, run.stdout, run.cause) == ("completed", "line 0\n", "")


def test_a_fenced_supervisor_kills_its_tree_and_writes_nothing(engine):
    engine.dispatcher(TUNIX_RT_SLOTS="1", **SHORT_LEASE)
    run = wait_for(launch("sleep=120"), "running")
    time.sleep(0.5)
    supervisor = psutil.Process(supervisor_of(run))
    trainer = trainer_of(run)
    supervisor.suspend()
    run = wait_for(run, "lost")
    again = services.retry(run)
    supervisor.resume()
    assert len(psutil.wait_procs([supervisor, trainer], timeout=10)[0]) == 2
    run.refresh_from_db()
    assert run.status == "lost"
    services.cancel(again)


def test_a_machine_that_was_restarted_loses_its_runs_at_once(engine):
    engine.dispatcher()
    run = wait_for(launch("sleep=60"), "running")
    end(supervisor_of(run))
    TunixRun.objects.filter(pk=run.pk).update(boot_id="of-before-the-restart")
    began = time.monotonic()
    run = wait_for(run, "lost")
    assert time.monotonic() - began < 30, "not after the lease of 60 s"
    assert "restarted" in run.message
    until(lambda: TunixRun.objects.filter(pk=run.pk, slot=None).exists())


def test_the_database_away_in_the_middle_of_a_run(engine):
    engine.dispatcher()
    run = wait_for(launch("lines=3,sleep=20,exit=5"), "running")
    with database_away(15):
        pass
    run = wait_for(run, seconds=40)
    assert (run.status, run.exit_code, run.stdout) == ("failed", 5, "line 0\nline 1\nline 2\n")
    assert started(run) == 1


def test_the_database_away_when_a_run_ends(engine):
    engine.dispatcher()
    run = wait_for(launch("lines=3,sleep=4"), "running")
    with database_away(15):
        result = engine.home / "runs" / str(run.run_id) / "exit.json"
        deadline = time.monotonic() + 14
        while not result.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert result.exists(), "the result is on disk while the database is away"
    run = wait_for(run, seconds=40)
    assert (run.status, run.exit_code, run.stdout) == ("completed", 0, "line 0\nline 1\nline 2\n")


@pytest.mark.alone
def test_two_dispatchers_start_each_run_once(engine):
    runs = [launch("lines=1") for _ in range(200)]
    for _ in range(2):
        engine.dispatcher(TUNIX_RT_SLOTS="4")
    for run in runs:
        wait_for(run, seconds=300)
    assert {run.status for run in runs} == {"completed"}
    assert [started(run) for run in runs] == [1] * 200


def test_two_gigabytes_of_output(engine):
    engine.dispatcher()
    run = wait_for(launch("megabytes=2048"), "running")
    supervisor, most = psutil.Process(supervisor_of(run)), 0
    while run.status == "running":
        with contextlib.suppress(psutil.Error):
            most = max(most, supervisor.memory_full_info().pss)
        time.sleep(0.05)
        run.refresh_from_db()
    run = wait_for(run, seconds=120)
    assert run.status == "completed"
    assert 0 < most < 100e6
    assert len(run.stdout.encode()) <= OUTPUT_BYTES
    log = engine.home / "runs" / str(run.run_id) / "stdout.log"
    assert log.stat().st_size <= 257 * 1024 * 1024


@pytest.mark.alone
def test_fifty_launches_at_one_moment(engine):
    engine.dispatcher(TUNIX_RT_SLOTS="8")
    time.sleep(1)
    runs = [launch("lines=1") for _ in range(50)]
    longest = longest_free_slot(8, seconds=120)
    print(f"a slot was free while a run waited for {longest:.2f} s at most")
    assert longest < 3, "less than a dispatcher that only polls would need for two"
    for run in runs:
        assert wait_for(run).status == "completed"
        assert started(run) == 1


def longest_free_slot(slots, seconds):
    """For how long, at the longest, a slot was free while an unclaimed run waited; until none waits."""
    local, longest, since = TunixRun.objects.filter(mode="local"), 0.0, None
    deadline = time.monotonic() + seconds
    while local.filter(status="pending").exists():
        now = time.monotonic()
        assert now < deadline
        idle = local.filter(slot__isnull=False).count() < slots and local.filter(status="pending", claim="").exists()
        since = (since or now) if idle else None
        longest = max(longest, now - since if since else 0.0)
        time.sleep(0.02)
    return longest


@pytest.mark.alone
def test_a_run_begins_as_soon_as_its_processes_can_start(engine):
    """Woken, not polled for: against the time that this machine takes to start one such process and end it."""
    engine.dispatcher()
    time.sleep(1)
    waits, starts = [], []
    for _ in range(50):
        began = time.monotonic()
        subprocess.run([sys.executable, "manage.py", "supervise"], stdin=subprocess.DEVNULL, check=True)
        starts.append(time.monotonic() - began)
        run = wait_for(launch("lines=1"))
        waits.append((run.started_at - run.accepted_at).total_seconds())
    print(f"accepted to running {statistics.median(waits):.2f} s, one process {statistics.median(starts):.2f} s")
    assert statistics.median(waits) < statistics.median(starts)


def test_a_cancel_that_races_with_the_end_is_one_or_the_other(engine):
    engine.dispatcher(TUNIX_RT_SLOTS="4")
    chance = random.Random(3)
    for _ in range(6):
        run = wait_for(launch("sleep=0.6"), "running")
        time.sleep(chance.uniform(0.3, 0.9))
        with contextlib.suppress(services.AlreadyEnded):
            services.cancel(run)
        assert wait_for(run).status in ("cancelled", "completed")
        assert trainers_of(run) == []


def test_a_final_status_never_changes(engine):
    engine.dispatcher()
    run = wait_for(launch("lines=1"))
    before = TunixRun.objects.filter(pk=run.pk).values().get()
    token = "0" * 32
    assert not lifecycle.heartbeat(run.pk, token)
    assert not lifecycle.start(run.pk, token, {})
    assert not lifecycle.end(run.pk, lifecycle.hashed(token), {"status": "failed"})
    assert not lifecycle.lose(run, "lost?")
    assert not lifecycle.cancel(run.pk)
    assert TunixRun.objects.filter(pk=run.pk).values().get() == before

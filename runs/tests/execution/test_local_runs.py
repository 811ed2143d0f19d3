"""Local runs by a real dispatcher: how they end, and what the record says of it."""

import signal
import time

import pytest

from runs import logs, services
from runs.models import TunixRun
from runs.tests.execution.engine import end, launch, processes_of, started, trainer_of, wait_for


def test_it_works(engine):
    engine.dispatcher()
    run = wait_for(launch("lines=3,say=warned"))
    assert (run.status, run.exit_code, run.cause) == ("completed", 0, "")
    assert run.message == "Local execution completed successfully"
    assert run.stdout == "line 0\nline 1\nline 2\n"
    assert run.stderr == "warned\n"
    assert run.slot is None and run.claim == ""
    assert started(run) == 1


@pytest.mark.parametrize(
    ("behaviour", "exit_code", "message", "cause"),
    [
        ("exit=3", 3, "Local execution failed with exit code 3", "exit"),
        ("kill=11", -11, "Local execution failed: killed by signal SIGSEGV", "signal"),
        ("kill=9", -9, "Local execution failed: killed by signal SIGKILL", "host_out_of_memory"),
        (
            "say=RESOURCE_EXHAUSTED: out of memory,exit=1",
            1,
            "Local execution failed with exit code 1",
            "device_out_of_memory",
        ),
        ("say=step 3 loss nan,exit=1", 1, "Local execution failed with exit code 1", "nan_loss"),
    ],
)
def test_failures_are_told_apart(engine, behaviour, exit_code, message, cause):
    engine.dispatcher()
    run = wait_for(launch(behaviour))
    assert (run.status, run.exit_code, run.message, run.cause) == ("failed", exit_code, message, cause)


def test_a_command_that_does_not_exist(engine):
    engine.dispatcher(TUNIX_COMMAND="no-such-trainer {manifest}")
    run = wait_for(launch("x"))
    assert (run.status, run.cause, run.exit_code) == ("failed", "not_started", None)
    assert "no-such-trainer" in run.stderr


def test_a_dataset_that_is_gone(engine):
    engine.dispatcher()
    request = services.LaunchRequest("missing-v1", "x", {"learning_rate": 1e-4}, dry_run=False)
    run = wait_for(services.launch(request))
    assert (run.status, run.cause) == ("failed", "not_started")
    assert "Dataset not found: missing-v1" in run.message


def test_timeout(engine):
    engine.dispatcher()
    run = wait_for(launch("sleep=60", timeout_seconds=1))
    assert (run.status, run.exit_code, run.cause) == ("timeout", None, "timeout")
    assert run.message == "Local execution timed out after 1 seconds"


def test_bytes_that_are_no_text(engine):
    engine.dispatcher()
    run = wait_for(launch("raw=1"))
    assert run.stdout == "a�b��c�"


def test_a_child_that_closes_its_pipes_is_waited_for(engine):
    engine.dispatcher()
    run = wait_for(launch("close=1,sleep=2,exit=4"))
    assert run.exit_code == 4 and run.duration_seconds >= 2


def test_a_grandchild_that_keeps_the_pipes_neither_holds_the_run_nor_survives_it(engine):
    engine.dispatcher()
    run = wait_for(launch("daemon=300,lines=1"))
    assert run.status == "completed" and run.duration_seconds < 10
    assert not [p for p in processes_of(engine.home) if p.name() == "sleep"]


def test_output_is_in_the_record_while_the_run_goes_on(engine):
    engine.dispatcher()
    run = wait_for(launch("lines=2,sleep=30"), "running")
    deadline = time.monotonic() + 10
    while run.stdout != "line 0\nline 1\n" and time.monotonic() < deadline:
        time.sleep(0.1)
        run.refresh_from_db()
    assert run.stdout == "line 0\nline 1\n"
    assert logs.read(run, "stdout").text == "line 0\nline 1\n"
    assert not logs.read(run, "stdout").eof


# --- cancel -----------------------------------------------------------------------------------------------------------


def test_cancel_pending(engine):
    run = launch("lines=1")
    services.cancel(run)
    engine.dispatcher()
    assert wait_for(run).status == "cancelled"
    time.sleep(1)
    assert started(run) == 0


def test_cancel_running_is_quick_and_the_same_twice(engine):
    engine.dispatcher(TUNIX_RT_HEARTBEAT_SECONDS="60", TUNIX_RT_LEASE_SECONDS="360")
    run = wait_for(launch("sleep=60"), "running")
    asked = time.monotonic()  # at once: the supervisor must heed the hint from its first moment
    services.cancel(run)
    services.cancel(run)
    run = wait_for(run)
    assert (run.status, run.cause, run.message) == ("cancelled", "cancelled", "Local execution cancelled")
    assert time.monotonic() - asked < 30, "not at the next heartbeat, after 60 s"
    with pytest.raises(services.AlreadyEnded):
        services.cancel(run)


def test_cancel_of_one_that_ignores_sigterm(engine):
    engine.dispatcher(TUNIX_RT_GRACE_SECONDS="1")
    run = wait_for(launch("ignore=1,daemon=300,sleep=60"), "running")
    time.sleep(0.5)
    services.cancel(run)
    run = wait_for(run)
    assert (run.status, run.exit_code) == ("cancelled", -signal.SIGKILL)
    assert not [p for p in processes_of(engine.home) if p.name() == "sleep"]


def test_a_trainer_that_saves_gets_its_grace(engine, client):
    """The product's 30 s, of which it takes 20."""
    engine.dispatcher(TUNIX_RT_GRACE_SECONDS="30")
    run = wait_for(launch("save=20,sleep=60"), "running")
    time.sleep(0.5)
    services.cancel(run)
    page = client.get(f"/runs/{run.run_id}/").content.decode()
    assert "data-until" in page and "to save, then it is killed" in page
    run = wait_for(run)
    assert run.duration_seconds > 20
    assert (run.status, run.exit_code) == ("cancelled", 0)
    assert (engine.home / "runs" / str(run.run_id) / "checkpoint").read_text() == "whole"


# --- slots ------------------------------------------------------------------------------------------------------------


def test_slots_bound_what_runs_and_priority_orders_what_waits(engine):
    low = launch("sleep=1")
    TunixRun.objects.filter(pk=low.pk).update(priority=TunixRun.Priority.LOW)
    runs = [launch("sleep=1") for _ in range(3)]
    engine.dispatcher(TUNIX_RT_SLOTS="1")
    seen = set()
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        seen.add(TunixRun.objects.filter(status="running").count())
        if not TunixRun.objects.filter(status__in=["pending", "running"]).exists():
            break
        time.sleep(0.02)
    assert max(seen) == 1
    order = list(TunixRun.objects.order_by("started_at").values_list("pk", flat=True))
    assert order == [*[run.pk for run in runs], low.pk]


def test_kill_9_of_the_child(engine):
    engine.dispatcher()
    run = wait_for(launch("sleep=60"), "running")
    time.sleep(0.7)
    end(trainer_of(run).pid)
    run = wait_for(run)
    assert (run.status, run.exit_code) == ("failed", -9)
    assert "SIGKILL" in run.message

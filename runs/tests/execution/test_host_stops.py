"""A dispatcher whose end is its host's, as in a container: trainers are asked to save, and what became of them is said."""

import time

import psutil

from runs import services
from runs.rundir import RunDirectory
from runs.tests.execution.engine import launch, started, supervisor_of, trainer_of, until, wait_for


def stop(dispatcher, seconds):
    """Ends it as a container engine does, and gives how long that took."""
    began = time.monotonic()
    dispatcher.terminate()
    assert dispatcher.wait(seconds) == 0
    return time.monotonic() - began


def test_trainers_save_and_their_runs_say_why_they_ended(engine):
    dispatcher = engine.dispatcher("--end-runs")
    runs = [wait_for(launch("save=1,lines=1,sleep=120"), "running") for _ in range(2)]
    waiting = launch("lines=1")
    for run in runs:
        until(lambda run=run: "line 0" in RunDirectory(run.run_id).log("stdout").read_text())
    supervisors = [supervisor_of(run) for run in runs]
    stop(dispatcher, 20)
    for run, supervisor in zip(runs, supervisors, strict=True):
        run.refresh_from_db()
        assert (run.status, run.cause, run.slot) == ("failed", "host_stopped", None)
        assert run.message == "Local execution failed: its host was stopped; the trainer was asked to save and to end"
        assert run.stdout == "line 0\nsaving\n"
        assert (RunDirectory(run.run_id).path / "checkpoint").read_text() == "whole"
        assert not psutil.pid_exists(supervisor)
    waiting.refresh_from_db()
    assert (waiting.status, started(waiting)) == ("pending", 0)
    engine.dispatcher("--end-runs")
    assert wait_for(waiting).status == "completed"


def test_one_that_will_not_end_is_killed_after_its_grace(engine):
    dispatcher = engine.dispatcher("--end-runs", TUNIX_RT_GRACE_SECONDS="2")
    run = wait_for(launch("ignore=1,sleep=120"), "running")
    trainer = trainer_of(run)
    time.sleep(1)
    assert stop(dispatcher, 20) >= 2
    run.refresh_from_db()
    assert (run.status, run.cause, run.exit_code) == ("failed", "host_stopped", -9)
    assert not trainer.is_running()


def test_one_that_is_cancelled_at_that_moment_is_cancelled(engine):
    dispatcher = engine.dispatcher("--end-runs")
    run = wait_for(launch("ignore=1,sleep=120"), "running")
    trainer_of(run)
    services.cancel(run)
    time.sleep(1.5)  # a heartbeat: the supervisor has heard of it
    stop(dispatcher, 20)
    run.refresh_from_db()
    assert run.status == "cancelled"


def test_without_a_run_it_ends_at_once(engine):
    dispatcher = engine.dispatcher("--end-runs")
    run = wait_for(launch("lines=1"))
    assert run.status == "completed"
    assert stop(dispatcher, 20) < 5

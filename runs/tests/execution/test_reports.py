"""What the record of a local run holds besides its output: metrics, progress, provenance, checkpoints, its cause."""

import json
import math
import os
from pathlib import Path

import pytest

from runs import checkpoints, metrics, services
from runs.execution import metrics_file
from runs.execution.report import Report
from runs.models import TunixRun
from runs.rundir import RunDirectory
from runs.tests.execution.away import database_away
from runs.tests.execution.engine import end, launch, supervisor_of, until, wait_for
from runs.tests.helpers import create_run


def losses(run):
    return {step: value for step, value, _ in metrics.read(run).get("train/loss", ())}


def test_metrics_and_progress_are_there_while_the_run_goes_on(engine):
    engine.dispatcher()
    run = wait_for(launch("metrics=50,sleep=60"), "running")
    assert until(lambda: losses(run)) == {step: 1 / step for step in range(1, 51)}
    run.refresh_from_db()
    assert (run.status, run.step, run.total_steps) == ("running", 50, 100)
    assert run.files_bytes > 0


@pytest.mark.django_db
def test_a_trainer_that_logs_faster_than_a_delivery_keeps_nobody(data_dir, monkeypatch):
    """One line came with each delivery for ever: the lease's thread neither renewed it nor heard of a cancel."""
    monkeypatch.setattr(metrics_file, "CHUNK_BYTES", 1000)
    run = create_run(mode="local", status="running")
    report, path = Report(run), RunDirectory(run.run_id).metrics
    path.parent.mkdir(parents=True)
    deliveries = []

    def log_points(count):
        with path.open("a") as file:
            for _ in range(count):
                file.write(json.dumps({"name": "train/loss", "step": file.tell(), "value": 1.0, "time": 1.7e9}) + "\n")

    def write(**columns):
        deliveries.append(columns["metrics_offset"])
        assert len(deliveries) < 100
        log_points(1)
        return True

    log_points(50)
    there = path.stat().st_size
    assert report.catch_up(write)
    assert len(deliveries) > 2 and report.metrics.offset >= there, "all that was there when it began"
    log_points(5)
    assert report.catch_up(write) and report.catch_up(write)
    assert report.metrics.offset > there


def test_a_run_that_ends_at_once_has_all_its_metrics(engine):
    engine.dispatcher(TUNIX_RT_HEARTBEAT_SECONDS="10")
    run = wait_for(launch("metrics=30000"))
    assert run.status == "completed"
    assert len(losses(run)) == 30_000 and run.step == 30_000
    (series,) = [each for each in metrics.series(run) if each.name == "train/loss"]
    assert (series.count, series.last_value, series.maximum) == (30_000, 1 / 30_000, 1.0)


def test_the_machine_is_measured(engine):
    engine.dispatcher()
    run = wait_for(launch("sleep=4"))
    found = metrics.read(run)
    assert set(found) >= {"system/memory_bytes", "system/cpu_percent"}
    assert len(found["system/memory_bytes"]) >= 2
    assert all(1e6 < value < 1e9 for value in found["system/memory_bytes"].values)
    assert run.step is None, "the machine's steps are seconds, not the training's"
    assert run.provenance["peak_tree_memory_bytes"] >= max(found["system/memory_bytes"].values)


def test_rubbish_costs_neither_the_run_nor_the_good_points(engine):
    engine.dispatcher()
    run = wait_for(launch("rubbish=1,sleep=3,lines=1"))
    assert (run.status, run.stdout) == ("completed", "line 0\n")
    found = losses(run)
    assert set(found) == {1, 2} and math.isnan(found[1]) and found[2] == 0.5
    assert run.provenance["devices"] == ["a�?"]
    assert run.total_steps is None
    unread = next(each for each in run.notices if each["kind"] == "metric_lines_unread")
    assert unread["count"] == 9 and unread["detail"].startswith("line 2 is no JSON"), "the one that is cut off too"


def test_a_last_line_without_a_line_feed_and_a_step_with_all_its_metrics(engine):
    engine.dispatcher()
    run = wait_for(launch("unended=1,sleep=2"))
    found = {name: list(points.values) for name, points in metrics.read(run).items() if "/" not in name}
    assert found == {"loss": [1.5, 1.25], "lr": [0.5, 0.25]} and run.notices == [] and run.step == 2


@pytest.mark.parametrize("kind", ["pipe", "link", "directory"])
def test_a_metrics_file_that_is_none(engine, kind):
    """None of them may hold up the thread that renews the lease, or read what is not the run's."""
    run = launch("lines=1,sleep=4")
    path = RunDirectory(run.run_id).metrics
    path.parent.mkdir(parents=True)
    {"pipe": os.mkfifo, "link": lambda p: p.symlink_to("/etc/passwd"), "directory": Path.mkdir}[kind](path)
    engine.dispatcher(TUNIX_RT_LEASE_SECONDS="6")
    run = wait_for(run)
    assert run.status == "completed" and "train/loss" not in metrics.read(run)


def test_metrics_wait_for_a_database_that_is_away(engine):
    engine.dispatcher()
    run = wait_for(launch("sleep=2,metrics=500,lines=1"), "running")
    with database_away(8):
        pass
    run = wait_for(run, seconds=60)
    assert run.status == "completed" and len(losses(run)) == 500


def test_metrics_of_a_supervisor_that_died_are_taken_over(engine):
    engine.dispatcher(TUNIX_RT_LEASE_SECONDS="20", TUNIX_RT_HEARTBEAT_SECONDS="3")
    run = wait_for(launch("sleep=60"), "running")
    until(lambda: TunixRun.objects.get(pk=run.pk).provenance)
    with RunDirectory(run.run_id).metrics.open("a") as file:
        file.writelines(json.dumps({"name": "train/loss", "step": n, "value": n}) + "\n" for n in range(1, 6))
    end(supervisor_of(run))
    run = wait_for(run, "lost")
    assert until(lambda: losses(run)) == {n: float(n) for n in range(1, 6)}


def test_provenance_is_recorded(engine):
    engine.dispatcher()
    run = wait_for(launch("metrics=5"))
    found = run.provenance
    assert found["arguments"][-1] == "metrics=5" and found["command"].endswith("{model_id}")
    assert "TUNIX_RT_RUN_DIR" in found["environment"] and "TUNIX_RT_SECRET_KEY" not in found["environment"]
    assert found["versions"] == {"jax": "0.10.2"}
    assert found["dataset"]["rows"] == 100 and len(found["dataset"]["sha256"]) == 64
    document = json.loads(RunDirectory(run.run_id).record.read_text())
    assert document["provenance"] == found
    assert (document["run_id"], document["status"], document["exit_code"]) == (str(run.run_id), "completed", 0)


# --- resume -----------------------------------------------------------------------------------------------------------


def test_a_retry_resumes_from_the_last_checkpoint(engine):
    engine.dispatcher()
    source = wait_for(launch("checkpoint=40,exit=1"))
    again = services.retry(source, resume=True)
    again = wait_for(again)
    assert [each.step for each in checkpoints.of(again)] == [40]
    manifest = RunDirectory(again.run_id).manifest.read_text()
    assert "resume:\n  step: 40\n" in manifest
    assert again.provenance["resumed_from"] == {"run_id": str(source.run_id)}


def test_a_checkpoint_that_went_away_after_the_retry(engine):
    source = launch("checkpoint=40")
    dispatcher = engine.dispatcher()
    source = wait_for(source)
    dispatcher.terminate()
    dispatcher.wait()
    again = services.retry(source, resume=True)
    for path in RunDirectory(source.run_id).path.rglob("commit_success.txt"):
        path.unlink()
    engine.dispatcher()
    again = wait_for(again)
    assert (again.status, again.cause) == ("failed", "not_started")
    assert again.message == "Local execution failed: not started: the checkpoint to resume from is gone"


# --- evidence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "evidence"),
    [
        ("say=ValueError: no such layer,exit=1", "ValueError: no such layer"),
        ("lines=3,exit=2", "line 2"),
        ("say=RESOURCE_EXHAUSTED: 5 GB,exit=1", "RESOURCE_EXHAUSTED: 5 GB"),
        ("say=step 3 loss nan,exit=1", "step 3 loss nan"),
        ("exit=1", ""),
        ("lines=1", ""),
    ],
)
def test_the_line_that_shows_the_cause(engine, behaviour, evidence):
    engine.dispatcher()
    assert wait_for(launch(behaviour)).evidence == evidence


def memory_limit(megabytes):
    """A control group of so much memory, as a file to write a pid to."""
    for root, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", root, f"tunix-rt-{os.getpid()}")
        try:
            group.mkdir()
            (group / limit).write_text(str(megabytes * 1024 * 1024))
            return group
        except OSError:
            if group.is_dir():
                group.rmdir()
    pytest.skip("this machine lets no control group be made, so the kernel cannot be made to kill")


def test_the_kernels_own_record_of_memory_that_ran_out(engine):
    group = memory_limit(400)
    try:
        dispatcher = engine.dispatcher()
        (group / "cgroup.procs").write_text(str(dispatcher.pid))
        run = wait_for(launch("hog=2000"))
        assert (run.status, run.exit_code, run.cause) == ("failed", -9, "host_out_of_memory")
        assert "illed process" in run.evidence and "python" in run.evidence
    finally:
        engine.stop()
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()

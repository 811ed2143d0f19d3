"""What only a log said before: each loss beside a run that goes on is on its page and in its record."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from runs import checkpoints, lifecycle, notices, provenance, services
from runs.execution.dispatcher import Dispatcher
from runs.execution.report import MAX_WAITING, Report
from runs.execution.stream import Stream
from runs.execution.usage import Usage
from runs.notices import Kind, notice, parsed
from runs.rundir import RunDirectory
from runs.tests.execution.away import database_away
from runs.tests.execution.engine import end, launch, supervisor_of, trainer_of, wait_for
from runs.tests.execution.test_room import AS_ROOT, mount
from runs.tests.helpers import create_checkpoint, create_run, executable


def found(run):
    run.refresh_from_db()
    return {each.kind: each for each in parsed(run.notices)}


# --- of real runs -----------------------------------------------------------------------------------------------------


def test_a_run_that_goes_well_has_none(engine):
    engine.dispatcher()
    assert found(wait_for(launch("metrics=50,lines=5,checkpoint=3"))) == {}


def test_what_the_disk_did_not_take(engine, client):
    """Nothing of it can be written, and the training goes on."""
    run = launch("lines=100,metrics=5")
    directory = RunDirectory(run.run_id)
    blocked = (directory.log("stdout"), directory.record, directory.result)
    for path in blocked:
        path.mkdir(parents=True)
        mount(path, "size=1m")  # or it would be put aside
    engine.dispatcher()
    try:
        run = wait_for(run)
    finally:
        subprocess.run([*AS_ROOT, "umount", "--lazy", *blocked], check=True)
    told = found(run)
    assert run.status == "completed"
    assert told[Kind.OUTPUT_LOST].count == len("".join(f"line {n}\n" for n in range(100)))
    assert told[Kind.OUTPUT_LOST].detail == "stdout: Device or resource busy"
    assert told[Kind.RECORD_UNWRITTEN].detail == told[Kind.RESULT_UNWRITTEN].detail == "Device or resource busy"
    page = client.get(f"/runs/{run.run_id}/").content.decode()
    assert all(each.text in page for each in told.values())


def test_what_a_trainer_says_of_itself_and_cannot_be_read(engine):
    run = launch("lines=1")
    directory = RunDirectory(run.run_id)
    directory.path.mkdir(parents=True)
    directory.facts.write_text('{"total_steps": 10')
    engine.dispatcher()
    told = found(wait_for(run))
    assert list(told) == [Kind.FACTS_UNREAD] and "line 1" in told[Kind.FACTS_UNREAD].detail


def test_processes_that_outlive_the_trainer(engine):
    engine.dispatcher()
    assert list(found(wait_for(launch("lines=1,daemon=60")))) == [Kind.OUTPUT_UNREAD]


def test_a_host_without_setpriv(engine, tmp_path):
    engine.dispatcher(PATH=str(tmp_path))
    assert list(found(wait_for(launch("lines=1")))) == [Kind.NOT_TIED]


def test_a_database_that_was_away(engine):
    engine.dispatcher()
    run = wait_for(launch("lines=1,sleep=3"), "running")
    with database_away(9):
        pass
    told = found(wait_for(run))
    if connection.vendor == "postgresql":
        assert {Kind.REPORT_MISSED, Kind.RESULT_WAITED} <= told.keys() and told[Kind.RESULT_WAITED].detail
    else:  # one that is only busy makes everybody wait, and may take the lease where it did not take the report
        assert told.keys() & {Kind.REPORT_MISSED, Kind.REPORT_REFUSED, Kind.RESULT_WAITED}


def test_what_a_supervisor_could_not_tell_any_more_is_in_its_result(engine):
    """Killed after it wrote exit.json and before the database was back: the dispatcher brings both in."""
    engine.dispatcher(TUNIX_RT_LEASE_SECONDS="10")
    run = wait_for(launch("lines=1,sleep=4"), "running")
    trainer_of(run)
    supervisor = supervisor_of(run)
    with database_away(1):
        directory = RunDirectory(run.run_id)
        while not directory.result.exists():
            pass
        end(supervisor)
    run = wait_for(run)
    assert run.status == "completed" and found(run).keys() & {Kind.REPORT_MISSED, Kind.REPORT_REFUSED}


# --- of a supervisor's report -----------------------------------------------------------------------------------------


@pytest.fixture
def run(db):
    run = create_run(mode="local", status="running", claim=lifecycle.hashed("token"))
    RunDirectory(run.run_id).path.mkdir(parents=True)
    return run


def deliver(run, report):
    assert report.deliver(lambda **columns: lifecycle.note(run.pk, run.claim, **columns))


def test_the_middle_of_a_log_that_is_too_long(run):
    path = RunDirectory(run.run_id).log("stdout")
    stream = Stream(path, max_bytes=1_000, tail_bytes=100)
    report = Report(run, {"stdout": stream})
    for _ in range(10):
        for _ in range(100):
            stream.write(b"123456789\n")
        deliver(run, report)
    stream.close()
    deliver(run, report)
    omitted = found(run)[Kind.OUTPUT_OMITTED]
    assert (
        omitted.count
        == 10_000 - 1_000
        == 10_000 - len(path.read_bytes().replace(b"\n[... 9000 bytes omitted ...]\n", b""))
    )
    assert omitted.text == "8.8 KB in the middle of the output were left out: a log has a limit"


def test_measurements_that_no_database_took(run):
    report = Report(run, usage=Usage(list))
    for _ in range(MAX_WAITING + 5):
        report.sample()
    deliver(run, report)
    assert found(run)[Kind.SAMPLES_DROPPED].count >= 5


def test_gpus_that_do_not_answer_any_more(run, tmp_path, monkeypatch):
    executable(tmp_path / "nvidia-smi", "exit 9")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    report = Report(run, usage=Usage(list))
    report.sample()
    report.sample()
    deliver(run, report)
    assert found(run)[Kind.GPUS_UNMEASURED].count == 1


@pytest.fixture
def code(tmp_path):
    root = tmp_path / "code"
    root.mkdir()
    (root / "train.py").write_text("print(1)\n")
    for command in ("init -q", "add .", "-c user.name=n -c user.email=e@example.org commit -qm first"):
        subprocess.run(["git", "-C", root, *command.split()], check=True)
    (root / "train.py").write_text("print(2)\n")
    return [sys.executable, str(root / "train.py")]


def test_changes_to_the_code_that_are_too_many(run, code, monkeypatch):
    monkeypatch.setattr(provenance, "MAX_PATCH_BYTES", 10)
    report = Report(run)
    report.began(code, [], {})
    deliver(run, report)
    assert found(run)[Kind.PATCH_OMITTED].detail == "it is over 10 bytes long"


def test_changes_to_the_code_that_cannot_be_written(run, code):
    directory = RunDirectory(run.run_id).path
    directory.rmdir()
    directory.touch()
    report = Report(run)
    report.began(code, [], {})
    deliver(run, report)
    assert found(run)[Kind.PATCH_OMITTED].detail == "Not a directory"


def test_a_git_that_takes_too_long(run, code, tmp_path, monkeypatch):
    executable(tmp_path / "git", "sleep 20")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(provenance, "GIT_SECONDS", 0.2)
    report = Report(run)
    report.began(code, [], {})
    deliver(run, report)
    assert found(run)[Kind.CODE_UNKNOWN].detail == "git rev-parse took over 0.2 s"
    assert run.provenance["arguments"] and "code" not in run.provenance


# --- of the dispatcher and the server ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_ran_out(settings):
    run = create_run(
        mode="local", status="pending", claim=lifecycle.hashed("t"), claims=1, lease_expires_at=timezone.now() - timedelta(minutes=1)
    )  # fmt: skip
    Dispatcher().reap()
    assert found(run)[Kind.CLAIM_EXPIRED].text == "It was taken from the queue once and did not begin"
    Dispatcher().reap()
    assert found(run)[Kind.CLAIM_EXPIRED].count == 1


@pytest.mark.django_db
def test_a_checkpoint_that_had_to_be_copied(monkeypatch):
    source, run = create_run(mode="local", output_dir="./output/a"), create_run(mode="local", output_dir="./output/b")
    create_checkpoint(source, 40)
    monkeypatch.setattr(os, "link", lambda *_, **__: Path("/nowhere").stat())
    copied = checkpoints.link(checkpoints.last(source), run)
    assert copied == ["No such file or directory"] * 3 and checkpoints.last(run).step == 40
    told = notice(Kind.CHECKPOINT_COPIED, copied[0], len(copied))
    assert told.text == "The checkpoint to resume from was copied, not linked: 3 files of it take their room twice"


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_whose_record_the_database_did_not_take(api, dataset):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tunix_runs RENAME TO hidden")
    try:
        answer = api.post("/api/tunix/run", {"dataset_key": "arithmetic-v1", "model_id": "google/gemma-2b-it"})
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO tunix_runs")
    assert answer.status_code == 200
    assert [each["kind"] for each in answer.json()["notices"]] == ["recorded_late"]
    assert services.record_the_unrecorded() == 1
    detail = api.get(f"/api/tunix/runs/{answer.json()['run_id']}").json()
    assert [each["kind"] for each in detail["notices"]] == ["recorded_late"] and detail["status"] == "completed"


@pytest.mark.django_db
def test_what_was_noticed_is_in_run_json(run):
    notices.store(run.pk, [notice(Kind.NOT_TIED)])
    run.refresh_from_db()
    assert [each["kind"] for each in provenance.document(run)["notices"]] == ["not_tied"]

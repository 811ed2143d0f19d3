"""What a training script may have put into its run's directory, and what the web server makes of it."""

import io
import json
import os
import socket
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from runs import checkpoints, logs
from runs.execution import exit_file
from runs.execution.dispatcher import Dispatcher
from runs.execution.executors.local import host_name
from runs.execution.process import boot_id
from runs.execution.report import Report
from runs.models import TunixRun
from runs.rundir import RunDirectory
from runs.tests.helpers import assert_error, create_checkpoint, create_dataset, create_run, random_id
from runs.tests.server import manage, running_server, unprivileged

pytestmark = pytest.mark.django_db
SECRET = "a-canary-that-nobody-may-see"
STARTED = {"supervisor": [2**22, 1]}


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside"
    (path / "1").mkdir(parents=True)
    for name in ("secret", "1/commit_success.txt", "1/weights"):
        (path / name).write_text(SECRET)
    return path


def local_run(**fields):
    values = {"mode": "local", "status": "completed", "output_dir": "./output", "stdout": "kept\n"}
    run = create_run(**values | {"processes": STARTED} | fields)
    RunDirectory(run.run_id).path.mkdir(parents=True)
    return run


def put(path, kind, outside):
    """`kind` in the place of a file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            place = os.open(path.parent, os.O_RDONLY)
            listener.bind(f"/proc/self/fd/{place}/{path.name}")
            os.close(place)
    elif kind == "link":
        path.symlink_to(outside / "secret")
    elif kind == "environment":
        path.symlink_to("/proc/self/environ")
    elif kind == "directory":
        path.mkdir()


KINDS = {
    "pipe": "It is a named pipe, not a file",
    "socket": "It is a socket, not a file",
    "link": "A link leads out of its directory",
    "environment": "A link leads out of its directory",
    "directory": "It is a directory, not a file",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_is_none_is_said_to_be_so_and_the_record_stands_in(client, api, outside, kind):
    run = local_run()
    put(logs.path(run, "stdout"), kind, outside)
    said = f"stdout.log cannot be read: {KINDS[kind]}. This is what the record kept of it."
    body = api.get(f"/api/tunix/runs/{run.run_id}/logs").json()
    assert (body["problem"], body["text"], body["eof"]) == (said, "kept\n", True)
    answer = api.get(f"/api/tunix/runs/{run.run_id}/logs/download")
    assert b"".join(answer.streaming_content).decode() == f"[{said}]\nkept\n"
    assert "stdout-of-the-record.log" in answer.headers["Content-Disposition"]
    for page in (f"/runs/{run.run_id}/", f"/runs/{run.run_id}/log/", f"/runs/{run.run_id}/log/?find=kept"):
        shown = client.get(page).content.decode()
        assert said in shown and "kept" in shown and SECRET not in shown


def test_a_log_that_is_gone_is_said_to_be_gone(client, api):
    run, other = local_run(), local_run(stdout="")
    body = api.get(f"/api/tunix/runs/{run.run_id}/logs").json()
    said = "The file stdout.log is gone. This is what the record kept of it."
    assert (body["text"], body["problem"]) == ("kept\n", said)
    body = api.get(f"/api/tunix/runs/{other.run_id}/logs").json()
    assert (body["text"], body["problem"]) == ("", "The file stdout.log is gone. The record kept nothing of it.")
    assert said in client.get(f"/runs/{run.run_id}/log/?stream=stdout").content.decode()
    answer = api.get(f"/api/tunix/runs/{run.run_id}/logs/download")
    assert b"".join(answer.streaming_content).decode() == f"[{said}]\nkept\n"
    compared = client.get(f"/compare/?run={run.run_id}&run={other.run_id}").content.decode()
    assert f"{run.short_id}: {said}" in compared and f"{other.short_id}: The file stdout.log is gone." in compared


def test_a_run_that_never_began_has_lost_no_log(api):
    run = local_run(status="failed", processes={}, stdout="", stderr="no such dataset\n")
    for stream, text in (("stdout", ""), ("stderr", "no such dataset\n")):
        body = api.get(f"/api/tunix/runs/{run.run_id}/logs?stream={stream}").json()
        assert (body["text"], body["problem"]) == (text, "")
    begins = local_run(status="running", stdout="")
    assert api.get(f"/api/tunix/runs/{begins.run_id}/logs").json()["problem"] == ""


def test_a_log_with_a_hole_of_a_terabyte_has_an_end(client, api):
    run = local_run()
    with logs.path(run, "stdout").open("wb") as file:
        file.write(b"begin\n")
        file.truncate(2**40)
    began = time.monotonic()
    assert api.get(f"/api/tunix/runs/{run.run_id}/logs").json()["size"] == logs.MAX_BYTES
    assert client.get(f"/runs/{run.run_id}/log/").status_code == 200
    answer = api.get(f"/api/tunix/runs/{run.run_id}/logs/download")
    assert int(answer.headers["Content-Length"]) == logs.MAX_BYTES
    assert time.monotonic() - began < 30


def test_forty_readers_of_a_pipe_hold_no_thread(home, database):
    """Each of them took a thread of the web server until it was started again."""
    with running_server(home, database.url, pages=True) as server:
        run_id = random_id()
        directory = home / "runs" / run_id
        directory.mkdir(parents=True)
        os.mkfifo(directory / "stdout.log")
        made = (
            f"TunixRun.objects.create(run_id='{run_id}', mode='local', status='completed', completed_at=timezone.now())"
        )
        manage(
            server.environment, "shell", "-c", f"from django.utils import timezone; from runs.models import *; {made}"
        )
        began = time.monotonic()
        with ThreadPoolExecutor(40) as readers:
            paths = [f"/api/tunix/runs/{run_id}/logs", f"/api/tunix/runs/{run_id}/logs/download", f"/runs/{run_id}/"]
            codes = list(readers.map(lambda n: server.get(paths[n % 3]).status_code, range(40)))
        assert set(codes) == {200} and time.monotonic() - began < 30
        assert server.get("/api/tunix/runs").status_code == 200


def test_what_may_not_be_read_is_a_sentence(home, database):
    """As a server that is not root, of files that are another user's."""
    with running_server(home, database.url, pages=True, before=unprivileged()) as server:
        run_id = random_id()
        directory = home / "runs" / run_id
        (directory / "output" / "checkpoints" / "5").mkdir(parents=True)
        (directory / "stdout.log").write_text(SECRET)
        (directory / "output" / "checkpoints" / "5" / "commit_success.txt").write_text(SECRET)
        for path in (directory / "stdout.log", directory / "output" / "checkpoints"):
            path.chmod(0)
        made = (
            f"TunixRun.objects.create(run_id='{run_id}', mode='local', status='completed', completed_at=timezone.now(), "
            "output_dir='./output', stdout='kept')"
        )
        manage(
            server.environment, "shell", "-c", f"from django.utils import timezone; from runs.models import *; {made}"
        )
        said = "stdout.log cannot be read: Permission denied. This is what the record kept of it."
        body = server.get(f"/api/tunix/runs/{run_id}/logs").json()
        assert (body["problem"], body["text"]) == (said, "kept")
        assert said in server.get(f"/api/tunix/runs/{run_id}/logs/download").content.decode()
        answer = server.get(f"/api/tunix/runs/{run_id}/checkpoints")
        assert answer.status_code == 409
        assert answer.json() == {"detail": "The checkpoints cannot be read: Permission denied."}
        page = server.get(f"/runs/{run_id}/").content.decode()
        assert said in page and "The checkpoints cannot be read: Permission denied." in page
        assert "Traceback" not in server.log
        for path in (directory / "stdout.log", directory / "output" / "checkpoints"):
            path.chmod(0o700)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def checkpoint_of(run, step=7):
    return create_checkpoint(run, step)


@pytest.mark.parametrize("place", ["output", "output/checkpoints", "output/checkpoints/1"])
def test_a_checkpoint_elsewhere_is_none(api, outside, tmp_path, place):
    run = local_run()
    path = RunDirectory(run.run_id).path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    (outside / "checkpoints").symlink_to(outside)
    path.symlink_to(outside / "1" if place.endswith("1") else outside)
    assert checkpoints.of(run) == [] and checkpoints.last(run) is None
    answer = api.get(f"/api/tunix/runs/{run.run_id}/checkpoints")
    if not place.endswith("1"):
        detail = "The checkpoints cannot be read: A link leads out of its directory."
        assert_error(answer, 409, detail)
    assert_error(api.get(f"/api/tunix/runs/{run.run_id}/checkpoints/1/download"), 404)


def test_links_inside_are_part_of_a_checkpoint(api):
    run = local_run()
    directory = checkpoint_of(run)
    (directory.parent / "shared").write_bytes(b"shared")
    (directory / "linked").symlink_to("../shared")
    (directory.parent / "8").symlink_to("7")
    assert [each.step for each in checkpoints.of(run)] == [7, 8]
    archive = b"".join(api.get(f"/api/tunix/runs/{run.run_id}/checkpoints/8/download").streaming_content)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.extractfile(f"{run.short_id}-step-8/linked").read() == b"shared"
    again = local_run()
    checkpoints.link(checkpoints.last(run), again)
    taken = RunDirectory(again.run_id).path / "output" / "checkpoints" / "8"
    assert (taken / "linked").read_bytes() == b"shared" and not (taken / "linked").is_symlink()


def test_a_link_in_a_checkpoint_that_leads_out_is_not_given_away(api, outside):
    run = local_run()
    directory = checkpoint_of(run)
    (directory / "stolen").symlink_to(outside / "secret")
    answer = api.get(f"/api/tunix/runs/{run.run_id}/checkpoints/7/download")
    assert_error(answer, 409, "Checkpoint 7 cannot be read: A link leads out of its directory.")
    again = local_run()
    with pytest.raises(OSError, match="A link leads out"):
        checkpoints.link(checkpoints.last(run), again)
    assert not list(RunDirectory(again.run_id).path.rglob("stolen"))


def test_a_pipe_in_a_checkpoint_is_left_out_and_a_hole_has_no_end(api):
    run = local_run()
    directory = checkpoint_of(run)
    os.mkfifo(directory / "pipe")
    archive = b"".join(api.get(f"/api/tunix/runs/{run.run_id}/checkpoints/7/download").streaming_content)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert not any(each.name.endswith("pipe") for each in tar)
    with (directory / "hole").open("wb") as file:
        file.truncate(2**43)  # 8 TiB
    answer = api.get(f"/api/tunix/runs/{run.run_id}/checkpoints/7/download")
    assert_error(answer, 409, "Checkpoint 7 says that it is larger than the disk that it is on.")


def test_very_many_entries_have_an_end(api, monkeypatch):
    run = local_run()
    root = RunDirectory(run.run_id).path / "output" / "checkpoints"
    for step in range(1, 1_200):
        (root / str(step)).mkdir(parents=True)
        (root / str(step) / "commit_success.txt").touch()
    (root / ("9" * 200)).mkdir()
    found = api.get(f"/api/tunix/runs/{run.run_id}/checkpoints").json()["data"]
    assert [each["step"] for each in found] == list(range(200, 1_200))
    monkeypatch.setattr("runs.checkpoints.MAX_FILES", 5)
    for number in range(20):
        (root / "1199" / f"file-{number}").touch()
    answer = api.get(f"/api/tunix/runs/{run.run_id}/checkpoints/1199/download")
    assert_error(answer, 409, "Checkpoint 1199 cannot be read: There are too many files in it.")


# --- what a result may say --------------------------------------------------------------------------------------------

CLAIM = "c" * 64
RESULT = {
    "status": "completed", "cause": "", "evidence": "", "exit_code": 0, "message": "Local execution completed successfully",
    "stdout": "done\n", "stderr": "", "duration_seconds": 1.5, "completed_at": "2026-01-01T00:00:00+00:00", "files_bytes": 5,
}  # fmt: skip


def silent_run(**fields):
    """One whose supervisor is dead and whose lease is over."""
    fields = {"claim": CLAIM, "slot": 0, "host": host_name(), "boot_id": boot_id()} | fields
    return local_run(status="running", lease_expires_at="2026-01-01T00:00:00Z", **fields)


def forged(kind, path):
    """What a training script may leave as exit.json, without the run's claim."""
    contents = {
        "whole": RESULT, "owner": RESULT | {"owner_id": 1, "priority": 2, "notes": "x"}, "status": RESULT | {"status": "great"},
        "types": RESULT | {"exit_code": "none", "duration_seconds": "long", "completed_at": 5}, "unknown": RESULT | {"x": 1},
        "list": [RESULT], "seal": RESULT | {"seal": ["x"]}, "a seal": RESULT | {"seal": "0" * 64}, "number": 1,
    }  # fmt: skip
    if kind in contents:
        path.write_text(json.dumps(contents[kind]))
    elif kind == "deep":
        path.write_text("[" * 100_000)
    elif kind == "large":
        path.write_text(json.dumps(RESULT | {"stdout": "x" * 10_000_000}))
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind == "half":
        path.write_text(json.dumps(RESULT)[:50])
    elif kind == "binary":
        path.write_bytes(b"\xff\x00" * 50)
    elif kind == "zero":
        path.touch()


FORGED = (
    "whole", "owner", "status", "types", "unknown", "list", "seal", "a seal", "number", "deep", "large", "huge", "half",
    "binary", "zero", "pipe", "link", "directory",
)  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_forged_result_costs_its_run_alone(client, api, outside):
    """All of them at once; the last that is resolved has a true one."""
    runs = {}
    for slot, kind in enumerate(FORGED):
        runs[kind] = silent_run(slot=slot)
        path = RunDirectory(runs[kind].run_id).result
        put(path, kind, outside)
        forged(kind, path)
    true = silent_run(slot=len(FORGED))
    exit_file.write(RunDirectory(true.run_id), CLAIM, RESULT)
    dispatcher = Dispatcher()
    for _ in range(2):
        dispatcher.reap()
    true.refresh_from_db()
    assert (true.status, true.stdout, true.exit_code, true.slot) == ("completed", "done\n", 0, None)
    for kind, run in runs.items():
        run.refresh_from_db()
        assert (run.status, run.slot, run.owner, run.priority) == ("lost", None, None, 1), kind
        assert any("The result in the run's directory was not taken" in each["text"] for each in notices(api, run)), (
            kind
        )
        assert client.get(f"/runs/{run.run_id}/").status_code == 200


def notices(api, run):
    return api.get(f"/api/tunix/runs/{run.run_id}").json()["notices"]


def test_a_result_that_was_changed_is_none(data_dir):
    directory = RunDirectory(local_run().run_id)
    exit_file.write(directory, CLAIM, RESULT)
    assert exit_file.read(directory, CLAIM)["status"] == "completed"
    for claim in ("d" * 64, ""):
        with pytest.raises(exit_file.NotSealed):
            exit_file.read(directory, claim)
    changed = json.loads(directory.result.read_text()) | {"message": "Better"}
    directory.result.write_text(json.dumps(changed))
    with pytest.raises(exit_file.NotSealed):
        exit_file.read(directory, CLAIM)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "running"), ("status", None), ("cause", "whim"), ("exit_code", "0"), ("exit_code", True),
        ("exit_code", 2**40), ("duration_seconds", -1), ("duration_seconds", "1"), ("completed_at", "yesterday"),
        ("completed_at", "2026-01-01T00:00:00"), ("message", ["x"]), ("files_bytes", 1.5), ("files_bytes", 2**70),
    ],
)  # fmt: skip
def test_even_a_sealed_result_is_typed(name, value):
    directory = RunDirectory(local_run().run_id)
    exit_file.write(directory, CLAIM, RESULT | {name: value})
    with pytest.raises(ValueError):
        exit_file.read(directory, CLAIM)


def test_a_sealed_result_gives_nothing_but_a_result():
    directory = RunDirectory(local_run().run_id)
    more = {"owner_id": 1, "priority": 2, "claim": "x", "message": "m" * 5_000, "stdout": "o\0" * 9_000}
    exit_file.write(directory, CLAIM, RESULT | more)
    found = exit_file.read(directory, CLAIM)
    assert found.keys() == RESULT.keys()
    assert len(found["message"]) == exit_file.MAX_MESSAGE
    assert "\0" not in found["stdout"] and len(found["stdout"].encode()) <= 10_240


# --- what a trainer may say about itself ------------------------------------------------------------------------------


def told(run, facts):
    RunDirectory(run.run_id).facts.write_text(facts if isinstance(facts, str) else json.dumps(facts))
    report = Report(run)

    def write(**columns):
        return bool(TunixRun.objects.filter(pk=run.pk).update(**columns))

    assert report.catch_up(write)
    report.ended({})
    assert report.catch_up(write)
    run.refresh_from_db()
    return run


def test_a_trainer_replaces_nothing_that_its_supervisor_found_out(client, api):
    ours = {
        "host": {"name": "here", "platform": "p", "cpus": 1, "memory_bytes": 5},
        "dataset": {"rows": 1, "sha256": "0"},
    }
    run = local_run(provenance=ours)
    told(run, {"host": "mine", "dataset": 5, "code": {"commit": "x"}, "command": 1, "devices": ["cpu:0"]})
    assert run.provenance == ours | {"devices": ["cpu:0"]}
    (notice,) = notices(api, run)
    assert notice["detail"] == "host, dataset, code, command"


@pytest.mark.parametrize(
    "facts",
    [
        {"versions": 5}, {"versions": ["jax"]}, {"versions": {"jax": {}}}, {"devices": 5}, {"devices": {"a": 1}}, {"devices": [1]},
        {"model": "big"}, {"model": {"parameters": "many"}}, {"peak_memory_bytes": "lots"}, {"peak_memory_bytes": True},
        {"total_steps": True}, {"total_steps": 2**70}, {"resumed_from_step": []}, {"resumed_from": {"run_id": "x"}},
        "[" * 100_000, "[]", "{", "\xff", '"text"', '{"versions": {"jax": 1e999}}',
    ],
)  # fmt: skip
def test_facts_that_are_none_are_left_out_and_said_to_be(client, api, facts):
    run = told(local_run(), facts)
    assert run.provenance == {} and run.total_steps is None
    assert notices(api, run)[0]["kind"] in ("facts_refused", "facts_unread")
    for page in (f"/runs/{run.run_id}/", f"/?reproduce={run.run_id}"):
        assert client.get(page).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_facts_and_metrics_that_are_no_files_hold_nobody_up(outside, kind):
    run = local_run()
    directory = RunDirectory(run.run_id)
    for path in (directory.facts, directory.metrics, directory.record, directory.patch):
        put(path, kind, outside)
    began = time.monotonic()
    report = Report(run)
    assert report.catch_up(lambda **_: True)
    report.write_record()
    assert time.monotonic() - began < 10
    assert SECRET not in directory.record.read_text() and (outside / "secret").read_text() == SECRET


def test_metrics_without_end_end_a_heartbeat(monkeypatch):
    """A hole of a terabyte was read piece by piece, and meanwhile nobody heard of a cancel."""
    run = local_run(status="running")
    with RunDirectory(run.run_id).metrics.open("wb") as file:
        file.truncate(2**40)
    report, began = Report(run), time.monotonic()
    assert report.catch_up(lambda **_: True, seconds=1)
    assert time.monotonic() - began < 10
    report.notice_unread()
    (notice,) = report.notices.take()
    assert "of metrics.jsonl were not read" in notice.text


def test_kept_results_that_are_none_stay_where_they_are(api, settings, outside):
    """Also beside the runs' directories nothing is waited for or believed blindly."""
    settings.UNRECORDED_DIR.mkdir(parents=True)
    os.mkfifo(settings.UNRECORDED_DIR / "pipe.json")
    (settings.UNRECORDED_DIR / "nowhere.json").symlink_to("missing")
    (settings.UNRECORDED_DIR / "out.json").symlink_to(outside / "secret")
    user = [{"model": "auth.user", "pk": 1, "fields": {"username": "eve", "is_superuser": True}}]
    (settings.UNRECORDED_DIR / "user.json").write_text(json.dumps(user))
    create_dataset()
    answer = api.post("/api/tunix/run", {"dataset_key": "arithmetic-v1", "model_id": "google/gemma-2b-it"})
    assert answer.json()["status"] == "completed"
    assert len(list(settings.UNRECORDED_DIR.iterdir())) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["data.jsonl", "manifest.json"])
def test_a_dataset_that_is_none_any_more_is_said_to_be(api, client, outside, kind, name):
    """A trainer without confinement can write where datasets lie."""
    dataset = create_dataset()
    path = dataset.data_path.with_name(name)
    path.unlink()
    put(path, kind, outside)
    said = f"cannot be read: {KINDS[kind]}"
    run = api.post("/api/tunix/run", {"dataset_key": dataset.key, "model_id": "google/gemma-2b-it"}).json()
    assert said in run["stderr"] and run["status"] == "failed"
    assert said in assert_error(api.get(f"/api/datasets/{dataset.key}/data"), 409)["detail"]
    assert SECRET not in client.get(f"/datasets/{dataset.key}/").content.decode()

"""Local runs by HTTP: accepted, waited for, cancelled, retried, and their logs."""

import pytest

from runs import logs
from runs.models import TunixRun
from runs.tests.execution.engine import COMMAND, launch, wait_for
from runs.tests.helpers import LAUNCH, assert_error, create_checkpoint, create_run

LOCAL = LAUNCH | {"dry_run": False}


@pytest.fixture
def tunix(settings):
    """A command that can be found, so that local runs are accepted."""
    settings.TUNIX_COMMAND = COMMAND


@pytest.mark.django_db
def test_it_works(api, dataset, tunix):
    answer = api.post("/api/tunix/run", LOCAL)
    assert answer.status_code == 202
    run = TunixRun.objects.get()
    assert answer.headers["Location"] == f"/api/tunix/runs/{run.run_id}"
    assert (answer.json()["status"], answer.json()["mode"], answer.json()["message"]) == ("pending", "local", "")


@pytest.mark.django_db
@pytest.mark.parametrize("wait", ["-1", "61", "x", "", "1.5"])
def test_wait_is_0_to_60(api, tunix, wait):
    assert_error(api.post(f"/api/tunix/run?wait={wait}", LOCAL), 422, "wait must be between 0 and 60")
    assert not TunixRun.objects.exists()


def test_wait_answers_200_when_the_run_has_ended(api, engine):
    engine.dispatcher()
    answer = api.post("/api/tunix/run?wait=60", LOCAL | {"model_id": "lines=2"})
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["stdout"]) == ("completed", "line 0\nline 1\n")


def test_wait_answers_202_when_it_has_not(api, engine):
    engine.dispatcher()
    answer = api.post("/api/tunix/run?wait=1", LOCAL | {"model_id": "sleep=60"})
    assert answer.status_code == 202


def test_cancel(api, engine):
    engine.dispatcher()
    run = wait_for(launch("sleep=60"), "running")
    for _ in range(2):
        assert api.post(f"/api/tunix/runs/{run.run_id}/cancel").status_code == 202
    wait_for(run, "cancelled")
    assert_error(api.post(f"/api/tunix/runs/{run.run_id}/cancel"), 409, "The run has ended already.")


@pytest.mark.django_db
def test_retry_is_a_new_run_of_the_same_inputs(api, dataset, tunix):
    source = create_run(mode="local", status="failed", model_id="lines=1", output_dir="./mine")
    answer = api.post(f"/api/tunix/runs/{source.run_id}/retry")
    assert answer.status_code == 201
    body = answer.json()
    assert body["run_id"] != str(source.run_id) and body["retry_of"] == str(source.run_id)
    for name in ("dataset_key", "model_id", "config", "output_dir", "mode"):
        assert body[name] == getattr(source, name)


@pytest.mark.django_db
def test_resume_needs_a_checkpoint(api, dataset, tunix):
    source = create_run(mode="local", status="cancelled", model_id="lines=1", output_dir="./mine")
    answer = api.post(f"/api/tunix/runs/{source.run_id}/retry", {"resume": True})
    detail = "The run has no checkpoint to resume from. Without resume it starts from the beginning."
    assert_error(answer, 409, detail)
    assert TunixRun.objects.count() == 1
    create_checkpoint(source, 40)
    body = api.post(f"/api/tunix/runs/{source.run_id}/retry", {"resume": True}).json()
    assert TunixRun.objects.get(pk=body["run_id"]).resume


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["pending", "running"])
def test_retry_waits_for_the_end(api, tunix, status):
    run = create_run(mode="local", status=status)
    assert_error(api.post(f"/api/tunix/runs/{run.run_id}/retry"), 409)


@pytest.mark.django_db
def test_retry_of_a_lost_run_takes_its_token(api, tunix):
    run = create_run(mode="local", status="lost", claim="of-the-supervisor")
    assert api.post(f"/api/tunix/runs/{run.run_id}/retry").status_code == 201
    run.refresh_from_db()
    assert run.claim == ""


@pytest.mark.django_db
def test_retry_of_a_dry_run_is_a_dry_run(api, dataset):
    source = create_run()
    body = api.post(f"/api/tunix/runs/{source.run_id}/retry").json()
    assert (body["mode"], body["status"], body["retry_of"]) == ("dry-run", "completed", str(source.run_id))


# --- logs -------------------------------------------------------------------------------------------------------------


def with_log(content: bytes, status: str = "completed") -> TunixRun:
    run = create_run(mode="local", status=status)
    path = logs.path(run, "stdout")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return run


@pytest.mark.django_db
def test_a_log_is_read_piece_by_piece_without_splitting_a_character(api):
    text = "aé€😀" * 40
    run, offset, found = with_log(text.encode()), 0, ""
    while True:
        body = api.get(f"/api/tunix/runs/{run.run_id}/logs?offset={offset}&limit=7").json()
        assert body["offset"] == offset and "�" not in body["text"]
        found, offset = found + body["text"], body["next_offset"]
        if body["eof"]:
            break
    assert found == text and offset == body["size"] == len(text.encode())


@pytest.mark.django_db
def test_a_log_that_goes_on_has_no_end(api):
    run = with_log(b"so far\n", status="running")
    body = api.get(f"/api/tunix/runs/{run.run_id}/logs").json()
    assert (body["text"], body["eof"]) == ("so far\n", False)


@pytest.mark.django_db
def test_a_run_that_wrote_nothing_has_an_empty_log(api):
    body = api.get(f"/api/tunix/runs/{create_run(mode='local').run_id}/logs?stream=stderr").json()
    nothing = {"offset": 0, "next_offset": 0, "size": 0, "eof": True, "text": "", "problem": ""}
    assert body == {"stream": "stderr"} | nothing


@pytest.mark.django_db
def test_a_dry_runs_record_is_its_log(api):
    run = create_run(stdout="ok\n")
    assert api.get(f"/api/tunix/runs/{run.run_id}/logs").json()["text"] == "ok\n"


@pytest.mark.django_db
def test_a_log_is_downloaded_whole(api):
    run = with_log(b"\xff" * 300_000)
    answer = api.get(f"/api/tunix/runs/{run.run_id}/logs/download?stream=stdout")
    assert b"".join(answer.streaming_content) == b"\xff" * 300_000
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("stream=both", "stream must be stdout or stderr"),
        ("offset=-1", "offset must be non-negative"),
        ("limit=3", "limit must be between 4 and 1048576"),
        ("limit=1048577", "limit must be between 4 and 1048576"),
        ("from=1", "from is not a known query parameter"),
    ],
)
def test_a_log_refuses(api, query, detail):
    assert_error(api.get(f"/api/tunix/runs/{create_run().run_id}/logs?{query}"), 422, detail)

"""GET /api/tunix/runs/{run_id}."""

import uuid
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model

from runs.tests.helpers import CONFIG, assert_error, create_run, random_id

pytestmark = pytest.mark.django_db
MOMENT = datetime(2025, 12, 22, 14, 30, tzinfo=UTC)


def test_it_works(api):
    run = create_run(
        started_at=MOMENT, created_at=MOMENT, completed_at=MOMENT.replace(second=5), duration_seconds=5.2, exit_code=0,
        stdout="out\n", stderr="err\n", message="Dry-run validation successful", output_dir="./output/x",
        notes="A note", tags=("b", "a"),
    )  # fmt: skip
    answer = api.get(f"/api/tunix/runs/{run.run_id}")
    assert answer.status_code == 200
    assert answer.json() == {
        "run_id": str(run.run_id),
        "status": "completed",
        "mode": "dry-run",
        "dataset_key": "arithmetic-v1",
        "model_id": "google/gemma-2b-it",
        "output_dir": "./output/x",
        "exit_code": 0,
        "stdout": "out\n",
        "stderr": "err\n",
        "duration_seconds": 5.2,
        "started_at": "2025-12-22T14:30:00Z",
        "completed_at": "2025-12-22T14:30:05Z",
        "message": "Dry-run validation successful",
        "created_at": "2025-12-22T14:30:00Z",
        "config": CONFIG,
        "tags": ["a", "b"],
        "notes": "A note",
        "notices": [],
        "waiting_for": "",
        "owner": None,
        "cause": "",
        "priority": "normal",
        "retry_of": None,
        "cancel_requested_at": None,
        "host": "",
        "files_bytes": 0,
        "evidence": "",
        "reproduces": None,
        "step": None,
        "total_steps": None,
        "provenance": {},
    }


def test_a_trailing_slash_works_without_a_redirect(api):
    run = create_run()
    assert api.get(f"/api/tunix/runs/{run.run_id}/").json()["run_id"] == str(run.run_id)


def test_what_is_not_known_yet_is_null(api):
    run = create_run(status="running")
    body = api.get(f"/api/tunix/runs/{run.run_id}").json()
    assert (body["exit_code"], body["completed_at"], body["duration_seconds"]) == (None, None, None)


def test_the_owner_is_named(api):
    ada = get_user_model().objects.create_user("ada")
    run = create_run(owner=ada)
    assert api.get(f"/api/tunix/runs/{run.run_id}").json()["owner"] == "ada"


def test_text_comes_back_as_it_is(api):
    text = "loss 0.26\r\n\ttab  \x1b[31mred\x1b[0m ﷽ 😀 <b>&amp;</b> \\u0000 \x7f"
    run = create_run(stdout=text)
    assert api.get(f"/api/tunix/runs/{run.run_id}").json()["stdout"] == text


def test_an_id_in_capitals_is_the_same_id(api):
    run = create_run()
    assert api.get(f"/api/tunix/runs/{str(run.run_id).upper()}").json()["run_id"] == str(run.run_id)


def test_not_found(api):
    nobody = random_id()
    assert_error(api.get(f"/api/tunix/runs/{nobody}"), 404, f"Tunix run not found: {nobody}")


def test_a_run_in_the_trash_is_not_found(api):
    run = create_run(deleted_at=MOMENT)
    assert_error(api.get(f"/api/tunix/runs/{run.run_id}"), 404, f"Tunix run not found: {run.run_id}")


SOME = str(uuid.UUID(int=5))


@pytest.mark.parametrize(
    "run_id",
    ["x", "123", SOME[:-1], f"{SOME}0", SOME.replace("-", ""), f"{{{SOME}}}", f"urn:uuid:{SOME}", "null", "%00", f"{SOME}%00",
     f"{SOME}%0A", SOME.replace("0", "٠"), "..", "%2e%2e", "a.b", "é", "%ff"],
)  # fmt: skip
def test_what_is_no_uuid_is_422(api, run_id):
    body = assert_error(api.get(f"/api/tunix/runs/{run_id}"), 422, "run_id must be a UUID")
    assert body["errors"] == {"run_id": ["must be a UUID"]}


def test_an_unknown_query_parameter_is_refused(api):
    assert_error(api.get(f"/api/tunix/runs/{create_run().run_id}?verbose=1"), 422)

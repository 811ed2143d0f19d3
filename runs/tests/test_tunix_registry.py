"""The specification's twelve: every run is a dry run, launched and read by the HTTP API."""

import pytest

from runs.models import TunixRun
from runs.tests.helpers import assert_error, create_dataset, ids, launch

pytestmark = pytest.mark.django_db


def test_run_persists_to_database(api, dataset):
    answer = launch(api, dataset_key="arithmetic-v1", model_id="google/gemma-2b-it", learning_rate=1e-4)
    run = TunixRun.objects.get()
    assert str(run.run_id) == answer["run_id"]
    assert (run.dataset_key, run.model_id) == ("arithmetic-v1", "google/gemma-2b-it")
    assert (run.mode, run.status, run.exit_code) == ("dry-run", "completed", 0)
    assert run.stdout.startswith("Dry-run validation completed successfully.")
    assert (run.stderr, run.message) == ("", "Dry-run validation successful")
    assert run.config["learning_rate"] == 1e-4
    assert run.created_at <= run.completed_at
    assert run.started_at <= run.completed_at
    assert run.duration_seconds > 0


def test_run_persists_with_failure(api):
    answer = launch(api, dataset_key="missing-v1")
    assert answer["status"] == "failed"
    run = TunixRun.objects.get(pk=answer["run_id"])
    assert (run.mode, run.status, run.exit_code) == ("dry-run", "failed", None)
    assert run.stderr == "Dataset not found: missing-v1"
    assert run.message == "Dry-run failed: dataset not found"
    assert run.completed_at is not None


def test_list_runs_empty(api):
    answer = api.get("/api/tunix/runs")
    assert answer.status_code == 200
    assert answer.json() == {"data": [], "pagination": {"limit": 20, "offset": 0, "next_offset": None}}


def test_list_runs_with_runs(api, dataset):
    launched = [launch(api)["run_id"] for _ in range(3)]
    assert ids(api.get("/api/tunix/runs")) == launched[::-1]


def test_list_runs_pagination(api, dataset):
    newest_first = [launch(api)["run_id"] for _ in range(5)][::-1]
    first = api.get("/api/tunix/runs?limit=2")
    second = api.get("/api/tunix/runs?limit=2&offset=2")
    third = api.get("/api/tunix/runs?limit=2&offset=4")
    assert ids(first) + ids(second) + ids(third) == newest_first
    assert first.json()["pagination"] == {"limit": 2, "offset": 0, "next_offset": 2}
    assert second.json()["pagination"] == {"limit": 2, "offset": 2, "next_offset": 4}
    assert third.json()["pagination"] == {"limit": 2, "offset": 4, "next_offset": None}


def test_list_runs_filter_by_status(api, dataset):
    good, bad = launch(api)["run_id"], launch(api, dataset_key="missing-v1")["run_id"]
    assert ids(api.get("/api/tunix/runs?status=completed")) == [good]
    assert ids(api.get("/api/tunix/runs?status=failed")) == [bad]
    assert ids(api.get("/api/tunix/runs?status=running")) == []


def test_list_runs_filter_by_dataset_key(api, dataset):
    create_dataset("gsm8k")
    one, other = launch(api)["run_id"], launch(api, dataset_key="gsm8k-v1")["run_id"]
    assert ids(api.get("/api/tunix/runs?dataset_key=arithmetic-v1")) == [one]
    assert ids(api.get("/api/tunix/runs?dataset_key=gsm8k-v1")) == [other]
    assert ids(api.get("/api/tunix/runs?dataset_key=gsm8k")) == []


def test_list_runs_filter_by_mode(api, dataset):
    run = launch(api)["run_id"]
    assert ids(api.get("/api/tunix/runs?mode=dry-run")) == [run]
    assert ids(api.get("/api/tunix/runs?mode=local")) == []


def test_list_runs_invalid_pagination(api):
    assert_error(api.get("/api/tunix/runs?limit=101"), 422, "limit must be between 1 and 100")
    assert_error(api.get("/api/tunix/runs?limit=0"), 422, "limit must be between 1 and 100")
    assert_error(api.get("/api/tunix/runs?offset=-1"), 422, "offset must be non-negative")


def test_get_run_detail(api, dataset):
    launched = launch(api)
    answer = api.get(f"/api/tunix/runs/{launched['run_id']}")
    assert answer.status_code == 200
    assert answer.json() == launched


def test_get_run_detail_not_found(api):
    nobody = "123e4567-e89b-12d3-a456-426614174000"
    assert_error(api.get(f"/api/tunix/runs/{nobody}"), 404, f"Tunix run not found: {nobody}")


def test_get_run_detail_invalid_uuid(api):
    body = assert_error(api.get("/api/tunix/runs/not-a-uuid"), 422)
    assert body["errors"] == {"run_id": ["must be a UUID"]}

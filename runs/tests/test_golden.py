"""The answers as they are, whole, in golden/*.json: what a client reads must not change unseen.

What differs each time (IDs, times, durations, cursors) is replaced by what it is. UPDATE_GOLDEN=1 writes the files anew.
"""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from runs.tests.helpers import LAUNCH, arithmetic_rows, create_dataset_by_hand, create_run, executable

pytestmark = pytest.mark.django_db
GOLDEN = Path(__file__).parent / "golden"
MOMENT = datetime(2025, 12, 22, 14, 30, tzinfo=UTC)
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z"')
NOBODY = "123e4567-e89b-12d3-a456-426614174000"


def plain(answer, request):
    """The answer as a golden file has it."""
    assert answer.headers["Content-Type"] == "application/json"
    whole = {"request": request, "status": answer.status_code, "body": answer.json()}
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    for number, run_id in enumerate(dict.fromkeys(ID.findall(text)), 1):
        if run_id != NOBODY:
            text = text.replace(run_id, f"<id {number}>").replace(run_id[:8], f"<id {number}, its first 8>")
    text = TIME.sub('"<time>"', text)
    text = re.sub(r'"duration_seconds": [0-9.e-]+', '"duration_seconds": "<seconds>"', text)
    return re.sub(r'"next_cursor": "[\w-]{40,}"', '"next_cursor": "<cursor>"', text) + "\n"


CASES = {}


def case(request):
    """Registers a function that prepares the answer to `request`; its name is the file's."""

    def register(function):
        CASES[function.__name__] = (request, function)
        return function

    return register


@case("POST /api/tunix/run")
def launch_ok(api, **_):
    api.post("/api/datasets", upload(), format="multipart")
    return api.post("/api/tunix/run", LAUNCH)


@case("POST /api/tunix/run")
def launch_without_dataset(api, **_):
    return api.post("/api/tunix/run", LAUNCH)


@case("POST /api/tunix/run")
def launch_with_bad_rows(api, **_):
    create_dataset_by_hand("arithmetic-v1", b'{"prompt": "a"}\nnonsense\n')
    return api.post("/api/tunix/run", LAUNCH)


@case("POST /api/tunix/run")
def launch_refused(api, **_):
    return api.post("/api/tunix/run", {"dataset_key": "../x", "dryrun": False})


@case("POST /api/tunix/run")
def launch_out_of_bounds(api, **_):
    return api.post("/api/tunix/run", {"dataset_key": "../x", "learning_rate": 2, "num_epochs": "3"})


@case("POST /api/tunix/run")
def launch_unreadable(api, **_):
    return api.post("/api/tunix/run", b"{", content_type="application/json")


@case("POST /api/tunix/run")
def launch_local_without_tunix(api, **_):
    return api.post("/api/tunix/run", LAUNCH | {"dry_run": False})


@case("GET /api/tunix/runs")
def list_empty(api, **_):
    return api.get("/api/tunix/runs")


@case("GET /api/tunix/runs?limit=2")
def list_page(api, **_):
    three_runs()
    return api.get("/api/tunix/runs?limit=2")


@case("GET /api/tunix/runs?cursor=&limit=2")
def list_by_cursor(api, **_):
    three_runs()
    return api.get("/api/tunix/runs?cursor=&limit=2")


@case("GET /api/tunix/runs?limit=0&status=nonsense")
def list_refused(api, **_):
    return api.get("/api/tunix/runs?limit=0&status=nonsense")


@case("GET /api/tunix/runs?status=nonsense")
def list_unknown_status(api, **_):
    return api.get("/api/tunix/runs?status=nonsense")


@case("GET /api/tunix/runs/{run_id}")
def detail(api, **_):
    *_, run = three_runs()
    return api.get(f"/api/tunix/runs/{run.run_id}")


@case("GET /api/tunix/runs/{run_id}")
def detail_not_found(api, **_):
    return api.get(f"/api/tunix/runs/{NOBODY}")


@case("GET /api/tunix/runs/{run_id}")
def detail_invalid_uuid(api, **_):
    return api.get("/api/tunix/runs/not-a-uuid")


@case("PATCH /api/tunix/runs/{run_id}")
def annotated(api, **_):
    return api.patch(f"/api/tunix/runs/{create_run().run_id}", {"tags": ["baseline"], "notes": "A note"})


@case("DELETE /api/tunix/runs/{run_id}")
def delete_running(api, **_):
    return api.delete(f"/api/tunix/runs/{create_run(status='running').run_id}")


@case("GET /api/tunix/status")
def status_without_tunix(api, **_):
    return api.get("/api/tunix/status")


@case("GET /api/tunix/status")
def status_with_tunix(api, settings, tmp_path):
    settings.TUNIX_PYTHON = str(executable(tmp_path / "python", "echo 0.1.3"))
    return api.get("/api/tunix/status")


@case("POST /api/datasets")
def dataset_added(api, **_):
    return api.post("/api/datasets", upload(), format="multipart")


@case("POST /api/datasets")
def dataset_refused(api, **_):
    return api.post("/api/datasets", upload(b'{"prompt": "a"}\n{}\n'), format="multipart")


@case("POST /api/datasets")
def dataset_key_taken(api, **_):
    api.post("/api/datasets", upload(), format="multipart")
    return api.post("/api/datasets", upload(arithmetic_rows(3)), format="multipart")


@case("GET /api/datasets")
def dataset_list(api, **_):
    api.post("/api/datasets", upload(), format="multipart")
    return api.get("/api/datasets")


@case("GET /api/datasets/{key}")
def dataset_not_found(api, **_):
    return api.get("/api/datasets/missing-v1")


@case("GET /healthz")
def healthz(api, **_):
    return api.get("/healthz")


@case("GET /readyz")
def readyz(api, **_):
    return api.get("/readyz")


@case("GET /api/nothing")
def unknown_address(api, **_):
    return api.get("/api/nothing")


@case("PUT /api/tunix/runs")
def unknown_method(api, **_):
    return api.put("/api/tunix/runs", {})


def upload(rows=None):
    file = SimpleUploadedFile("x.jsonl", arithmetic_rows(2) if rows is None else rows)
    return {"dataset_name": "arithmetic", "dataset_version": "v1", "file": file}


def three_runs():
    return [
        create_run(started_at=MOMENT, status="running", mode="local"),
        create_run(started_at=MOMENT + timedelta(seconds=1), status="failed", dataset_key="gsm8k-v1"),
        create_run(
            started_at=MOMENT + timedelta(seconds=2), exit_code=0, stdout="out\n", tags=("b", "a"), notes="A note"
        ),
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_the_golden_one(name, api, settings, tmp_path):
    request, prepare = CASES[name]
    found, golden = plain(prepare(api=api, settings=settings, tmp_path=tmp_path), request), GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(found, encoding="utf-8")
    # Parsed: PostgreSQL keeps no order within `config`.
    assert json.loads(found) == json.loads(golden.read_text(encoding="utf-8"))


def test_every_golden_file_has_its_case():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(CASES)

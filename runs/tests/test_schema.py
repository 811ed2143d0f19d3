"""GET /api/schema and /api/docs: the document says what the API does."""

import json
import subprocess
import sys

import pytest
from django.conf import settings as django_settings

from runs.limits import TRAINING
from runs.tests.server import environment_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def schema(api):
    answer = api.get("/api/schema", headers={"accept": "application/json"})
    assert answer.status_code == 200
    return json.loads(answer.content)


def test_it_is_openapi_3(schema):
    assert schema["openapi"].startswith("3.")
    assert schema["info"]["title"] == "tunix-rt"


def test_every_call_is_there_and_nothing_else(schema):
    calls = {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}
    assert calls == {
        "POST /api/tunix/run",
        "GET /api/tunix/runs",
        "GET /api/tunix/runs/{run_id}",
        "PATCH /api/tunix/runs/{run_id}",
        "DELETE /api/tunix/runs/{run_id}",
        "POST /api/tunix/runs/{run_id}/cancel",
        "POST /api/tunix/runs/{run_id}/retry",
        "GET /api/tunix/runs/{run_id}/logs",
        "GET /api/tunix/runs/{run_id}/logs/download",
        "GET /api/tunix/runs/{run_id}/logs/search",
        "GET /api/tunix/runs/{run_id}/metrics",
        "POST /api/tunix/runs/{run_id}/metrics",
        "GET /api/tunix/runs/{run_id}/checkpoints",
        "GET /api/tunix/runs/{run_id}/checkpoints/{step}/download",
        "GET /api/tunix/runs/{run_id}/provenance",
        "POST /api/tunix/runs/{run_id}/restore",
        "GET /api/tunix/status",
        "GET /api/datasets",
        "POST /api/datasets",
        "POST /api/datasets/preview",
        "GET /api/datasets/{key}",
        "GET /api/datasets/{key}/data",
        "GET /metrics",
        "GET /healthz",
        "GET /readyz",
    }


@pytest.mark.parametrize("name", TRAINING)
def test_the_bounds_of_a_launch_are_those_of_the_code(schema, name):
    limit = TRAINING[name]
    field = schema["components"]["schemas"]["LaunchRequest"]["properties"][name]
    assert field["type"] == ("integer" if limit.whole else "number")
    assert field["exclusiveMinimum" if limit.above else "minimum"] in (limit.minimum, True)
    assert field["maximum"] == limit.maximum
    if limit.default is not None:
        assert field["default"] == limit.default


def test_a_launch_needs_a_dataset_and_a_model(schema):
    launch = schema["components"]["schemas"]["LaunchRequest"]
    assert set(launch["required"]) == {"dataset_key", "model_id"}
    assert launch["properties"]["dry_run"] | {"description": ""} == {
        "type": "boolean",
        "default": True,
        "description": "",
    }
    assert launch["properties"]["model_id"]["maxLength"] == 256


def test_a_page_has_the_seven_fields_and_its_block(schema):
    page = schema["components"]["schemas"]["RunListItem"]["properties"]
    assert list(page) == ["run_id", "dataset_key", "model_id", "mode", "status", "started_at", "duration_seconds"]


def test_the_statuses_and_modes_are_named(schema):
    schemas = schema["components"]["schemas"]
    assert schemas["RunStatus"]["enum"] == ["pending", "running", "completed", "failed", "timeout", "cancelled", "lost"]
    assert schemas["RunMode"]["enum"] == ["dry-run", "local"]


def test_every_error_has_its_body(schema):
    for path, methods in schema["paths"].items():
        for method, call in methods.items():
            for status, answer in call["responses"].items():
                if status >= "400":
                    (content,) = answer["content"].values()
                    name = content["schema"]["$ref"].rpartition("/")[2]
                    assert name == ("Unprocessable" if status == "422" else "Error"), (method, path, status)


def test_the_document_is_made_without_a_warning(tmp_path):
    command = [
        sys.executable,
        "manage.py",
        "spectacular",
        "--validate",
        "--fail-on-warn",
        "--file",
        str(tmp_path / "x.yml"),
    ]
    done = subprocess.run(
        command, cwd=django_settings.BASE_DIR, env=environment_of(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_yaml_is_there_too(api):
    answer = api.get("/api/schema")
    assert answer.content.startswith(b"openapi: 3.")


def test_the_docs_load_nothing_from_elsewhere(api):
    answer = api.get("/api/docs")
    assert answer.status_code == 200
    html = answer.content.decode()
    assert "swagger-ui" in html
    assert "http://" not in html and "https://" not in html and "//cdn" not in html
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]

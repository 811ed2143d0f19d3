"""GET /metrics, and lines of the log that say which run they are about."""

import json
import logging
import subprocess
import sys
import uuid
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from runs import monitoring
from runs.process_log import RunId
from runs.tests.databases import new_database
from runs.tests.helpers import create_run
from runs.tests.server import environment_of, running_server


def samples(text: str) -> dict[tuple, float]:
    """Values by name and labels, of a text that Prometheus' own parser reads."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.django_db
def test_runs_by_status_the_queue_and_durations(api):
    now = timezone.now()
    create_run(status="pending", mode="local", accepted_at=now - timedelta(minutes=5))
    create_run(status="pending", mode="local", accepted_at=now - timedelta(minutes=2))
    create_run(status="failed", mode="local", duration_seconds=90)
    create_run(duration_seconds=0.5)
    create_run(duration_seconds=50, started_at=now - timedelta(days=3))
    create_run(deleted_at=now)
    answer = api.get("/metrics")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
    found = samples(answer.content.decode())
    assert found["tunix_rt_runs", "pending"] == 2 and found["tunix_rt_runs", "completed"] == 2
    assert found["tunix_rt_runs", "lost"] == 0, "a status that no run has is a zero, not a gap"
    assert 300 <= found["tunix_rt_queue_age_seconds",] < 310
    name = "tunix_rt_recent_run_duration_seconds"
    assert found[f"{name}_bucket", "60", "failed", "local"] == 0
    assert found[f"{name}_bucket", "600", "failed", "local"] == 1
    assert found[f"{name}_gcount", "completed", "dry-run"] == 1
    assert found["tunix_rt_database_up",] == 1 and found["tunix_rt_disk_free_bytes",] > 0


@pytest.mark.django_db
def test_a_database_that_is_away_is_a_value(api, monkeypatch):
    def away():
        raise DatabaseError("away")

    monkeypatch.setattr(monitoring, "_by_status", away)
    found = samples(api.get("/metrics").content.decode())
    assert found["tunix_rt_database_up",] == 0 and ("tunix_rt_runs", "pending") not in found


def test_requests_of_every_worker_are_counted_by_their_pattern(home):
    with new_database(home) as database, running_server(home, database.url, WEB_CONCURRENCY="2") as server:
        for _ in range(20):
            server.get(f"/api/tunix/runs/{uuid.uuid4()}")
        assert server.request("BREW", "/api/nowhere").status_code == 404
        found = samples(server.get("/metrics").content.decode())
        name = "tunix_rt_http_request_seconds_count"
        assert found[name, "404", "GET", "api/tunix/runs/<str:run_id>"] == 20
        assert found[name, "404", "none", "other"] == 1
        assert len(list((home / "prometheus").iterdir())) == 1
    assert list((home / "prometheus").iterdir()) == [], "what is counted goes with the server"


def line(message: str, *arguments, **more):
    record = logging.LogRecord("runs.x", logging.INFO, "x.py", 1, message, arguments, None)
    assert RunId().filter(record)
    return record.run_id


def test_a_line_is_about_the_run_that_it_names():
    run_id = uuid.uuid4()
    assert line("run %s accepted", run_id) == str(run_id)
    assert line("nothing of the kind") is None
    assert line("%(a)s", {"a": 1}) is None


def test_lines_are_json_when_asked_for(home):
    """Every line, with the run where it is about one."""
    script = (
        "import django, logging, uuid; django.setup(); from runs.process_log import this_process_serves as serve;"
        "log = logging.getLogger('runs.x'); log.info('run %s: claimed', uuid.UUID(int=5)); log.warning('a\\nb');"
        "serve(uuid.UUID(int=7)); log.info('started')"
    )
    environment = environment_of(home, LOG_FORMAT="json", DJANGO_SETTINGS_MODULE="tunix_rt.settings")
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=60
    )
    lines = [json.loads(each) for each in done.stderr.splitlines()]
    assert [(each["level"], each["message"], each["run_id"]) for each in lines] == [
        ("INFO", "run 00000000-0000-0000-0000-000000000005: claimed", str(uuid.UUID(int=5))),
        ("WARNING", "a\nb", None),
        ("INFO", "started", str(uuid.UUID(int=7))),
    ]
    assert all(each["logger"] == "runs.x" and each["time"] for each in lines)


def test_a_disk_that_is_full_ends_no_worker(home):
    """Counts are written through a map of a file: without room of its own, the kernel ends the worker (SIGBUS)."""
    with new_database(home) as database, running_server(home, database.url, WEB_CONCURRENCY="1") as server:
        server.get("/healthz")
        (counts,) = (home / "prometheus").glob("*/histogram_*.db")
        allocated = counts.stat()
    assert allocated.st_blocks * 512 >= allocated.st_size >= 4 * 1024 * 1024, "nothing of it is still to be allocated"

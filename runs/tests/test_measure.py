"""manage.py measure, by which the speeds in docs/performance.md are taken."""

import json

import pytest

from runs.management.commands.measure import FLOOR
from runs.tests.helpers import LAUNCH
from runs.tests.server import running_server


def test_it_measures_every_call_and_page_and_changes_nothing(home, database):
    with running_server(home, database.url, pages=True, LOG_LEVEL="ERROR") as server:
        assert server.post("/api/tunix/run", LAUNCH).status_code == 200
        before = server.get("/api/tunix/runs").json()
        found = json.loads(server.manage("measure", "--rounds=1", "--json"))
        assert server.get("/api/tunix/runs").json() == before
    assert found["rows"] == 1
    assert {FLOOR, "list", "detail", "history page", "admin's list"} <= found["cases"].keys()
    assert all(0 < each["median"] <= each["p95"] for each in found["cases"].values())
    assert found["cases"][FLOOR]["of_floor"] == 1


def test_without_the_files_of_pages_it_says_what_to_do(home, database):
    said = pytest.raises(AssertionError, match="CommandError: Run collectstatic first")
    with running_server(home, database.url, LOG_LEVEL="ERROR") as server, said:
        server.manage("measure")

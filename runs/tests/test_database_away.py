"""The run is first, its record second: the database is really taken away from a real server, before, during and after.

PostgreSQL refuses every connection. SQLite's file cannot be written, or is locked by somebody else for too long.
"""

import contextlib
import sqlite3
import threading
import time
import uuid

import psycopg
import pytest
from django.db import connection

from runs.tests.helpers import LAUNCH, arithmetic_rows, executable
from runs.tests.server import running_server, unprivileged


class RefusingPostgres:
    """A database of its own, on the server of the tests."""

    def __init__(self, home):
        where = connection.settings_dict
        self.name = f"away_{uuid.uuid4().hex[:8]}"
        self.admin = psycopg.connect(
            host=where["HOST"], port=where["PORT"], user=where["USER"], password=where["PASSWORD"], dbname="template1",
            autocommit=True,
        )  # fmt: skip
        self.admin.execute(f"CREATE DATABASE {self.name}")
        self.url = f"postgres://{where['USER']}:{where['PASSWORD']}@{where['HOST']}:{where['PORT']}/{self.name}"

    def take_away(self):
        self.admin.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
        self.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name])

    # A connection in the middle of a request is ended as well.
    take_away_at_once = take_away

    def bring_back(self):
        self.admin.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    def close(self):
        self.bring_back()
        self.admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        self.admin.close()


class UnwritableSqlite:
    """A file that may not be written; for a connection that is open already, a lock that is never given back in time."""

    def __init__(self, home):
        self.path = home / "tunix-rt.sqlite3"
        self.url = None
        self.other = None

    def take_away(self):
        for file in self.path.parent.glob("tunix-rt.sqlite3*"):
            file.chmod(0o400)

    def take_away_at_once(self):
        self.other = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.other.execute("BEGIN EXCLUSIVE")

    def bring_back(self):
        if self.other:
            self.other.close()
        for file in self.path.parent.glob("tunix-rt.sqlite3*"):
            file.chmod(0o600)

    close = bring_back


@pytest.fixture
def database(tmp_path, db):
    kind = UnwritableSqlite if connection.vendor == "sqlite" else RefusingPostgres
    with contextlib.closing(kind(tmp_path / "home")) as database:
        yield database


@pytest.fixture
def start(database, tmp_path):
    """Starts a server on that database, with the dataset that LAUNCH names."""

    @contextlib.contextmanager
    def start(**environment):
        with running_server(tmp_path / "home", database.url, before=unprivileged(), **environment) as server:
            address = "/api/datasets?dataset_name=arithmetic&dataset_version=v1"
            rows = {"Content-Type": "application/x-ndjson"}
            assert server.request("POST", address, arithmetic_rows(), rows).status_code == 201
            yield server

    return start


def kept(server):
    return sorted(path.stem for path in (server.home / "unrecorded").glob("*.json"))


def recorded(server):
    return server.get("/api/tunix/runs").json()["data"]


def assert_whole_result(answer):
    """200, and everything that a good dry run answers."""
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["status"], body["exit_code"], body["message"]) == ("completed", 0, "Dry-run validation successful")
    assert body["stdout"].startswith("Dry-run validation completed successfully.")
    return body


def test_away_before(start, database):
    with start() as server:
        database.take_away()
        body = assert_whole_result(server.post("/api/tunix/run", LAUNCH))
        assert f"run {body['run_id']}: begin could not be recorded: " in server.log
        assert kept(server) == [body["run_id"]]
        database.bring_back()
        server.manage("housekeeping")
        assert [(run["run_id"], run["status"]) for run in recorded(server)] == [(body["run_id"], "completed")]
        assert kept(server) == []
        server.manage("housekeeping")
        assert len(recorded(server)) == 1


def test_away_during(start, database, tmp_path):
    """The dry run is caught in its last check, where it asks a real interpreter that waits."""
    begun, go = tmp_path / "begun", tmp_path / "go"
    python = executable(tmp_path / "python", f"touch {begun}; while [ ! -e {go} ]; do sleep 0.05; done; echo 0.1.7")
    with start(TUNIX_PYTHON=str(python)) as server:
        answers = []
        request = threading.Thread(target=lambda: answers.append(server.post("/api/tunix/run", LAUNCH)))
        request.start()
        deadline = time.monotonic() + 20
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert [run["status"] for run in recorded(server)] == ["running"], "recorded before it is executed"
        database.take_away_at_once()
        go.touch()
        request.join(30)
        body = assert_whole_result(answers[0])
        assert f"run {body['run_id']}: finish could not be recorded: " in server.log
        assert kept(server) == [body["run_id"]]
        database.bring_back()
        server.manage("housekeeping")
        assert [(run["run_id"], run["status"]) for run in recorded(server)] == [(body["run_id"], "completed")]
        assert kept(server) == []


def test_away_after(start, database):
    """What was kept is recorded by the next run that can be."""
    with start() as server:
        first = assert_whole_result(server.post("/api/tunix/run", LAUNCH))
        database.take_away()
        second = assert_whole_result(server.post("/api/tunix/run", LAUNCH))
        if connection.vendor == "postgresql":
            assert_error_json(server.get("/api/tunix/runs"), 503)
        database.bring_back()
        third = assert_whole_result(server.post("/api/tunix/run", LAUNCH))
        ids = [first["run_id"], second["run_id"], third["run_id"]]
        assert [run["run_id"] for run in recorded(server)] == ids[::-1]
        assert kept(server) == []


def test_neither_database_nor_disk(start, database):
    """Nothing can be kept: the caller has the result, and the log says that it is the only one."""
    with start() as server:
        database.take_away()
        (server.home / "unrecorded").write_text("in the way of the directory")
        assert_whole_result(server.post("/api/tunix/run", LAUNCH))
        assert "neither the database nor the disk took its result" in server.log


def test_a_connection_that_died_between_two_runs_is_replaced(start, database):
    with start() as server:
        assert_whole_result(server.post("/api/tunix/run", LAUNCH))
        database.take_away()
        database.bring_back()
        assert_whole_result(server.post("/api/tunix/run", LAUNCH))
        assert len(recorded(server)) == 2
        assert kept(server) == []


def assert_error_json(answer, status):
    assert answer.status_code == status
    assert answer.json()["detail"]

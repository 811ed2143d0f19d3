"""Persistence is second, the run is first: real servers whose database is really taken away.

How it is taken is in databases.py: PostgreSQL's refuses connections and ends those that it has; SQLite's file makes room
for one that may not be read, or is locked by somebody else for longer than the server waits.
"""

import contextlib
import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runs.tests.accounts import Browser, make_people
from runs.tests.helpers import LAUNCH, arithmetic_rows, executable
from runs.tests.server import running_server, unprivileged

DATASET = "/api/datasets?dataset_name=arithmetic&dataset_version=v1"
ROWS = {"Content-Type": "application/x-ndjson"}
UNUSABLE = "The database cannot be used at the moment. Try again shortly."


def waiting_python(home):
    """What answers for Tunix, once `go` is there."""
    script = f"cd {home}\ntouch started\nwhile [ ! -e go ]; do sleep 0.02; done\necho 0.1.3"
    return str(executable(home / "python", script))


@pytest.fixture
def server(home, database):
    """A server with the dataset `arithmetic-v1`, whose dry runs stop at their last check until `go` is there."""
    with running_server(home, database.url, before=unprivileged(), TUNIX_PYTHON=waiting_python(home)) as server:
        assert server.post(DATASET, arithmetic_rows(), **ROWS).status_code == 201
        yield server


def go(home):
    (home / "go").touch()


def launched(server):
    answer = server.post("/api/tunix/run", LAUNCH)
    assert answer.status_code == 200, answer.content
    return answer.json()


def until_there(path, answer):
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline and not answer.done()
        time.sleep(0.02)


class Meanwhile:
    """A dry run that has begun and waits; `answer()` lets it go on and returns its record."""

    def __init__(self, server):
        self.home, self.pool = server.home, ThreadPoolExecutor(1)
        self.future = self.pool.submit(launched, server)
        until_there(self.home / "started", self.future)

    def answer(self):
        go(self.home)
        record = self.future.result(60)
        self.pool.shutdown()
        return record


def assert_complete(record):
    """Nothing is missing from the answer because the database was."""
    assert (record["status"], record["exit_code"], record["stderr"]) == ("completed", 0, "")
    assert record["message"] == "Dry-run validation successful"
    assert record["stdout"].startswith("Dry-run validation completed successfully.\n")
    assert "100 rows" in record["stdout"] and "Tunix 0.1.3 is available" in record["stdout"]
    assert record["completed_at"] and record["duration_seconds"] > 0


def stored(server, record):
    return server.get(f"/api/tunix/runs/{record['run_id']}").json()


def listed(server):
    return [run["run_id"] for run in server.get("/api/tunix/runs").json()["data"]]


def waiting(home):
    return sorted(path.stem for path in (home / "unrecorded").glob("*.json"))


def errors_in(log):
    return [line for line in log.splitlines() if " ERROR runs.services " in line]


def launches(server):
    """The events of them: which run, who, from where, how."""
    ask = "from runs.models import Event; print(*Event.objects.filter(act='launch').values_list('run_id', 'actor', 'address', 'way'), sep='\\n')"
    return server.manage("shell", "--verbosity=0", "-c", ask).splitlines()


def launch_by(actor, record, way="api"):
    return f"(UUID('{record['run_id']}'), '{actor}', '127.0.0.1', '{way}')"


def test_away_all_the_time(server, database, home):
    go(home)
    database.take()
    record = launched(server)
    assert_complete(record)
    assert waiting(home) == [record["run_id"]]
    logged = errors_in(server.log)
    assert [
        f"run {record['run_id']}: {step} could not be recorded" in line
        for step, line in zip(("begin", "finish"), logged, strict=True)
    ] == [True, True]
    assert all(any(reason in line for reason in database.why) for line in logged)
    database.give()
    assert server.get(f"/api/tunix/runs/{record['run_id']}").status_code == 404
    assert server.get("/readyz").json() == {"status": "ok", "unrecorded_results": 1, "runs_without_record": 0}
    assert server.manage("housekeeping") == "results recorded: 1\n"
    assert stored(server, record) == record
    assert launches(server) == [launch_by("local", record)], "who did it is not who recorded it"
    assert server.manage("housekeeping") == ""
    assert listed(server) == [record["run_id"]]
    assert waiting(home) == []


def test_it_goes_away_during_the_run(server, database, home):
    run = Meanwhile(server)
    (begun,) = listed(server)
    database.take_from_under()
    record = run.answer()
    assert_complete(record)
    assert record["run_id"] == begun
    assert waiting(home) == [begun]
    (logged,) = errors_in(server.log)
    assert f"run {begun}: finish could not be recorded: " in logged
    assert any(reason in logged for reason in database.why)
    database.give_back_under()
    assert stored(server, record)["status"] == "running"
    assert server.manage("housekeeping") == "results recorded: 1\n"
    assert stored(server, record) == record
    assert launches(server) == [launch_by("local", record)]
    assert server.manage("housekeeping") == ""
    assert listed(server) == [begun]


def test_it_comes_back_during_the_run(server, database, home):
    database.take_from_under()
    run = Meanwhile(server)
    database.give_back_under()
    record = run.answer()
    assert_complete(record)
    (logged,) = errors_in(server.log)
    assert f"run {record['run_id']}: begin could not be recorded: " in logged
    assert waiting(home) == []
    assert stored(server, record) == record
    assert launches(server) == [launch_by("local", record)]
    assert listed(server) == [record["run_id"]]


def test_it_goes_away_after_the_run(server, database, home):
    go(home)
    record = launched(server)
    database.take()
    for path in ("/api/tunix/runs", f"/api/tunix/runs/{record['run_id']}"):
        answer = server.get(path)
        assert (answer.status_code, answer.json()) == (503, {"detail": UNUSABLE})
    assert server.get("/readyz").status_code == 503
    assert server.get("/healthz").status_code == 200
    assert server.get("/api/datasets/arithmetic-v1").status_code == 200
    database.give()
    assert server.get("/readyz").status_code == 200
    assert stored(server, record) == record


def test_the_next_run_records_what_waits(server, database, home):
    go(home)
    database.take()
    first, second = launched(server), launched(server)
    database.give()
    third = launched(server)
    assert waiting(home) == []
    assert listed(server) == [each["run_id"] for each in (third, second, first)]
    assert [stored(server, each) for each in (first, second, third)] == [first, second, third]


def test_connections_that_ended_meanwhile_cost_no_run(server, database, home):
    """The database was restarted under connections that are kept."""
    go(home)
    records = [launched(server)]
    database.end_connections()
    records.append(launched(server))
    database.end_connections()
    assert listed(server) == [each["run_id"] for each in records[::-1]]
    assert errors_in(server.log) == []
    assert waiting(home) == []


def test_it_ends_connections_during_the_run(server, database, home):
    run = Meanwhile(server)
    database.end_connections()
    record = run.answer()
    assert_complete(record)
    assert stored(server, record) == record
    assert errors_in(server.log) == []


def test_neither_the_database_nor_the_disk(server, database, home):
    """The last resort is the log; the caller gets the result all the same."""
    go(home)
    database.take()
    (home / "unrecorded").mkdir(mode=0o500)
    record = launched(server)
    assert_complete(record)
    database.give()
    assert (
        f"CRITICAL runs.services run {record['run_id']}: neither the database nor the disk took its result"
        in server.log
    )
    assert os.listdir(home / "unrecorded") == []


def test_who_is_signed_in_is_told_so_too(home, database):
    """Who that is, is asked of the database before any view is: it is the same sentence, not a defect of ours."""
    mode = {"TUNIX_RT_AUTH": "required"}
    with running_server(home, database.url, before=unprivileged(), pages=True, **mode) as server:
        make_people(server)
        browser = Browser(server)
        assert browser.log_in("operator").status_code == 302
        database.take()
        for path in ("/", "/runs/", "/datasets/", "/account/", "/api/tunix/runs", "/api/datasets"):
            answer = browser.ask("GET", path)
            assert answer.status_code == 503, path
            assert b"The database cannot be used at the moment. Try again shortly." in answer.content
        assert browser.ask("GET", "/healthz").status_code == 200, "who asks is of no interest there"
        database.give()
        assert browser.ask("GET", "/runs/").status_code == 200


def test_it_goes_away_during_the_run_of_somebody_who_is_signed_in(home, database):
    """His name is in the answer, and nobody is asked for it."""
    mode = {"TUNIX_RT_AUTH": "required", "TUNIX_PYTHON": waiting_python(home)}
    with running_server(home, database.url, before=unprivileged(), pages=True, **mode) as server:
        make_people(server)
        browser = Browser(server)
        assert browser.log_in("operator").status_code == 302
        dataset = browser.ask("POST", DATASET, arithmetic_rows(), **ROWS, **browser.token)
        assert dataset.status_code == 201
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(browser.ask, "POST", "/api/tunix/run", LAUNCH, **browser.token)
            until_there(home / "started", answer)
            database.take_from_under()
            go(home)
            record = answer.result(60).json()
        assert_complete(record)
        assert record["owner"] == "operator" and waiting(home) == [record["run_id"]]
        database.give_back_under()
        assert server.manage("housekeeping") == "results recorded: 1\n"
        assert browser.ask("GET", f"/api/tunix/runs/{record['run_id']}").json() == record
        assert launches(server) == [launch_by("operator", record)]


def test_a_copy_that_is_put_in_the_place_of_sqlites_file_is_used(home):
    """Connections are kept: one to the file that was there before would take runs that nobody sees again."""
    with running_server(home) as server:
        path = home / "tunix-rt.sqlite3"
        shutil.copyfile(path, home / "copy")
        assert server.post(DATASET, arithmetic_rows(), **ROWS).status_code == 201
        launched(server)
        assert len(listed(server)) == 1
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        (home / "copy").replace(path)
        assert listed(server) == []
        record = launched(server)
        with contextlib.closing(sqlite3.connect(path)) as restored:
            assert restored.execute("SELECT count(*) FROM tunix_runs").fetchall() == [(1,)]
        assert listed(server) == [record["run_id"]]

"""Uploads as they come over a wire: in chunks, cut off, too large for the disk, too large for the memory."""

import hashlib
import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runs.tests.helpers import LAUNCH, arithmetic_rows
from runs.tests.server import running_server

ROWS = {"Content-Type": "application/x-ndjson"}
FORM = {"Content-Type": "multipart/form-data; boundary=BOUND"}
JSON = {"Content-Type": "application/json"}
EARLY = {"detail": "The request ended early. Nothing was stored."}


@pytest.fixture
def server(shared_server):
    """The shared one, without datasets."""
    shutil.rmtree(shared_server.home / "datasets", ignore_errors=True)
    return shared_server


ADDRESS = "/api/datasets?dataset_name=mine&dataset_version=v1"


def form(rows: bytes, end: bytes = b"\r\n--BOUND--\r\n") -> bytes:
    parts = b"".join(
        b'--BOUND\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair
        for pair in ((b"dataset_name", b"mine"), (b"dataset_version", b"v1"))
    )
    file = b'--BOUND\r\nContent-Disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n'
    return parts + file + rows + end


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def left_over(server) -> list[str]:
    """What uploads have left below the server's home."""
    home = server.home
    below = [path for place in ("datasets", "tmp") for path in (home / place).rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(home)) for path in below)


def assert_left_over(server, wanted):
    """What lies there when the answer's last acts are done: a form's temporary file goes after the answer."""
    deadline = time.monotonic() + 10
    while left_over(server) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_over(server) == wanted


STORED = ["datasets/mine-v1/data.jsonl", "datasets/mine-v1/manifest.json"]


def test_chunks_without_a_length_are_a_whole_upload(server):
    rows = arithmetic_rows(1000)
    answer = server.request("POST", ADDRESS, (rows[at : at + 777] for at in range(0, len(rows), 777)), ROWS)
    assert (answer.status_code, answer.json()["row_count"]) == (201, 1000)
    assert (server.home / STORED[0]).read_bytes() == rows


def test_chunks_without_a_length_are_a_whole_json_body(server):
    body = json.dumps(LAUNCH).encode()
    answer = server.request("POST", "/api/tunix/run", iter([body[:9], body[9:]]), JSON)
    assert (answer.status_code, answer.json()["message"]) == (200, "Dry-run failed: dataset not found")


def test_chunks_of_more_than_a_mebibyte_of_json_are_413(server):
    chunks = iter([b'{"model_id": "'] + [b"x" * 65_536] * 40)
    answer = server.request("POST", "/api/tunix/run", chunks, JSON)
    assert (answer.status_code, answer.json()["detail"]) == (413, "A JSON body may have 1,048,576 bytes.")


def test_a_form_must_announce_its_length(server):
    answer = server.request("POST", "/api/datasets", iter([form(arithmetic_rows())]), FORM)
    assert answer.status_code == 411
    assert "application/x-ndjson" in answer.json()["detail"]
    assert_left_over(server, [])


@pytest.mark.parametrize("cut", [1, 39, 40, 5_000])
def test_rows_that_are_cut_off_leave_nothing(server, cut):
    """Also where the cut is between two rows, and what came is good by itself."""
    rows = arithmetic_rows(1000)
    announced = head("POST", ADDRESS, ROWS | {"Content-Length": str(len(rows))})
    answer = server.send_raw(announced + rows[: len(rows) - cut])
    assert (answer.status_code, answer.json()) == (400, EARLY)
    assert_left_over(server, [])
    assert server.get("/api/datasets/mine-v1").status_code == 404


def test_chunks_that_are_cut_off_leave_nothing(server):
    rows = arithmetic_rows(100)
    announced = head("POST", ADDRESS, ROWS | {"Transfer-Encoding": "chunked"})
    answer = server.send_raw(announced + b"%x\r\n%s\r\n" % (len(rows), rows))  # without the last chunk, of no bytes
    assert (answer.status_code, answer.json()) == (400, EARLY)
    assert_left_over(server, [])


def test_chunks_that_are_none_leave_nothing(server):
    announced = head("POST", ADDRESS, ROWS | {"Transfer-Encoding": "chunked"})
    answer = server.send_raw(announced + b"5\r\n{}\n\n\n\r\nzz\r\nnonsense")
    assert answer.status_code == 400
    assert_left_over(server, [])


@pytest.mark.parametrize("rows", [10, 100_000], ids=["in memory", "in a file"])
def test_a_form_that_is_cut_off_leaves_nothing(server, rows):
    whole = form(arithmetic_rows(rows))
    announced = head("POST", "/api/datasets", FORM | {"Content-Length": str(len(whole))})
    for cut in (len(whole) - 16, len(whole) - 100, 300):
        answer = server.send_raw(announced + whole[:cut])
        assert (answer.status_code, answer.json()) == (400, EARLY)
    assert_left_over(server, [])


def test_a_form_of_megabytes_is_stored(server):
    rows = arithmetic_rows(100_000)
    assert server.request("POST", "/api/datasets", form(rows), FORM).status_code == 201
    assert (server.home / STORED[0]).read_bytes() == rows
    assert_left_over(server, STORED)


def test_json_that_is_cut_off_is_no_launch(server):
    before = server.get("/api/tunix/runs").content
    body = json.dumps(LAUNCH).encode()
    announced = head("POST", "/api/tunix/run", JSON | {"Content-Length": str(len(body) + 1)})
    answer = server.send_raw(announced + body)
    assert (answer.status_code, answer.json()) == (400, EARLY)
    assert server.get("/api/tunix/runs").content == before


@pytest.mark.parametrize("same", [True, False], ids=["the same content", "different contents"])
def test_uploads_to_two_processes_at_once(home, database, same):
    """As many keys as it takes to meet: each is won once, and its manifest is that of its data."""
    with running_server(home, database.url, WEB_CONCURRENCY="2") as server, ThreadPoolExecutor(4) as pool:
        for number in range(5):
            address = f"/api/datasets?dataset_name=race&dataset_version=v{number}"
            contents = [arithmetic_rows(3000 + (0 if same else each)) for each in range(4)]
            answers = list(pool.map(lambda rows, to=address: server.request("POST", to, rows, ROWS), contents))
            assert sorted(answer.status_code for answer in answers) == (
                [200] * 3 + [201] if same else [201] + [409] * 3
            )
            data = (server.home / f"datasets/race-v{number}/data.jsonl").read_bytes()
            manifest = server.get(f"/api/datasets/race-v{number}").json()
            assert manifest["sha256"] == hashlib.sha256(data).hexdigest()
        assert len(left_over(server)) == 10


FULL = {"detail": "There is no room on the disk for this dataset. Nothing was stored."}


@pytest.mark.parametrize("kind", ["rows", "form"])
def test_a_full_disk_is_507_and_leaves_nothing(home, database, kind):
    """The kernel refuses this server every file of more than 2 MB; what it says then is treated as a full disk."""
    rows = arithmetic_rows(100_000)
    assert len(rows) > 4_000_000
    limited = [shutil.which("prlimit") or "prlimit", "--fsize=2000000"]
    with running_server(home, database.url, before=limited) as server:
        sent = (ADDRESS, rows, ROWS) if kind == "rows" else ("/api/datasets", form(rows), FORM)
        answer = server.request("POST", *sent)
        assert (answer.status_code, answer.json()) == (507, FULL)
        assert_left_over(server, [])
        assert server.request("POST", ADDRESS, arithmetic_rows(), ROWS).status_code == 201
        assert "Traceback" not in server.log


def test_a_large_upload_takes_little_memory(server):
    """100 MB come and go, by a server that may not grow by half of that."""
    block = b'{"prompt": "%s", "response": "y"}\n' % (b"x" * 970) * 1000
    before = peak_memory(server)
    answer = server.request("POST", ADDRESS, (block for _ in range(100)), ROWS)
    assert answer.json()["bytes"] > 100_000_000
    assert len(server.get("/api/datasets/mine-v1/data").content) == answer.json()["bytes"]
    assert peak_memory(server) - before < 50_000_000


def peak_memory(server) -> int:
    """The most memory that the server's only worker ever had, in bytes."""
    (worker,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())[1]) * 1024

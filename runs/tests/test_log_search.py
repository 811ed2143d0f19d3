"""A search through a log: what it finds, how far it gets, and what becomes of everybody else meanwhile."""

import os
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import logs, logscan, logsearch
from runs.logscan import Scan
from runs.tests.databases import new_database
from runs.tests.helpers import NOBODY, assert_error, create_run
from runs.tests.server import running_server

USUAL = b"step 1200 \x1b[32mloss\x1b[0m 0.4312 a line as trainers write them, with a number of characters\n"


def scan(data, text, *, offset=0, number=1, seconds=60.0, **options):
    found = Scan(lambda begin, count: data[begin : begin + count], text, **options)
    hits = [(hit.number, hit.offset, hit.text) for hit in found.hits(offset, number, time.monotonic() + seconds)]
    return hits, found.outcome


# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text", "expected"),
    [
        (b"a\nLoss NaN\nb\nloss nan", "LOSS nan", [(2, 2, "Loss NaN"), (4, 13, "loss nan")]),
        ("Потеря\nx\nпотеря 3".encode(), "ПОТЕРЯ", [(1, 0, "Потеря"), (3, 15, "потеря 3")]),
        ("Größe\nSTRASSE\nStraße".encode(), "straße", [(2, 8, "strasse"), (3, 16, "strasse")]),
        (b"loss: \x1b[31mnan\x1b[0m here", "loss: nan", [(1, 0, "loss: nan here")]),
        (b"a\0b\n\xff\xfe needle \xff\n", "needle", [(2, 4, " needle ")]),
        ("损失 0.5 \n".encode() + b"\xe6\x8d", "损失", [(1, 0, "损失 0.5 ")]),
        (b"windows line\r\nneedle\r\n", "needle", [(2, 14, "needle\r")]),
        (b"10%|#\r50%|##\r100%|###\n", "50%", [(1, 0, "10%|#\r50%|##\r100%|###")]),
        (b"needle needle needle\n", "needle", [(1, 0, "needle needle needle")]),
        (b"", "needle", []),
        (b"needle", "", []),
        (b"a\nb", "a\nb", []),
        (b"-e -f /etc/passwd\n", "-f /etc/passwd", [(1, 0, "-e -f /etc/passwd")]),
        (b"$(id) `id` .* [a-z]\n", ".*", [(1, 0, "$(id) `id` .* [a-z]")]),
    ],
)
def test_what_is_found(data, text, expected):
    assert scan(data, text)[0] == expected


@given(
    st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=30),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=3),
    st.sampled_from([8, 64, 1000]),
)
def test_every_line_that_has_it_is_found_with_its_number(lines, text, piece):
    data = b"\n".join(lines)
    wanted = [n for n, line in enumerate(lines, 1) if text.lower().encode() in logscan.visible(line).lower()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logscan, "PIECE_BYTES", piece * 8)
        patch.setattr(logscan, "SHARED_BYTES", piece * 4)
        hits, outcome = scan(data, text)
    assert [number for number, _, _ in hits] == wanted
    assert all(data[:offset].count(b"\n") == number - 1 for number, offset, _ in hits)
    assert outcome.next_offset is None and outcome.searched == len(data)


def test_a_line_of_two_hundred_megabytes_is_one_hit():
    data = b"x" * 120_000_000 + b"needle" + b"y" * 80_000_000 + b"needle\nafter needle\n"
    hits, outcome = scan(data, "NEEDLE")
    assert [(number, offset) for number, offset, _ in hits] == [(1, 0), (2, 200_000_013)]
    assert all("needle" in text and len(text) < 1_000 for _, _, text in hits)
    assert outcome.next_offset is None


def test_a_million_empty_lines_are_no_trouble():
    data = b"\n" * 1_000_000 + b"needle\n" * 100
    began = time.monotonic()
    hits, _ = scan(data, "needle")
    assert [number for number, _, _ in hits] == list(range(1_000_001, 1_000_101)) and time.monotonic() - began < 10


@given(st.integers(1, 7), st.integers(1, 60))
def test_one_that_is_gone_on_with_finds_the_rest(most, lines):
    data = b"".join(b"line %d\n" % number for number in range(1, lines + 1))
    seen, offset, number = [], 0, 1
    while offset is not None:
        hits, outcome = scan(data, "line", offset=offset, number=number, most=most)
        seen += hits
        offset, number = outcome.next_offset, outcome.next_number
    assert [(number, text) for number, _, text in seen] == [(n, f"line {n}") for n in range(1, lines + 1)]


def test_a_time_that_is_over_says_how_far_it_got():
    hits, outcome = scan(b"needle\n" * 10, "needle", seconds=-1)
    assert hits == [] and (outcome.searched, outcome.next_offset, outcome.next_number) == (0, 0, 1)


# --- a process of its own ---------------------------------------------------------------------------------------------


@pytest.fixture
def run(db):
    return create_run(mode="local", status="running")


def write(run, data, times=1):
    path = logs.path(run, "stdout")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for _ in range(times):
            file.write(data)
    return path


def searches():
    return [process for process in psutil.Process().children() if "logscan.py" in " ".join(process.cmdline())]


def test_the_time_limit_says_how_far_and_where_to_go_on(run, client, api, monkeypatch):
    monkeypatch.setattr(logsearch, "SECONDS", 0.05)
    write(run, USUAL * 12_000, 150)
    found = logsearch.search(run, "stdout", "not there")
    assert 0 < found.searched < found.size == 150 * 12_000 * len(USUAL)
    assert found.next_offset == found.searched and found.next_offset % len(USUAL) == 0
    assert found.next_number == found.next_offset // len(USUAL) + 1
    page = client.get(f"/runs/{run.run_id}/log/?find=not there").content.decode()
    assert "is not in what was searched of stdout" in page and "Search on from there" in page
    assert "searched " in page and " of " in page
    answer = api.get(
        f"/api/tunix/runs/{run.run_id}/logs/search?find=not there&offset={found.next_offset}&number=7"
    ).json()
    assert answer["searched"] > found.searched and answer["next_number"] > 7


def test_a_log_that_is_made_shorter_meanwhile_kills_nobody(run):
    path = write(run, USUAL * 12_000, 100)

    def shorten():
        while not stop.is_set():
            os.truncate(path, 0)
            write(run, USUAL * 12_000, 3)

    stop = threading.Event()
    thread = threading.Thread(target=shorten)
    thread.start()
    try:
        for _ in range(5):
            logsearch.search(run, "stdout", "not there")
    finally:
        stop.set()
        thread.join()


def test_a_search_ends_when_nobody_waits_for_it(run):
    write(run, USUAL * 12_000, 200)
    began = time.monotonic()
    asked = []
    found = logsearch.search(run, "stdout", "not there", gone=lambda: asked.append(1) or len(asked) > 2)
    assert time.monotonic() - began < 3 and found.next_offset == 0
    assert searches() == []


def test_a_search_that_was_killed_gives_what_it_had(run, monkeypatch):
    write(run, b"needle\n" + USUAL * 12_000, 200)
    stopped = threading.Thread(
        target=lambda: [time.sleep(0.01) for _ in range(500) if not [p.kill() for p in searches()]]
    )
    stopped.start()
    found = logsearch.search(run, "stdout", "not there")
    stopped.join()
    assert found.next_offset is not None or found.searched == found.size


def test_the_next_waits_a_while_and_is_told_then(run, client, api, monkeypatch):
    monkeypatch.setattr(logsearch, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(logsearch, "AT_ONCE", 1)
    write(run, b"needle\n")
    with logsearch._slot():
        began = time.monotonic()
        with pytest.raises(logsearch.Busy):
            logsearch.search(run, "stdout", "needle")
        assert time.monotonic() - began >= 0.2
        page = client.get(f"/runs/{run.run_id}/log/?find=needle")
        assert page.status_code == 200 and "Other searches are running" in page.content.decode()
        answer = api.get(f"/api/tunix/runs/{run.run_id}/logs/search?find=needle")
        assert_error(answer, 503, "Other searches are running. Try again in a few seconds.")
        assert answer.headers["Retry-After"] == "5"
    assert len(logsearch.search(run, "stdout", "needle").hits) == 1


def test_the_api(run, api):
    write(run, b"one\nLoss \x1b[31mnan\x1b[0m\nthree\n")
    answer = api.get(f"/api/tunix/runs/{run.run_id}/logs/search?find=loss NAN")
    assert answer.status_code == 200
    assert answer.json() == {
        "stream": "stdout", "find": "loss NAN", "hits": [{"number": 2, "offset": 4, "text": "Loss nan"}],
        "searched": 28, "size": 28, "next_offset": None, "next_number": None,
    }  # fmt: skip
    for query in (
        "",
        "?find=",
        "?find=" + "x" * 201,
        "?find=a&offset=-1",
        "?find=a&number=0",
        "?find=a&stream=x",
        "?q=a",
    ):
        assert_error(api.get(f"/api/tunix/runs/{run.run_id}/logs/search{query}"), 422)
    assert_error(api.get(f"/api/tunix/runs/{NOBODY}/logs/search?find=a"), 404)


def test_a_needle_is_no_option_and_no_process_shows_it(run):
    write(run, USUAL * 12_000, 100)
    seen = set()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(logsearch.search, run, "stdout", "--version secret-needle")
        while not future.done():
            for process in searches():
                seen.add(" ".join(process.cmdline()))
    assert future.result().hits == [] and seen and not any("secret" in each for each in seen)


# --- on a real server -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("beside") / "server"
    home.mkdir()
    with new_database(home) as database, running_server(home, database.url, pages=True) as server:
        yield server


@pytest.fixture
def large_log(server):
    """A run with a log of 256 MB in the server's own home."""
    record = server.post("/api/tunix/run", {"dataset_key": "none", "model_id": "m"}).json()
    run_id = record["run_id"]
    server.manage(
        "shell", "-c", f"from runs.models import TunixRun; TunixRun.objects.filter(pk='{run_id}').update(mode='local')"
    )
    path = server.home / "runs" / run_id / "stdout.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for _ in range(250):
            file.write(USUAL * 12_000)
    yield f"/runs/{run_id}/log/?find=is-not-there"
    path.unlink()


@pytest.mark.alone
def test_two_tabs_that_search_a_large_log_leave_others_their_time(server, large_log):
    """Two readers search 256 MB again and again; what everybody else's page costs at most doubles."""

    def others(seconds):
        times, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            assert server.get("/runs/").status_code == 200
            times.append(time.monotonic() - began)
        return statistics.median(times)

    others(2)
    peace = others(4)
    stop = threading.Event()

    def tab():
        count = 0
        while not stop.is_set():
            assert server.get(large_log).status_code == 200
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        tabs = [pool.submit(tab) for _ in range(2)]
        time.sleep(1)
        war = others(10)
        stop.set()
        assert all(each.result() for each in tabs)
    print(f"median of others: {peace * 1000:.0f} ms in peace, {war * 1000:.0f} ms beside two searches")
    assert war < 2 * peace + 0.005


def test_who_goes_away_from_a_real_server_ends_the_search(server, large_log):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {large_log} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        deadline = time.monotonic() + 20
        while not (found := searching(server)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    psutil.wait_procs(found, timeout=2)
    assert not [each for each in found if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def searching(server):
    found = []
    for process in psutil.Process(server.pid).children(recursive=True):
        try:
            if any("logscan.py" in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found

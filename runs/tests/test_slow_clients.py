"""Clients that take their time, by fault or on purpose: served when their request is there, and nobody waits for them."""

import socket
import statistics
import threading
import time
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPResponse

import pytest

from runs.tests.databases import new_database
from runs.tests.helpers import arithmetic_rows
from runs.tests.server import running_server

HEAD = b"GET /api/tunix/runs HTTP/1.1\r\nHost: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
CONNECTIONS = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("slow") / "server"
    home.mkdir()
    with new_database(home) as database, running_server(home, database.url) as server:
        yield server


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def answer_of(connection):
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def sent_in_pieces(server, *pieces, pause=0.05):
    with connect(server) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        return answer_of(connection)[0]


def test_a_request_in_pieces_is_served_when_it_is_whole(server):
    body = b'{"dataset_key": "a-v1", "model_id": "a/b"}'
    post = b"POST /api/tunix/run HTTP/1.1\r\nHost: localhost\r\n" + JSON
    assert sent_in_pieces(server, b"G", b"ET /api/tunix/runs HT", HEAD[22:], b"\r", b"\n") == 200
    assert sent_in_pieces(server, post, b"Content-Length: %d\r\n\r\n" % len(body), body[:9], body[9:]) == 200
    assert sent_in_pieces(server, post + b"content-LENGTH:%d\r\n\r\n" % len(body) + body) == 200
    chunked = b"%x\r\n%s\r\n" % (len(body), body)
    assert (
        sent_in_pieces(server, post, b"Transfer-Encoding: chunked\r\n\r\n", chunked[:5], chunked[5:], b"0\r\n\r\n")
        == 200
    )


def test_a_large_body_in_pieces_is_served(server):
    rows = arithmetic_rows(5_000)
    head = (
        b"POST /api/datasets?dataset_name=slow&dataset_version=v1 HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % len(rows)
    )
    assert len(rows) > 64 * 1024
    assert sent_in_pieces(server, head, *(rows[at : at + 30_000] for at in range(0, len(rows), 30_000))) == 201


def test_who_waits_to_be_told_to_go_on_is_told(server):
    body = b'{"dataset_key": "a-v1", "model_id": "a/b"}'
    with connect(server) as connection:
        connection.sendall(
            b"POST /api/tunix/run HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            + JSON + b"Content-Length: %d\r\n\r\n" % len(body)
        )  # fmt: skip
        assert connection.recv(25).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert answer_of(connection)[0] == 200


def test_one_connection_is_used_again_and_again(server):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    for _ in range(3):
        connection.request("GET", "/api/tunix/runs")
        assert connection.getresponse().read()
        own = connection.sock
    connection.sock.sendall(HEAD[:20])
    time.sleep(0.2)
    connection.sock.sendall(HEAD[20:] + b"\r\n" + HEAD + b"\r\n")  # and two at once
    assert connection.sock is own
    assert answer_of(connection.sock)[0] == 200
    connection.close()


@pytest.mark.parametrize(
    "rubbish", [b"\r\n\r\n", b"GET\r\n\r\n", b"\0" * 100 + b"\r\n\r\n", b"x" * 100_000, b"\x16\x03\x01\r\n\r\n"]
)
def test_rubbish_is_answered_or_closed(server, rubbish):
    with connect(server) as connection:
        connection.sendall(rubbish)
        assert connection.recv(100)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 414", b"HTTP/1.1 431")
    assert server.get("/healthz").status_code == 200


def test_half_a_request_is_given_up_after_ten_seconds(server):
    began = time.monotonic()
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(server)) for _ in range(3)]
        waiting[1].sendall(HEAD)
        waiting[2].sendall(b"POST /api/tunix/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        for connection in waiting:
            with suppress(ConnectionResetError):
                assert connection.recv(100) == b""
    assert 8 < time.monotonic() - began < 25


KINDS = {
    "nothing": b"",
    "a head that does not end": HEAD + b"X-A: ",
    "a small body that does not end": b"POST /api/tunix/run HTTP/1.1\r\nHost: localhost\r\n" + JSON + b"Content-Length: 999\r\n\r\n{",
    "uploads that do not end": b"POST /api/datasets?dataset_name=x&dataset_version=v1 HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/x-ndjson\r\nContent-Length: 9999999\r\n\r\n{",
    "chunks that do not end": b"POST /api/tunix/run HTTP/1.1\r\nHost: localhost\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
}  # fmt: skip


def median_seconds(server, count=40):
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        assert server.get("/api/tunix/runs").status_code == 200
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_slow_connections_slow_nobody_else(server, kind):
    before = median_seconds(server)
    stop = threading.Event()
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.sendall(KINDS[kind])

        def trickle():
            while not stop.wait(1):
                for connection in connections:
                    with suppress(OSError):
                        connection.sendall(b"a" if KINDS[kind] else b"")

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        during = median_seconds(server)
        stop.set()
        thread.join()
    print(f"{CONNECTIONS} connections with {kind}: median {during * 1000:.1f} ms, before {before * 1000:.1f} ms")
    assert during <= 2 * before

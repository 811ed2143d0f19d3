"""Attacks on a real server that requires a login: by those who have no account, and by those who have a small role.

After each: no 5xx but those that say something, no file outside of the home, memory within its bound, and another user's
median latency beside the attack. What was tried, and how often, is printed.
"""

import asyncio
import gzip
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import urlencode

import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from runs.tests.accounts import FORM, Browser, server_with_people
from runs.tests.addresses import addresses
from runs.tests.helpers import LAUNCH, NOBODY, arithmetic_rows

pytestmark = pytest.mark.fuzz
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1000"))
# Not available here, the database or the dispatcher away, the disk almost full: each is a sentence.
SAID = {501, 503, 507}
MOST_BYTES = 300 * 1024 * 1024
PEACE_SECONDS = 3
OTHER_USER = """
import http.client, sys, time
port, token = int(sys.argv[1]), sys.argv[2]
while True:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/api/tunix/runs", headers={"Authorization": "Bearer " + token})
    assert connection.getresponse().read()
    print(time.perf_counter() - began, flush=True)
    time.sleep(0.05)
"""
TRAVERSALS = [
    "../x", "..", ".", "../../../../etc/passwd", "/etc/passwd", "//etc/passwd", "....//....//etc/passwd", "..\\..\\etc\\passwd",
    "%2e%2e/%2e%2e/etc/passwd", "%2e%2e%2fetc%2fpasswd", "..%2f..%2fetc%2fpasswd", "%252e%252e%252fetc%252fpasswd", "..%c0%af..%c0%afetc/passwd",
    "..%00/etc/passwd", "a/../../b", "./..", "~root", "$HOME", "file:///etc/passwd", "/proc/self/environ", "..;/etc/passwd",
    "a%0ab", "con", "nul", "x" * 300, "\u2025/etc/passwd", "\uff0e\uff0e/etc/passwd", "/dev/zero", "/dev/full", ".incoming", "tunix-rt.sqlite3",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("beside") / "server"
    with server_with_people(home, TUNIX_RT_LAUNCHES_PER_MINUTE="0", WEB_CONCURRENCY="2") as server:
        server.tokens = {"viewer": token_of(server, "viewer"), "operator": token_of(server, "operator")}
        headers = as_(server, "operator") | {"Content-Type": "application/x-ndjson"}
        server.post("/api/datasets?dataset_name=arithmetic&dataset_version=v1", arithmetic_rows(), **headers)
        for _ in range(5):
            server.post("/api/tunix/run", LAUNCH, **as_(server, "operator"))
        yield server


def token_of(server, role):
    browser = Browser(server)
    browser.log_in(role)
    page = browser.send("/account/", name="campaign", scope="write", days="7").content.decode()
    return page.partition('<code class="token">')[2].partition("</code>")[0]


def as_(server, role):
    return {"Authorization": f"Bearer {server.tokens[role]}"} if role in server.tokens else {}


def outside(server):
    """What lies beside the home."""
    return sorted(str(path) for path in server.home.parent.rglob("*") if server.home not in (path, *path.parents))


def memory(server):
    """Bytes that the web server's processes have, what they share counted once."""
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes)


@contextmanager
def other_user(server):
    """Somebody who reads the list ten times a second; gives the seconds that each took."""
    command = [sys.executable, "-c", OTHER_USER, str(server.port), server.tokens["viewer"]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(float(line) for line in process.stdout), daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        process.terminate()
        process.wait()


@contextmanager
def campaign(server, name):
    """Counts answers by status. Another user's median may at most double, beside what it is before and after, in peace."""
    with other_user(server) as taken:
        time.sleep(PEACE_SECONDS)
        before, peace = outside(server), taken.copy()
        most, stop = [memory(server)], threading.Event()

        def watch():
            with suppress(psutil.NoSuchProcess):
                while not stop.wait(0.3):
                    most.append(memory(server))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        taken.clear()
        answers = Counter()
        began = time.monotonic()
        try:
            yield answers
            seconds = time.monotonic() - began
            while len(taken) < 5:
                time.sleep(0.1)
            attacked = statistics.median(taken)
        finally:
            stop.set()
            watcher.join()
        taken.clear()
        time.sleep(PEACE_SECONDS)
        peaceful = statistics.median(peace + taken)
    print(
        f"\n{name}: {answers.total():,} requests in {seconds:.0f} s: "
        + ", ".join(f"{count:,} × {status}" for status, count in sorted(answers.items()))
        + f"; another user {attacked * 1000:.0f} ms, in peace {peaceful * 1000:.0f} ms;"
        + f" memory {max(most) / 1e6:.0f} MB at most"
    )
    assert not {status for status in answers if status >= 500} - SAID, answers
    assert outside(server) == before
    assert max(most) < MOST_BYTES
    assert server.get("/healthz").status_code == 200
    assert "Traceback" not in server.log
    assert attacked <= 2 * peaceful


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    return arithmetic_rows(3)


@pytest.mark.parametrize("role", ["stranger", "viewer", "operator"])
def test_what_the_document_allows_and_what_it_does_not(server, role):
    """EXAMPLES requests of each role; half are as the API's document has them, half are not."""
    schema = schemathesis.openapi.from_url(
        f"http://127.0.0.1:{server.port}/api/schema", headers=as_(server, "viewer"), wait_for_schema=10
    )
    operations = [each.ok() for each in schema.get_all_operations()]
    # A stranger meets one door, whatever he says.
    wanted = EXAMPLES // 10 if role == "stranger" else EXAMPLES
    with campaign(server, f"the document, as {role}") as answers:
        # Of some calls there is not much to say: the others make up for it.
        while answers.total() < wanted:
            each = max(2, (wanted - answers.total()) // len(operations) // 2)
            for operation in operations:
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    _play(operation, mode, each, as_(server, role), answers)


def _play(operation, mode, count, headers, answers):
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def play(case):
        if operation.path.endswith("/run") and isinstance(case.query, dict):
            case.query.pop("wait", None)  # it would only wait
        answer = case.call(headers=headers)
        answers[answer.status_code] += 1
        assert answer.status_code < 500 or answer.status_code in SAID, (case.as_curl_command(), answer.text[:500])

    # Of a call without parameters nothing wrong can be said.
    with suppress(schemathesis.errors.InvalidSchema, Unsatisfiable):
        play()


# What pages and forms take, and what nobody expects there.
FIELDS = [
    "q", "status", "page", "sort", "columns", "run", "find", "stream", "offset", "limit", "before", "actor", "act",
    "name", "query", "tag", "tags", "notes", "action", "sure", "all", "asked_at", "days", "scope", "dataset_key",
    "model_id", "num_epochs", "learning_rate", "priority", "reproduces", "output_dir", "purge", "resume", "repeat",
    "dataset", "scale", "first_step", "after", "line", "size", "seen", "file", "next", "format", "cursor",
    "started_after", "_selected_action", "o", "p", "e", "started_at__year", "username", "email", "groups", "_save",
]  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "0", "-1", "9" * 30, "NaN", "1e999", "\0", "../x", "<script>", "on", "'", "%00", "(", "{run}"]
    ),
)
PARTS = st.one_of(
    st.just("{run}"), st.sampled_from(["0", "9" * 30, "..", "%00", "%ff", "a" * 300, NOBODY, "arithmetic-v1"])
)
# Who leaves, or fails to come in, is not heard for a while.
LEFT_OUT = {"login", "logout", "admin:login", "admin:logout"}


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_pages_and_their_forms(server, role):
    """Every address with fields that it has and has not, in a browser; the API's as well, which are pages there."""
    browser = Browser(server)
    browser.log_in(role)
    there = json.loads(browser.ask("GET", "/api/tunix/runs").content)["data"][0]["run_id"]
    paths = st.sampled_from([path for name, path in addresses() if name not in LEFT_OUT])
    wanted = EXAMPLES // 2
    with campaign(server, f"pages and forms, as {role}") as answers:

        @given(
            paths,
            PARTS,
            st.sampled_from(["GET", "GET", "POST", "HEAD"]),
            st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4),
        )
        @settings(max_examples=wanted, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def ask(path, part, method, fields):
            address = path.replace("{run}", part).replace("{run}", there)
            said = urlencode({name: value.replace("{run}", there) for name, value in fields.items()})
            headers = {"Accept": "text/html"} | browser.token
            if method == "POST":
                answer = browser.ask("POST", address, said.encode(), **headers, **{"Content-Type": FORM})
            else:
                answer = browser.ask(method, f"{address}?{said}", **headers)
            answers[answer.status_code] += 1
            assert answer.status_code < 500 or answer.status_code in SAID, (method, address, said)

        ask()


WORDS = st.sampled_from(
    [
        b"GET",
        b"POST",
        b"DELETE",
        b"\0",
        b" ",
        b"\r\n",
        b"HTTP/1.1",
        b"HTTP/9",
        b":",
        b"Host: localhost",
        b"/",
        b"%",
        b"?",
    ]
)
LINES = st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=12).map(b"".join)


def test_what_is_no_http(server):
    with campaign(server, "what is no HTTP, or almost") as answers:

        @given(path=st.binary(max_size=60), line=LINES, body=st.binary(max_size=100), whole=st.booleans())
        @settings(
            max_examples=max(50, EXAMPLES // 10), deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        def send(path, line, body, whole):
            head = b"POST /" + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" if whole else b""
            answers[status_of(server, head + line + b"\r\n\r\n" + body)] += 1

        send()


def status_of(server, data):
    """0 where the connection was closed without an answer."""
    import http.client

    try:
        return server.send_raw(data).status_code
    except (OSError, http.client.HTTPException):
        return 0


def test_paths_that_lead_out(server):
    rows = {"Content-Type": "application/x-ndjson"} | as_(server, "operator")
    me, bodies = as_(server, "operator"), []
    browser = Browser(server)
    browser.log_in("operator")
    signed_in = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    with campaign(server, "paths that lead out") as answers:
        for text in TRAVERSALS:
            path = text.encode("utf-8").decode("latin-1").replace(" ", "%20")
            raw = path.replace("/", "%2F") if not path.startswith("%") else path
            for at in (path, raw):
                asked = [
                    ("GET", f"/api/datasets/{at}", None, me), ("GET", f"/api/datasets/{at}/data", None, me),
                    ("GET", f"/datasets/{at}/", None, signed_in), ("GET", f"/static/{at}", None, {}), ("GET", f"/{at}", None, signed_in),
                    ("GET", f"/api/tunix/runs/{at}", None, me), ("GET", f"/runs/{at}/log/", None, signed_in),
                    ("GET", f"/api/tunix/runs/{NOBODY}/checkpoints/{at}/download", None, me),
                    ("GET", f"/api/tunix/runs/{NOBODY}/logs?stream={at}", None, me),
                    ("POST", f"/api/datasets?dataset_name={at}&dataset_version=v1", arithmetic_rows(2), rows),
                    ("POST", f"/api/datasets?dataset_name=a&dataset_version={at}", arithmetic_rows(2), rows),
                ]  # fmt: skip
                for method, address, body, headers in asked:
                    try:
                        answer = server.request(method, address, body, headers)
                    except (ValueError, OSError):  # the client's library sends no such thing
                        continue
                    answers[answer.status_code] += 1
                    bodies.append(answer.content)
            for field in ("output_dir", "dataset_key", "model_id"):
                answer = server.post("/api/tunix/run", LAUNCH | {field: text}, **me)
                answers[answer.status_code] += 1
    assert not any(b"root:x:0" in body or b"TUNIX_RT_SECRET" in body for body in bodies)
    known = {"datasets", "runs", "static", "tmp", "unrecorded", "prometheus"}
    assert {path.name for path in server.home.iterdir() if path.is_dir()} <= known
    assert {path.name for path in (server.home / "datasets").iterdir()} <= {
        ".incoming",
        "arithmetic-v1",
        *_good_keys(server),
    }


def _good_keys(server):
    return {each["dataset_key"] for each in server.get("/api/datasets", **as_(server, "viewer")).json()["data"]}


GIGABYTES = 2


def test_bombs(server):
    rows = {"Content-Type": "application/x-ndjson"} | as_(server, "operator")
    upload = "/api/datasets?dataset_name=bomb&dataset_version=v1"
    line = b'{"prompt": "' + b"x" * (1024 * 1024 - 12)

    def endless():
        yield line
        for _ in range(GIGABYTES * 1024 - 1):
            yield b"x" * 1024 * 1024

    deep = b"[" * 500_000
    form = (
        b"".join(b'--B\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % n for n in range(20_000))
        + b"--B--\r\n"
    )
    json_ = {"Content-Type": "application/json"} | as_(server, "operator")
    with campaign(server, f"bombs, one of them a line of {GIGABYTES} GB") as answers:
        for path, body, headers in (
            (upload, endless(), rows),
            (upload, deep + b"\n", rows),
            (upload, b'{"prompt": ' + b'{"a":' * 200_000 + b"\n", rows),
            (upload, gzip.compress(arithmetic_rows(100_000)), rows | {"Content-Encoding": "gzip"}),
            (upload, b"\x1f\x8b\x08\x00 is no gzip", rows | {"Content-Encoding": "gzip"}),
            (upload, b"\n" * 50_000_000, rows),
            (upload, b"\0" * 5_000_000, rows),
            ("/api/datasets", form, rows | {"Content-Type": "multipart/form-data; boundary=B"}),
            ("/api/datasets", form, rows | {"Content-Type": "multipart/form-data; boundary=" + "B" * 5_000}),
            ("/api/tunix/run", deep, json_),
            ("/api/tunix/run", b'{"a":' * 150_000, json_),
            ("/api/tunix/run", b"1" * 1_000_000, json_),
            ("/api/tunix/run", json.dumps({str(n): n for n in range(50_000)}).encode(), json_),
            (
                f"/api/tunix/runs/{NOBODY}/metrics",
                json.dumps({"a": [{"step": 1, "value": 1}] * 20_000}).encode(),
                json_,
            ),
            (
                "/login/",
                b"&".join(b"a%d=1" % n for n in range(50_000)),
                {"Content-Type": "application/x-www-form-urlencoded"},
            ),
        ):
            answers[server.request("POST", path, body, dict(headers)).status_code] += 1
        for query in (
            "q=" + "(" * 150,
            "q=" + "not " * 40,
            "q=" + "a or " * 30 + "a",
            "status=" + "," * 4000,
            "tag=" + "a&tag=" * 900,
        ):
            answers[server.get(f"/api/tunix/runs?{query.replace(' ', '+')}", **as_(server, "viewer")).status_code] += 1
        answers[server.get("/api/tunix/runs", **{f"X-{n}": "x" * 4000 for n in range(90)}).status_code] += 1
    assert max(answers) < 500
    assert "bomb-v1" not in _good_keys(server)
    assert not list((server.home / "datasets" / ".incoming").iterdir())
    assert not list((server.home / "tmp").iterdir())


SENDERS = 24
ROW = b'{"prompt": "%s", "response": "1", "more": [%s0]}\n'
FACES = "\U0001f600".encode() * 220_000
# Too many parts; as many as are allowed, beside as much text as there is room for.
ROWS = list(enumerate([2 * (ROW % (b"1", b"[]," * 340_000)), 2 * (ROW % (FACES, b'{"":1},' * 6_600))]))


def test_bombs_of_many_senders_at_once(server):
    """As large as is allowed, of what is largest in memory; twice, since what is left of the first may pile up."""
    operator = as_(server, "operator")
    json_ = operator | {"Content-Type": "application/json"}
    ndjson_ = operator | {"Content-Type": "application/x-ndjson"}
    bombs = [
        ("/api/tunix/run", b"[" + b"[]," * 349_000 + b"1]", json_),
        ("/api/tunix/run", b"[" + b'{"":1},' * 19_000 + b"1]", json_),
        ("/api/tunix/run", b"[" + b'"aaaaa",' * 59_000 + b"1]", json_),
        ("/api/tunix/run", json.dumps(dict.fromkeys(map(str, range(29_000)))).encode(), json_),
        ("/api/tunix/run", b'{"model_id": "' + "\U0001f600".encode() * 262_000 + b'"}', json_),
        *((f"/api/datasets?dataset_name=bomb{number}&dataset_version=v1", rows, ndjson_) for number, rows in ROWS),
    ]
    with campaign(server, f"bombs of {SENDERS} senders at once") as answers, ThreadPoolExecutor(SENDERS) as senders:
        for path, body, headers in bombs:
            for answer in senders.map(
                lambda _, it=(path, body, headers): server.post(it[0], it[1], **it[2]), range(2 * SENDERS)
            ):
                answers[answer.status_code] += 1
    assert max(answers) < 500


READERS = 1_000


def test_a_crowd_reads_while_runs_are_launched(server):
    """A thousand connections at one moment, again and again."""

    async def read(answers):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"GET /api/tunix/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {server.tokens['viewer']}\r\n\r\n"
        writer.write(head.encode())
        answers[int((await reader.readline()).split()[1])] += 1
        await reader.read()
        writer.close()

    async def crowd(answers):
        await asyncio.gather(*(read(answers) for _ in range(READERS)))

    with campaign(server, f"{READERS:,} readers at once, three times") as answers:
        stop = threading.Event()
        launched = Counter()

        def launch():
            while not stop.is_set():
                launched[server.post("/api/tunix/run", LAUNCH, **as_(server, "operator")).status_code] += 1

        thread = threading.Thread(target=launch)
        thread.start()
        for _ in range(3):
            asyncio.run(crowd(answers))
        stop.set()
        thread.join()
    print(f"{launched[200]} runs were launched meanwhile")
    assert answers == {200: 3 * READERS}
    assert set(launched) == {200} and launched[200] > 3

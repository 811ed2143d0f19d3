"""1,000 hostile requests to a real server: each gets a 4xx and a sentence, none a 5xx, and no file leaves the home."""

import json
import random
import socket
from collections import Counter
from urllib.parse import quote

import pytest

from runs.tests.helpers import LAUNCH

COUNT = 1_000
SEED = 20251222

PATHS_OUT = [
    "../x", "../../etc/passwd", "/etc/passwd", "a/../../b", "..", "./..", "x/../..", "//etc", "/", "a/b/../../../c",
]  # fmt: skip
BAD_KEYS = [
    "../x", "..", ".", ".hidden", "a..b", "a/b", "/etc/passwd", "a\\b", "a b", "a\0b", "\0", "é", "a\nb", "-x", "", "%2e%2e",
    "a" * 257, "x;rm -rf /", "$(id)", "`id`", "<script>", "a'b", "..%2f..", "..%00/",
]  # fmt: skip
BAD_NUMBERS = [
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "0", "-1", "1e400", '"1"', "true", "[]", "{}", "null", '"NaN"',
    str(10**400), str(2**64), "-" + str(2**70), "1.5e308", '"\\u0000"',
]  # fmt: skip
BAD_WORDS = ["1", "null", "true", "[]", "{}", '["a"]', '"\\u0000"', '"\\ud800"', '""', "1.5", '"' + "x" * 600 + '"']
NUMBER_FIELDS = ["learning_rate", "num_epochs", "batch_size", "max_seq_length", "timeout_seconds"]
QUERIES = [
    "limit=0", "limit=101", "limit=abc", "limit=", "offset=-1", "offset=", "offset=99999999999999999999", "offset=1e3",
    "offset=%D9%A3", "status=done", "mode=x", "status=%00", "q=%00", "tag=a%00b", "cursor=AAAA", "cursor=%FF", "cursor=x&offset=1",
    "started_after=yesterday", "started_before=9999-99-99", "unknown=1", "limit=20;drop", "q=" + "x" * 1_300, "dataset_key=%00",
    "%00=1", "limit=1&limit=500", "status=" + ",".join(["completed"] * 1) + ",nope", "offset=0x10", "limit=%F0%9F%92%A9",
]  # fmt: skip
JSON = {"Content-Type": "application/json"}


def bad_body(chance: random.Random) -> bytes:
    """A body for a launch that is no good, whatever else it is."""
    good = {name: json.dumps(value) for name, value in LAUNCH.items()}
    kind = chance.randrange(12)
    if kind == 0:
        good[chance.choice(NUMBER_FIELDS)] = chance.choice([n for n in BAD_NUMBERS if n not in ("0", "1e400")] + ["-5"])
    elif kind == 1:
        good["output_dir"] = json.dumps(
            chance.choice(PATHS_OUT) + chance.choice(["", "/x"]) if chance.random() < 0.9 else "a\0b"
        )
        if not _leaves(json.loads(good["output_dir"])):
            good["output_dir"] = '"../x"'
    elif kind == 2:
        good["dataset_key"] = json.dumps(chance.choice(BAD_KEYS))
    elif kind == 3:
        good[chance.choice(["dataset_key", "model_id"])] = chance.choice(BAD_WORDS)
    elif kind == 4:
        good["dry_run"] = chance.choice(['"false"', "0", "1", "null", "[]", '"no"'])
    elif kind == 5:
        good[chance.choice(["dryrun", "DRY_RUN", "__proto__", "", "status", "run_id", "\\u0000"])] = "false"
    elif kind == 6:
        deep = chance.choice([50, 1_000, 5_000, 100_000])
        return b'{"dataset_key":' * deep + b"1" + b"}" * deep
    elif kind == 7:
        return chance.choice(
            [b"", b"{", b"[]", b"null", b'"x"', b"1", b"\xff\xfe", b"\x00", b'{"a":"\xff"}', b"{'a':1}", b"[" * 100_000]
        )
    elif kind == 9:
        name = chance.choice([*good, "dry_run"])
        value = good.get(name, "true")
        return (
            f'{{{json.dumps(name)}:{value},"model_id":"m2","dataset_key":"a-v2",{json.dumps(name)}:{value}}}'.encode()
        )
    elif kind == 10:
        good["dataset_key"] = f'"{"k" * chance.choice([257, 5_000, 1_100_000])}"'
    elif kind == 8:
        good["model_id"] = chance.choice(['"' + "m" * 257 + '"', '"\\u0000"', '"a\\u0000b"', '""', '"\\udfff"'])
    else:
        del good[chance.choice(["dataset_key", "model_id"])]
    return ("{" + ",".join(f'"{name}":{value}' for name, value in good.items()) + "}").encode("utf-8", "surrogatepass")


def _leaves(path: str) -> bool:
    return path.startswith("/") or ".." in path or "\0" in path


def hostile(chance: random.Random):
    """One request: method, path, body, headers."""
    kind = chance.randrange(14)
    if kind < 4:
        return "POST", "/api/tunix/run", bad_body(chance), JSON
    if kind == 4:
        return "GET", f"/api/tunix/runs?{chance.choice(QUERIES)}", None, {}
    if kind == 5:
        key = quote(chance.choice(BAD_KEYS), safe=chance.choice(["", "/"])) or "%00"
        return "GET", f"/api/datasets/{key}{chance.choice(['', '/data'])}", None, {}
    if kind == 6:
        run_id = chance.choice(
            ["x", "%00", "1" * 500, "..%2f..", "00000000-0000-0000-0000-00000000000g", "%ff%fe", "{}", "null"]
        )
        method = chance.choice(["GET", "DELETE", "PATCH", "POST"])
        return (
            method,
            f"/api/tunix/runs/{run_id}" + ("/restore" if method == "POST" else ""),
            b"{}" if method == "PATCH" else None,
            JSON,
        )
    if kind == 7:
        name, version = quote(chance.choice(BAD_KEYS)), quote(chance.choice(["v1", "../v1", "", "\0", ".."]))
        address = f"/api/datasets?dataset_name={name}&dataset_version={version}"
        rows = chance.choice([b"", b"{}\n", b"\xff\n", b'{"prompt": 1, "response": 2}\n', b"[" * 5_000, b"\0\0\0"])
        return "POST", address, rows, {"Content-Type": "application/x-ndjson"}
    if kind == 8:
        kinds = [
            "text/plain",
            "application/xml",
            "multipart/form-data",
            "multipart/form-data; boundary=()",
            "x",
            "application/json; charset=utf-16",
        ]
        return "POST", "/api/tunix/run", bad_body(chance), {"Content-Type": chance.choice(kinds)}
    if kind == 9:
        broken = b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../x"\r\n\r\n' + chance.choice(
            [b"", b"x", b"\xff" * 99]
        )
        return "POST", "/api/datasets", broken + b"\r\n--b", {"Content-Type": "multipart/form-data; boundary=b"}
    if kind == 10:
        method = chance.choice(["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "X" * 20])
        return (
            method,
            chance.choice(["/api/tunix/runs", "/api/tunix/run", "/api/datasets", "/api/tunix/status"]),
            None,
            {},
        )
    if kind == 11:
        query = chance.choice(
            ["&".join(f"{n}" for n in range(1_001)), "x" * 3_900, "%00" * 1_200, "q=" + "%ff" * 1_200]
        )
        return "GET", f"/api/tunix/runs?{query}", None, {}
    if kind == 12:
        headers = chance.choice(
            [{"Host": "evil.example"}, {"Host": "localhost:x"}, {"Origin": "http://evil.example"}, {"Origin": "http://[x"},
             {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}, {"Content-Encoding": "gzip", "Content-Type": "a/b"}]
        )  # fmt: skip
        return "POST", "/api/tunix/run", json.dumps(LAUNCH).encode(), JSON | headers
    address = chance.choice(
        [
            "/api/",
            "/api/tunix",
            "/api/%2e%2e/%2e%2e/etc/passwd",
            "/api/tunix/runs/a/b/c",
            "/api/datasets/x/y/z",
            "/api/\xff",
        ]
    )
    return "GET", quote(address, safe="/%"), None, {}


def everything_below(directory) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_a_thousand_hostile_requests(shared_server, capsys):
    server, chance, seen = shared_server, random.Random(SEED), Counter()
    beside = server.home.parent
    before = everything_below(beside)
    for number in range(COUNT):
        method, path, body, headers = hostile(chance)
        answer = server.request(method, path, body, headers)
        what = f"request {number}: {method} {path[:200]} {str(body)[:200]} -> {answer.status_code} {answer.content[:300]!r}"
        assert 400 <= answer.status_code < 500, what
        assert answer.headers["Content-Type"] == "application/json", what
        detail = answer.json()["detail"]
        assert isinstance(detail, str) and detail and "Traceback" not in detail, what
        seen[answer.status_code] += 1
    made = everything_below(beside) - before
    assert not {path for path in made if not path.startswith("server/")}, "nothing is made beside the home"
    assert not [path for path in made if path.startswith("server/datasets/") and ".incoming" not in path]
    assert json.loads(server.get("/api/tunix/runs").content)["data"] == [], "none of them was recorded"
    assert server.get("/healthz").status_code == 200
    assert "Internal Server Error" not in server.log
    with capsys.disabled():
        print(f"\n{COUNT} hostile requests: " + ", ".join(f"{count} × {code}" for code, count in sorted(seen.items())))


@pytest.mark.parametrize("path", ["/api/tunix/run", "/api/datasets"])
def test_ten_megabytes_of_json(shared_server, path):
    body = b'{"dataset_key": "' + b"x" * 10_000_000 + b'"}'
    answer = shared_server.request("POST", path, body, JSON)
    assert answer.status_code in (413, 415)
    assert answer.json()["detail"]


RAW = [
    b"GET /api/tunix/runs HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /api/tunix/runs?q=\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"POST /api/tunix/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n{}",
    b"POST /api/tunix/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{}",
    b"POST /api/tunix/run HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"NONSENSE\r\n\r\n",
]


@pytest.mark.parametrize("data", RAW, ids=range(len(RAW)))
def test_what_is_not_even_http_gets_a_4xx_or_nothing(shared_server, data):
    with socket.create_connection(("127.0.0.1", shared_server.port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        first = connection.makefile("rb").readline()
    assert first == b"" or first.split()[1].startswith(b"4"), first
    assert shared_server.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "line",
    [
        "SCRIPT_NAME: /zzz", "SCRIPT_NAME: /healthz", "PATH_INFO: /x", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: on",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off", "X-Forwarded-Host: evil.example", "X-Forwarded-For: 192.0.2.1",
    ],
)  # fmt: skip
def test_what_only_a_proxy_may_say_is_not_heard_without_one(shared_server, line):
    """Not even from this machine, which gunicorn itself would believe."""
    head = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{line}\r\n\r\n"
    answer = shared_server.send_raw(head.encode())
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "Strict-Transport-Security" not in answer.headers

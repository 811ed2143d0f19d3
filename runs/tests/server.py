"""A real server: gunicorn in processes of its own, with a home and a database of its own, spoken to over TCP."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from django.conf import settings

START_SECONDS = 60
ANSWER_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    status_code: int
    headers: Any
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Server:
    port: int
    home: Path
    environment: dict[str, str]
    log_path: Path
    pid: int

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own; a body that is no bytes or iterator is sent as JSON."""
        headers = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it has answered before it had read all
                connection.request(method, path, body, headers, encode_chunked=True)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.request("POST", path, body, headers)

    def send_raw(self, data: bytes, *, end: bool = True) -> Answer:
        """What comes back for these very bytes. `end` says that no more will come, as a sender that went away does."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS) as connection:
            with suppress(OSError):  # it has answered and closed before it had read all
                connection.sendall(data)
                if end:
                    connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection)
            response.begin()
            return Answer(response.status, response.headers, response.read())

    def manage(self, *arguments: str) -> str:
        """What `manage.py` says, run as the server runs."""
        return manage(self.environment, *arguments)


def environment_of(home: Path, database_url: str | None = None, **more: str) -> dict[str, str]:
    """The environment of a server in `home`, with nothing of the tests' own."""
    kept = {n: v for n, v in os.environ.items() if n in ("PATH", "HOME", "LANG") or n.startswith("COVERAGE_")}
    return (
        kept
        | {
            "TUNIX_RT_HOME": str(home),
            "DATABASE_URL": database_url or f"sqlite:///{home / 'tunix-rt.sqlite3'}",
            "TUNIX_RT_AUTH": "open",
            "TUNIX_RT_SECRET_KEY": "of-the-tests",
            "TUNIX_PYTHON": str(home / "no-tunix"),
            "WEB_CONCURRENCY": "1",
            "PYTHONUNBUFFERED": "1",
        }
        | more
    )


def manage(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def unprivileged() -> list[str]:
    """What stands before a command for which file modes count: root passes over them otherwise."""
    if os.geteuid() != 0:
        return []
    return [shutil.which("setpriv") or "setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@contextmanager
def running_server(
    home: Path,
    database_url: str | None = None,
    *,
    before: list[str] | None = None,
    pages: bool = False,
    **environment: str,
) -> Iterator[Server]:
    """gunicorn on a free port, its database migrated, answering; ended when the block ends.

    Without `database_url` it has an SQLite file in `home`. `before` is put before its command, `environment` over its
    own. Only with `pages` does it have the files that pages need.
    """
    home.mkdir(parents=True, exist_ok=True)
    wake = home / "dispatcher.wake"
    with suppress(FileExistsError):  # of a dispatcher that was here before
        os.mkfifo(wake)
    heard = os.open(wake, os.O_RDWR | os.O_NONBLOCK)  # as a dispatcher does, so that the server is ready
    values = environment_of(home, database_url, PORT=str(free_port()), **environment)
    _migrate(values)
    if pages:
        (home / "static").symlink_to(_collected())
    log_path = home / "server.log"
    command = [*(before or []), sys.executable, "-m", "gunicorn", "-c", "tunix_rt/gunicorn.conf.py"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=values, stdout=log, stderr=log, start_new_session=True
        )
    server = Server(int(values["PORT"]), home, values, log_path, process.pid)
    try:
        _wait_until_alive(server, process)
        yield server
    finally:
        os.close(heard)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_alive(server: Server, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            assert server.get("/healthz").status_code == 200
            return
        except OSError:
            ended = process.poll() is not None
            assert not ended and time.monotonic() < deadline, f"the server does not answer: {server.log}"
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _migrate(environment: dict[str, str]) -> None:
    url = environment["DATABASE_URL"]
    if url.startswith("sqlite:///"):
        shutil.copyfile(_migrated_sqlite(), url.removeprefix("sqlite:///"))
    else:
        manage(environment, "migrate", "--verbosity=0")


@lru_cache
def _collected() -> Path:
    """The static files, collected once."""
    home = Path(os.environ["TUNIX_RT_HOME"]) / "collected"
    manage(environment_of(home), "collectstatic", "--no-input", "--verbosity=0")
    return home / "static"


@lru_cache
def _migrated_sqlite() -> Path:
    """An empty SQLite database with every migration, made once."""
    home = Path(os.environ["TUNIX_RT_HOME"]) / "migrated"
    manage(environment_of(home), "migrate", "--verbosity=0")
    return home / "tunix-rt.sqlite3"

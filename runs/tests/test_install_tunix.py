"""Tunix is installed beside a server, and the server says how far: the real installer and uv, on small packages of ours."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings as project
from django.core.management import call_command

from runs import installation
from runs.models import Event
from runs.tests.helpers import LAUNCH, assert_error, create_run, executable
from runs.tests.packages import Index

SECONDS = 60
NAMES = [f"package{number:02}" for number in range(12)]


@pytest.fixture(scope="module")
def index():
    index = Index()
    yield index
    index.close()


@pytest.fixture(scope="module")
def lock(index):
    """Twelve packages, in two batches, and one for another system."""
    return "".join(index.add(name) for name in NAMES) + "other==1.0 ; sys_platform == 'win32' --hash=sha256:00\n"


@pytest.fixture
def clone(tmp_path, settings, lock):
    """A clone of the project whose lock is a small one; the server of this test has it beside itself."""
    path = tmp_path / "clone"
    (path / "scripts").mkdir(parents=True)
    for name in ("install_tunix.py", "uv_settings.py"):
        shutil.copy(project.BASE_DIR / "scripts" / name, path / "scripts")
    (path / ".venv").symlink_to(sys.prefix)
    (path / "requirements-tunix.txt").write_text(lock)
    settings.TUNIX_VENV = path / ".venv-tunix"
    settings.TUNIX_PYTHON = str(settings.TUNIX_VENV / "bin" / "python")
    return path


@contextmanager
def installer(clone, index, *options, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    kept |= {"UV_CACHE_DIR": str(clone / "cache"), "UV_HTTP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    kept |= {"PIP_INDEX_URL": index.url, "TUNIX_RT_HOME": str(project.TUNIX_RT_HOME), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "scripts/install_tunix.py", *options],
        cwd=clone,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def install(clone, index, **environment):
    with installer(clone, index, **environment) as process:
        output = process.communicate(timeout=SECONDS)[0]
        return process.returncode, output


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
    return found


@contextmanager
def held_up(index, name):
    """The index gives this package only when the block ends; what is yielded is set when it was asked for."""
    asked, release = threading.Event(), threading.Event()

    def stall(path):
        if path.startswith(f"/files/{name}-"):
            asked.set()
            release.wait(SECONDS)

    index.before = stall
    try:
        yield asked
    finally:
        index.before = lambda path: None
        release.set()


def failed_as(reason):
    return lambda: (found := installation.current()) is not None and reason in found.reason and found


def status(api):
    return api.get("/api/tunix/status").json()


def uv_of(process):
    """The uv that an installer has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(until(lambda: children.read_text().split())[0])


def test_it_is_put_in_place_whole_and_the_status_says_how_far_it_is(clone, index, api, lock):
    python = clone / ".venv-tunix/bin/python"
    with held_up(index, NAMES[-1]) as asked, installer(clone, index):
        assert asked.wait(SECONDS)
        body = status(api)
        assert body["installing"] == {"done": 8, "total": 12}
        assert (body["available"], body["message"]) == (False, "Tunix is being installed, 8 of 12 packages so far")
        detail = assert_error(api.post("/api/tunix/run", LAUNCH | {"dry_run": False}), 501)["detail"]
        assert "Tunix is being installed" in detail
        assert not python.exists()
    until(lambda: status(api)["installing"] is None)  # it was ended
    assert not python.exists()
    code, output = install(clone, index)
    assert code == 0, output
    done = subprocess.run([python, "-c", "import package00, package11"], check=False)
    assert done.returncode == 0
    assert (clone / ".venv-tunix/requirements-tunix.txt").read_text() == lock
    assert {each.name for each in clone.glob(".venv-tunix*")} == {".venv-tunix", ".venv-tunix.lock"}
    assert installation.current() is None


def test_what_has_come_is_available_at_once(clone, index, api, settings):
    assert status(api)["available"] is False
    fake = executable(clone / "python", "echo 0.1.7")
    (clone / ".venv-tunix/bin").mkdir(parents=True)
    fake.rename(settings.TUNIX_PYTHON)
    assert status(api)["version"] == "0.1.7", "not half a minute later"


def test_a_version_that_is_there_stays_until_the_next_is_complete(clone, index, lock):
    assert install(clone, index)[0] == 0
    (clone / "requirements-tunix.txt").write_text(lock + index.add("newer"))
    python = clone / ".venv-tunix/bin/python"
    assert install(clone, index, PIP_INDEX_URL="http://127.0.0.1:9/simple")[0] == 1
    assert subprocess.run([python, "-c", "import package00"], check=False).returncode == 0
    training = subprocess.Popen([python, "-c", "import time; time.sleep(1000)"])
    try:
        with installer(clone, index) as process:
            until(lambda: (clone / ".venv-tunix.new/requirements-tunix.txt").exists())
            time.sleep(0.5)
            assert process.poll() is None and (clone / ".venv-tunix.new").exists(), "a training keeps its packages"
            training.kill()
            training.wait()
            assert process.wait(SECONDS) == 0
    finally:
        training.kill()
    assert subprocess.run([python, "-c", "import newer"], check=False).returncode == 0


@pytest.mark.django_db
def test_a_failure_says_why_and_is_tried_again_by_a_button(clone, index, api, client):
    mirror = index.url
    with installer(clone, index, "--wait", PIP_INDEX_URL="http://127.0.0.1:9/simple") as process:
        until(failed_as("the package index cannot be reached: Connection refused"))
        page = client.get("/").content.decode()
        assert "Tunix could not be installed" in page and "Connection refused" in page and "Retry" in page
        assert status(api)["message"].endswith(": install it with `make tunix`")
        del index.asked[:]
        assert client.post("/training/install/").status_code == 302
        event = Event.objects.get(act="install")
        assert (event.actor, event.subject) == ("local", "Tunix")
        until(failed_as("Connection refused"))
        assert process.poll() is None
    with installer(clone, index, "--wait", PIP_INDEX_URL=mirror):
        until(lambda: (clone / ".venv-tunix/bin/python").exists())


@pytest.mark.django_db
def test_where_nobody_installs_there_is_nothing_to_retry(clone, client):
    (clone / ".venv-tunix.json").write_text('{"state": "failed", "reason": "no room"}')
    assert installation.current() is None
    answer = client.post("/training/install/", follow=True)
    assert "Nothing installs Tunix beside this server" in answer.content.decode()


def test_other_bytes_than_the_lock_says(clone, index, lock):
    changed = lock.replace(lock.split("sha256:")[1][:64], "0" * 64, 1)
    (clone / "requirements-tunix.txt").write_text(changed)
    with installer(clone, index, "--wait"):
        found = until(failed_as("Hash mismatch for `package00==1.0`"))
    assert found.can_retry and not (clone / ".venv-tunix").exists()


def test_uv_killed_is_a_failure_and_not_an_installation_for_ever(clone, index):
    with held_up(index, NAMES[0]) as asked, installer(clone, index, "--wait") as process:
        assert asked.wait(SECONDS)
        os.kill(uv_of(process), signal.SIGKILL)
        until(failed_as("the installer was ended by SIGKILL"))


def test_the_installer_killed_is_seen_by_its_lock_and_the_next_one_repairs(clone, index, api, data_dir):
    with held_up(index, NAMES[-1]) as asked, installer(clone, index, "--wait") as process:
        assert asked.wait(SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert json.loads((clone / ".venv-tunix.json").read_text())["state"] == "installing"
        until(lambda: status(api)["installing"] is None)
        assert status(api)["message"] == "Tunix is not installed: install it with `make tunix`"
        # Where another one listens beside this server it is a failure, with a button.
        listening = os.open(data_dir / "installer.wake", os.O_RDWR | os.O_NONBLOCK)
        assert installation.current().reason == "the installer was ended"
        os.close(listening)
    code, output = install(clone, index)
    assert code == 0, output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_uv_as_well(clone, index, number):
    with held_up(index, NAMES[0]) as asked, installer(clone, index, "--wait") as process:
        assert asked.wait(SECONDS)
        uv = uv_of(process)
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number
        assert not Path(f"/proc/{uv}").exists()


def test_of_two_one_installs_and_the_other_waits(clone, index):
    del index.asked[:]
    with installer(clone, index) as first, installer(clone, index) as second:
        outputs = [each.communicate(timeout=SECONDS)[0] for each in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), outputs
    assert sum("Installing Tunix" in each for each in outputs) == 1
    assert sum(path == f"/files/{NAMES[0]}-1.0-py3-none-any.whl" for _, path in index.asked) == 1


def test_without_room_nothing_is_begun(clone, index, monkeypatch):
    script = clone / "scripts/install_tunix.py"
    script.write_text(script.read_text().replace("NEEDED_BYTES = 2 * 1024**3", "NEEDED_BYTES = 2 * 1024**6"))
    del index.asked[:]
    code, output = install(clone, index)
    assert code == 1 and "GB are free" in output
    assert index.asked == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "error: Failed to install: humanize\n  cause: Failed to copy to `x`\n"
            "  cause: failed to copy file: No space left on device (os error 28)\n",
            "the disk is full",
        ),
        (
            "error: Request failed after 3 retries in 9.2s\n  cause: Failed to fetch: http://nowhere/\n"
            "  cause: error sending request for url (http://nowhere/)\n  cause: client error (Connect)\n  cause: dns error\n"
            "  cause: failed to lookup address information: Name or service not known\n",
            "the package index cannot be reached: failed to lookup address information: Name or service not known",
        ),
        (
            "error: Failed to fetch: https://x/\n  cause: error sending request for url (https://x/)\n"
            "  cause: invalid peer certificate: UnknownIssuer\n\nhint: Consider --system-certs\n",
            "the package index cannot be reached: invalid peer certificate: UnknownIssuer",
        ),
        (
            "error: Failed to download `six==1.17.0`\n  cause: Hash mismatch for `six==1.17.0`\n\n"
            "         Expected:\n           sha256:00\n",
            "Hash mismatch for `six==1.17.0`",
        ),
        ("Killed\n", "Killed"),
        ("", "uv did not say why"),
    ],
)
def test_the_reason_is_what_uv_said_last_of_the_cause(said, expected):
    program = "import install_tunix, sys; print(install_tunix.reason(sys.stdin.read()))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(project.BASE_DIR / "scripts")},
        input=said,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    "state",
    [
        b"", b"{", b"null", b"[]", b'"installing"', b'{"state": 3}', b'{"state": ["failed"]}', b"\xff" * 9000,
        b'{"state": "installing", "done": "many", "total": -5}', b'{"state": "installing", "done": true, "total": 1e999}',
        b'{"state": "failed", "reason": {"a": 1}}', b'{"state": "failed", "reason": "' + b"x" * 3000 + b'"}',
        b"[" * 4000, None,
    ],
)  # fmt: skip
def test_a_state_that_is_anything_else_breaks_nothing(clone, api, data_dir, state):
    file = clone / ".venv-tunix.json"
    if state is None:
        os.mkfifo(file)
    else:
        file.write_bytes(state)
    os.mkfifo(data_dir / "installer.wake")
    listening = os.open(data_dir / "installer.wake", os.O_RDWR | os.O_NONBLOCK)
    lock = os.open(clone / ".venv-tunix.lock", os.O_RDWR | os.O_CREAT)
    try:
        for held in (False, True):
            if held:
                fcntl.flock(lock, fcntl.LOCK_EX)
            body = status(api)
            assert body["available"] is False and len(body["message"]) < 500
            assert body["installing"] in (None, {"done": 0, "total": 0})
    finally:
        os.close(listening)
        os.close(lock)


@pytest.mark.django_db
def test_a_first_training_is_offered_until_there_was_one(clone, client, settings):
    call_command("bootstrap", verbosity=0)
    assert "Train for the first time" not in client.get("/").content.decode()
    (clone / ".venv-tunix/bin").mkdir(parents=True)
    executable(Path(settings.TUNIX_PYTHON), "echo 0.1.7")
    assert "Train for the first time" in client.get("/").content.decode()
    polled = client.get("/training/").content.decode()
    assert "Train for the first time" in polled and 'id="launch-buttons" hx-swap-oob="true"' in polled
    create_run(mode="local")
    assert "Train for the first time" not in client.get("/").content.decode()

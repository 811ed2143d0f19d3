"""scripts/install on machines of many kinds: real pip, real uv, an index on this machine."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.conf import settings as project

from runs.tests.helpers import executable
from runs.tests.packages import Index

SCRIPTS = project.BASE_DIR / "scripts"
INSTALL_SECONDS = 120


@pytest.fixture(scope="module")
def index():
    index = Index()
    yield index
    index.close()


@pytest.fixture(scope="module")
def uv_lock(index):
    return index.add_uv()


class Checkout:
    """A clone of this project, as far as an installation goes, on a machine whose home is empty."""

    def __init__(self, path: Path, index: Index, uv_lock: str):
        self.path, self.home = path / "clone", path / "home"
        (self.path / "scripts").mkdir(parents=True)
        self.home.mkdir()
        for name in ("install", "uv_settings.py"):
            shutil.copy(SCRIPTS / name, self.path / "scripts")
        (self.path / "requirements-uv.txt").write_text(uv_lock)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "XDG_"))}
        self.environment = kept | {
            "HOME": str(self.home), "PYTHON": sys._base_executable, "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": index.url, "UV_HTTP_RETRIES": "0",
        }  # fmt: skip

    def start(self, lock: str, venv: str = ".venv", **environment: str) -> subprocess.Popen:
        (self.path / "requirements.txt").write_text(lock)
        return subprocess.Popen(
            ["scripts/install", "requirements.txt", venv],
            cwd=self.path,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def install(self, lock: str, venv: str = ".venv", **environment: str) -> tuple[int, str]:
        process = self.start(lock, venv, **environment)
        output = process.communicate(timeout=INSTALL_SECONDS)[0]
        return process.returncode, output

    def run(self, program: str, venv: str = ".venv") -> str:
        done = subprocess.run(
            [self.path / venv / "bin/python", "-c", program], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or done.stderr


@pytest.fixture
def checkout(tmp_path, index, uv_lock):
    return Checkout(tmp_path / "machine", index, uv_lock)


@pytest.fixture(scope="module")
def installed(tmp_path_factory, index, uv_lock):
    """An environment that has uv, for tests that are not about how it got there."""
    checkout = Checkout(tmp_path_factory.mktemp("installed"), index, uv_lock)
    code, output = checkout.install(index.add("first"))
    assert code == 0, output
    return checkout


@pytest.fixture
def with_uv(checkout, installed):
    shutil.copytree(installed.path / ".venv", checkout.path / ".venv", symlinks=True, copy_function=os.link)
    return checkout


def test_a_new_machine_behind_a_mirror(checkout, index):
    """The lock has an extra, which pip 23.2.1 refuses where it must check hashes."""
    lock = index.add("plugin", "library[colours]>=1.0") + index.add("library", extras=("colours",))
    del index.asked[:]
    code, output = checkout.install(lock)
    assert code == 0, output
    assert checkout.run("import plugin; print(plugin.whole)") == "True"
    assert {path for who, path in index.asked if who == "pip"} <= {"/simple/uv/"} | {
        f"/files/{each}" for each in index.wheels if each.startswith("uv-")
    }
    assert ("uv", "/simple/plugin/") in index.asked
    assert (checkout.path / ".venv/requirements.txt").read_text() == lock
    assert not (checkout.path / ".venv/unfinished").exists()
    assert "arning" not in output
    # A second environment has uv from the first.
    del index.asked[:]
    code, output = checkout.install(lock, ".venv-other")
    assert code == 0, output
    assert checkout.run("import plugin; print(plugin.whole)", ".venv-other") == "True"
    assert not [path for who, path in index.asked if who == "pip"]


def test_one_cut_off_in_the_middle_is_repaired(with_uv, index):
    lock = index.add("whole") + index.add("slow")
    waits, release = threading.Event(), threading.Event()

    def stall(path):
        if path.startswith("/files/slow"):
            waits.set()
            release.wait(30)

    with_uv.install(index.add("whole"))
    index.before = stall
    try:
        process = with_uv.start(lock)
        assert waits.wait(30)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finally:
        release.set()
        index.before = lambda path: None
    assert (with_uv.path / ".venv/unfinished").exists()
    # What linking leaves where it is killed: a package that is said to be there and is not whole.
    (next((with_uv.path / ".venv/lib").glob("*/site-packages")) / "whole.py").unlink()
    code, output = with_uv.install(lock)
    assert code == 0, output
    assert with_uv.run("import slow, whole; print(whole.whole)") == "True"
    assert not (with_uv.path / ".venv/unfinished").exists()


def test_other_bytes_than_the_lock_says_are_refused(with_uv, index):
    index.add("changed")
    code, output = with_uv.install(f"changed==1.0 --hash=sha256:{'0' * 64}\n")
    assert code != 0
    assert "Hash mismatch for `changed==1.0`" in output
    assert "No module named 'changed'" in with_uv.run("import changed")
    assert not (with_uv.path / ".venv/requirements.txt").read_text().startswith("changed")


def test_without_a_network_what_is_there_goes_on_working(with_uv):
    code, output = with_uv.install("absent==1.0\n", PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert code != 0
    assert "Connection refused" in output
    assert with_uv.run("import first; print(first.whole)") == "True"


def test_a_home_that_cannot_be_written_to(with_uv, index):
    """Neither uv's cache nor pip's can be there."""
    (with_uv.home / "file").touch()
    code, output = with_uv.install(index.add("homeless"), HOME=str(with_uv.home / "file"))
    assert code == 0, output
    assert with_uv.run("import homeless; print(homeless.whole)") == "True"
    assert any((with_uv.path / ".venv-cache").iterdir())


def test_a_cache_on_another_disk_is_no_warning(with_uv, index):
    elsewhere = Path("/dev/shm")
    assert elsewhere.stat().st_dev != with_uv.path.stat().st_dev
    cache = elsewhere / f"tunix-rt-tests-{os.getpid()}"
    try:
        code, output = with_uv.install(index.add("elsewhere"), UV_CACHE_DIR=str(cache))
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    assert (code, output) == (0, "Installing requirements.txt\n")


def test_python_without_venv_is_a_sentence(checkout, tmp_path):
    """Debian's, without python3-venv."""
    (tmp_path / "without/ensurepip").mkdir(parents=True)
    (tmp_path / "without/ensurepip/__init__.py").write_text("raise ImportError")
    python = executable(tmp_path / "python", f'PYTHONPATH={tmp_path / "without"} exec {sys._base_executable} "$@"')
    code, output = checkout.install("", PYTHON=str(python))
    assert code == 1
    assert "Python's venv module is missing" in output and "apt-get install python3-venv" in output
    assert not (checkout.path / ".venv").exists()


def test_two_at_once(checkout, index):
    lock = index.add("shared")
    del index.asked[:]
    both = [checkout.start(lock), checkout.start(lock)]
    outputs = [each.communicate(timeout=INSTALL_SECONDS)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], outputs
    assert sum("Making .venv" in each for each in outputs) == 1
    assert len([path for who, path in index.asked if who == "pip" and path.startswith("/files/uv-")]) == 1


@pytest.mark.parametrize(
    ("pip", "environment", "expected"),
    [
        ("[global]\nindex-url = https://mirror/simple", {}, {"UV_DEFAULT_INDEX": "https://mirror/simple"}),
        ("[global]\nindex-url = https://a/\n[install]\nindex-url = https://b/", {}, {"UV_DEFAULT_INDEX": "https://b/"}),
        ("[global]\nindex-url = https://a/", {"PIP_INDEX_URL": "https://c/"}, {"UV_DEFAULT_INDEX": "https://c/"}),
        ("[global]\nindex-url = https://a/", {"UV_DEFAULT_INDEX": "https://d/"}, {"UV_DEFAULT_INDEX": "https://d/"}),
        ("[global]\nindex-url = https://a/", {"UV_INDEX_URL": "https://d/"}, {"UV_DEFAULT_INDEX": None}),
        ("[global]\ncert = /etc/our.pem", {}, {"SSL_CERT_FILE": "/etc/our.pem"}),
        ("[global]\ncert = /etc/our.pem", {"SSL_CERT_FILE": "/etc/x.pem"}, {"SSL_CERT_FILE": "/etc/x.pem"}),
        ("", {"REQUESTS_CA_BUNDLE": "/etc/bundle.pem"}, {"SSL_CERT_FILE": "/etc/bundle.pem"}),
        ("[global]\nproxy = http://proxy:3128", {}, {"ALL_PROXY": "http://proxy:3128"}),
        ("[global]\nproxy = http://proxy:3128", {"https_proxy": "http://other"}, {"ALL_PROXY": None}),
        ("[global]\ntrusted-host =\n  one.example\n  two.example", {}, {"UV_INSECURE_HOST": "one.example two.example"}),
        ("[global]\nindex-url = https://a/it's;$(exit)", {}, {"UV_DEFAULT_INDEX": "https://a/it's;$(exit)"}),
        ("", {}, {"UV_DEFAULT_INDEX": None, "SSL_CERT_FILE": None, "ALL_PROXY": None}),
    ],
)  # fmt: skip
def test_what_pip_is_told_uv_is_told(tmp_path, pip, environment, expected):
    file = tmp_path / "pip.conf" if pip else os.devnull  # which keeps pip from the machine's own
    Path(file).write_text(pip)
    show = 'eval "$("$0" "$1")"; exec env -0'
    done = subprocess.run(
        ["bash", "-euc", show, sys.executable, SCRIPTS / "uv_settings.py"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": str(file)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told = dict(each.split("=", 1) for each in done.stdout.split("\0") if each)
    assert {name: told.get(name) for name in expected} == expected

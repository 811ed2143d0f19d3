"""What another user of the machine can read of a home: nothing, however tunix-rt was started, also after a restore."""

import os
import re
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from runs.tests.helpers import LAUNCH, arithmetic_rows
from runs.tests.server import _migrated_sqlite, environment_of, manage, running_server
from runs.tests.strangers import open_directory, readable_by_stranger
from tunix_rt import private

UPLOAD = "/api/datasets?dataset_name=arithmetic&dataset_version=v1"
ROWS = {"Content-Type": "application/x-ndjson"}
STARTS = {
    "by hand": [sys.executable, "manage.py", "runs_status"],
    "web": [sys.executable, "-m", "gunicorn", "--check-config", "-c", "tunix_rt/gunicorn.conf.py"],
    "dispatcher": [sys.executable, "manage.py", "supervise"],
}


@pytest.fixture(autouse=True)
def usual_umask():
    """That of most accounts; the tests' own process has settings, and with them ours."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def place():
    with open_directory() as path:
        yield path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def old_home(home: Path) -> Path:
    """As it was made before: everybody reads it."""
    for name in ("datasets/a-v1", "runs/1", "unrecorded", "tmp", "prometheus/7"):
        (home / name).mkdir(parents=True)
    shutil.copyfile(_migrated_sqlite(), home / "tunix-rt.sqlite3")
    for name in ("tunix-rt.sqlite3-wal", "tunix-rt.sqlite3-shm", "datasets/a-v1/data.jsonl", "runs/1/stdout.log"):
        (home / name).write_bytes(b"")
    (home / "secret-key").write_text("a-key-that-was-put-there-by-hand")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert readable_by_stranger(home / "tunix-rt.sqlite3"), "the test would see nothing"
    return home


@contextmanager
def started(home: Path, command: list[str]):
    done = subprocess.run(
        command,
        cwd=settings.BASE_DIR,
        env=environment_of(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    yield


def test_of_a_new_home_nobody_else_reads_anything(place):
    home = place / "home"
    with running_server(home) as server:
        assert server.post(UPLOAD, arithmetic_rows(), **ROWS).status_code == 201
        assert server.post("/api/tunix/run", LAUNCH).status_code == 200
        key = subprocess.run(
            ["scripts/secret_key"], cwd=settings.BASE_DIR, env=server.environment, check=True, capture_output=True
        )
        assert key.stdout
        # The test made the home, and put a log of its own into it. So each of ours is closed for itself.
        assert sorted(readable_by_stranger(home)) == [str(home), str(home / "server.log")]
    manage(environment_of(place / "a" / "b"), "migrate", "--verbosity=0")
    assert readable_by_stranger(place / "a") == []


@pytest.mark.parametrize("how", STARTS)
def test_an_old_home_is_closed_by_whatever_starts(place, how):
    home = old_home(place / "home")
    with started(home, STARTS[how]):
        assert readable_by_stranger(home) == []
        home.chmod(0o755)
        assert readable_by_stranger(home) == [str(home)]
    assert mode(home / "tunix-rt.sqlite3") == 0o600


def test_a_database_outside_of_the_home_is_closed_too(place):
    path = place / "elsewhere.sqlite3"
    shutil.copyfile(_migrated_sqlite(), path)
    path.chmod(0o644)
    manage(environment_of(place / "home", f"sqlite:///{path}"), "runs_status")
    assert not readable_by_stranger(path)
    assert mode(place) == 0o755, "what it lies in is not ours"


def test_a_copy_that_is_put_back_under_a_running_server_is_closed(place):
    home = place / "home"
    with running_server(home) as server:
        copy = shutil.copyfile(_migrated_sqlite(), home / "copy")
        home.chmod(0o755)
        copy.chmod(0o644)
        copy.replace(home / "tunix-rt.sqlite3")
        assert server.get("/api/tunix/runs").status_code == 200
        assert not readable_by_stranger(home / "tunix-rt.sqlite3")


def test_what_is_not_ours_is_left_as_it_is(place):
    """A directory with things of one's own in it: ours among them are closed, it and they are not touched."""
    home = old_home(place / "home")
    (home / "notes.txt").write_text("for everybody")
    (home / "pages").mkdir()
    (home / "static").symlink_to(home / "pages")
    manage(environment_of(home), "runs_status")
    assert mode(home) == 0o755 and mode(home / "notes.txt") == 0o644 and mode(home / "pages") == 0o755
    assert sorted(readable_by_stranger(home)) == [str(home), str(home / "notes.txt"), str(home / "pages")]


def test_a_file_that_nobody_may_read_is_not_opened_up(place):
    home = old_home(place / "home")
    (home / "secret-key").chmod(0o400)
    (home / "runs" / "1").chmod(0)
    manage(environment_of(home), "runs_status")
    assert mode(home / "secret-key") == 0o400 and mode(home / "runs" / "1") == 0


def test_a_home_that_is_shared_with_its_group_stays_so(place):
    """chmod g+s says that it is meant: a group works with it, and still nobody else does."""
    home = old_home(place / "home")
    for path in (home, *home.rglob("*")):
        path.chmod(0o2775 if path.is_dir() else 0o664)
    manage(environment_of(home), "add_dataset", "examples/arithmetic-v1.jsonl", "--name", "new", "--version", "v1")
    assert readable_by_stranger(home) == []
    assert mode(home) == 0o2770 and mode(home / "tunix-rt.sqlite3") == 0o660
    assert mode(home / "datasets" / "new-v1") == 0o2770 and mode(home / "datasets/new-v1/data.jsonl") == 0o660


def test_a_directory_that_others_may_pass_through_is_left(place):
    """x without r is nobody's accident: trainers of another user reach their runs through it."""
    home = old_home(place / "home")
    for name in ("", "runs", "datasets"):
        (home / name).chmod(0o711)
    manage(environment_of(home), "runs_status")
    assert {mode(home / name) for name in ("", "runs", "datasets")} == {0o711}
    assert readable_by_stranger(home) == []


def test_whatever_the_code_makes_in_a_home_is_known():
    """What is not known counts as foreign: a home with it in it would stay open."""
    code = [path for place in ("runs", "tunix_rt", "scripts") for path in (settings.BASE_DIR / place).rglob("*")]
    texts = [path.read_text(errors="replace") for path in code if path.is_file() and "tests" not in path.parts]
    made = {name for text in texts for name in re.findall(r"""TUNIX_RT_HOME\)?(?: / ["']|/)([\w.-]+)""", text)}
    assert {"runs", "secret-key", "claims"} <= made
    assert {name for name in made if not private._is_ours(name)} == set()

"""Is Tunix there, which version, and which command trains with it."""

import json
import shlex
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from runs import installation

INSTALL_HINT = "install it with `make tunix`"
# Importing tunix loads JAX, 3.8 s; its metadata says the version in 0.05 s.
ASK_VERSION = "import importlib.metadata as m; print(m.version('google-tunix'))"
ASK_VERSIONS = """
import importlib.metadata as m, json, platform, sys
def version(name):
    try:
        return platform.python_version() if name == "python" else m.version(name)
    except m.PackageNotFoundError:
        return None
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""
DEFAULT_COMMAND = f"{{python}} {shlex.quote(str(settings.BASE_DIR / 'runs' / 'trainer'))} {{manifest}}"
ASK_SECONDS = 10
CACHE_SECONDS = 30
_asking = threading.Lock()


@dataclass(frozen=True)
class Availability:
    available: bool
    version: str | None
    message: str

    # A dry run, the registry and every page work without Tunix.
    runtime_required: bool = False
    # While it is installed beside this server: how many packages of how many are.
    installing: dict[str, int] | None = None


def training_command() -> str:
    """TUNIX_COMMAND, or the trainer of this project under TUNIX_PYTHON."""
    return settings.TUNIX_COMMAND.strip() or DEFAULT_COMMAND


def availability() -> Availability:
    """Whether local runs can train here. The machine is asked at most every 30 seconds, and when a Python has come."""
    command, python = settings.TUNIX_COMMAND, settings.TUNIX_PYTHON
    with _asking:
        found = _availability(command, python, (period(), _identity(python)))
    if found.available or command.strip():
        return found
    under_way = installation.current()
    if under_way is None:
        return found
    installing = None if under_way.reason else {"done": under_way.done, "total": under_way.total}
    return replace(found, message=under_way.message, installing=installing)


def _identity(python: str) -> tuple[int, int] | None:
    """Another one when the environment of this Python is put in place, or taken away."""
    try:
        found = Path(python).parent.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def period() -> int:
    """Which half minute it is: what is asked of the machine is remembered for that long."""
    return int(time.monotonic() // CACHE_SECONDS)


def versions(names: tuple[str, ...]) -> dict[str, str | None]:
    """Which versions of these packages TUNIX_PYTHON has, `python` among them; None for one that it has not."""
    with _asking:
        return dict(_versions(settings.TUNIX_PYTHON, names, period()))


@lru_cache(maxsize=16)
def _versions(python: str, names: tuple[str, ...], _period: int) -> dict[str, str | None]:
    try:
        answer = _ask(python, ASK_VERSIONS, *names)
        return json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return dict.fromkeys(names)


def _ask(python: str, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Raises TimeoutExpired and OSError."""
    return subprocess.run(
        [python, "-c", script, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=ASK_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@lru_cache(maxsize=4)
def _availability(command: str, python: str, _when: tuple[int, tuple[int, int] | None]) -> Availability:
    return _own_command(command, python) if command.strip() else _tunix_of(python)


def _own_command(command: str, python: str) -> Availability:
    try:
        program = shlex.split(command)[0]
    except ValueError as error:
        return Availability(False, None, f"TUNIX_COMMAND cannot be split into arguments: {error}")
    program = program.replace("{python}", python)
    if not shutil.which(program):
        return Availability(False, None, f"TUNIX_COMMAND's program {program!r} cannot be found")
    return Availability(True, None, f"Runs are trained by {program}")


def _tunix_of(python: str) -> Availability:
    if not Path(python).exists():
        return Availability(False, None, f"Tunix is not installed: {INSTALL_HINT}")
    try:
        answer = _ask(python, ASK_VERSION)
    except subprocess.TimeoutExpired:
        return Availability(False, None, f"{python} did not say within {ASK_SECONDS} s which Tunix it has")
    except OSError as error:
        return Availability(False, None, f"{python} cannot be started: {error.strerror}")
    if answer.returncode != 0:
        return Availability(False, None, f"{python} has no google-tunix: {INSTALL_HINT}")
    version = answer.stdout.strip()
    return Availability(True, version, f"Tunix {version} is available")

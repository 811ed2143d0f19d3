"""How far scripts/install_tunix.py is, which installs Tunix beside this server, and how it is asked to try again.

What is read here was written by another process: it may be missing, cut off or anything else.
"""

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from runs import named_pipe

STATE_BYTES = 4096
MOST_PACKAGES = 10_000
REASON_LENGTH = 300
BEGIN_SECONDS = 1


@dataclass(frozen=True)
class Installation:
    """Under way, or failed for a `reason`. `can_retry`: somebody listens who would try again."""

    done: int = 0
    total: int = 0
    reason: str = ""
    can_retry: bool = False

    @property
    def message(self) -> str:
        if self.reason:
            return f"Tunix could not be installed ({self.reason}): install it with `make tunix`"
        so_far = f", {self.done} of {self.total} packages so far" if self.total else ""
        return f"Tunix is being installed{so_far}"


def current() -> Installation | None:
    """None where nothing is installed beside this server, or all is."""
    if Path(settings.TUNIX_PYTHON) != settings.TUNIX_VENV / "bin" / "python":
        return None
    state = _read(_beside(".json"))
    what = state.get("state")
    # Asked after the state was read, so that one which has begun meanwhile is not taken for one that was ended.
    if _is_held(_beside(".lock")) and what != "failed":
        return Installation(done=_count(state, "done"), total=_count(state, "total"))
    if what not in ("installing", "failed") or not named_pipe.is_heard(_pipe()):
        return None
    reason = _text(state, "reason") if what == "failed" else "the installer was ended"
    return Installation(reason=reason or "no reason was given", can_retry=True)


def ask_again() -> bool:
    """Have it tried again, and wait a moment for it to begin; False where nobody listens who would."""
    if not named_pipe.tap(_pipe()):
        return False
    deadline = time.monotonic() + BEGIN_SECONDS
    while (found := current()) and found.reason and time.monotonic() < deadline:
        time.sleep(0.05)
    return True


def _pipe() -> Path:
    return Path(settings.TUNIX_RT_HOME) / "installer.wake"


def _beside(ending: str) -> Path:
    venv = Path(settings.TUNIX_VENV).resolve()
    return venv.with_name(venv.name + ending)


def _is_held(path: Path) -> bool:
    """Whether a process has the lock: the kernel knows it also of one that was killed."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # or a pipe in its place would be waited for
        try:
            found = json.loads(os.read(file, STATE_BYTES))
        finally:
            os.close(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _count(state: dict[str, Any], name: str) -> int:
    value = state.get(name)
    return min(max(value, 0), MOST_PACKAGES) if type(value) is int else 0


def _text(state: dict[str, Any], name: str) -> str:
    value = state.get(name)
    return value[:REASON_LENGTH] if isinstance(value, str) else ""

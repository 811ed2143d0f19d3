"""Which supervisors live on this host, whatever a database says that was restored from a backup.

Each holds a lock on a file of its own in the home, until it ends, however it ends. What is in the file is its slot.
"""

import contextlib
import fcntl
import os
import uuid
from pathlib import Path

from django.conf import settings

# What this process holds: open until it is released, or the process ends.
_held: list[int] = []


def hold(run_id: uuid.UUID, slot: int | None) -> bool:
    """Be the run's supervisor on this host. False: another one lives. Raises OSError."""
    directory = _directory()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / str(run_id)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(file):
            os.close(file)
            return False
        if _is_still(path, file):  # not removed as a dead one's, just before it was locked
            os.ftruncate(file, 0)
            os.write(file, str("" if slot is None else slot).encode())
            _held.append(file)
            return True
        os.close(file)


def release() -> None:
    """Be no supervisor any more, before the dispatcher is woken: waiting for the process to end costs it a poll."""
    while _held:
        os.close(_held.pop())


def lives(run_id: uuid.UUID) -> bool:
    return _slot_of(_directory() / str(run_id)) is not None


def slots() -> set[int]:
    """Those that living supervisors have. The files of dead ones are removed."""
    try:
        paths = list(_directory().iterdir())
    except FileNotFoundError:
        return set()
    return {int(slot) for path in paths if (slot := _slot_of(path))}


def _slot_of(path: Path) -> str | None:
    """None where its supervisor is dead; empty where it has no slot."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not _locked(file):
            text = os.read(file, 20).decode("ascii", "replace")
            return text if text.isdecimal() else ""
        if _is_still(path, file):
            path.unlink()
        return None
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, file: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file))
    return False


def _directory() -> Path:
    return Path(settings.TUNIX_RT_HOME) / "supervisors"

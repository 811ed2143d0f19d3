"""Named pipes by which one process of this host wakes another; a byte says only that there is something to do."""

import contextlib
import os
from pathlib import Path


def tap(path: Path) -> bool:
    """Wake whoever listens; False where nobody does. Never waits."""
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        os.write(pipe, b"!")
    except BlockingIOError:  # it is full of bytes that say the same
        pass
    except OSError:
        return False
    finally:
        os.close(pipe)
    return True


def is_heard(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def listen(path: Path) -> int:
    """The reading end, which `select` waits for. Opened for both, so that it never reads as ended."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def drain(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(pipe, 4096):
            pass

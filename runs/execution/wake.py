"""A tap on the dispatcher's shoulder: a named pipe in the home, so that an accepted run starts at once."""

import contextlib
import os
from pathlib import Path

from django.conf import settings


def _path() -> Path:
    return Path(settings.TUNIX_RT_HOME) / "dispatcher.wake"


def wake_dispatcher() -> None:
    """Never waits and never fails: where nobody listens, the dispatcher's own clock finds the run."""
    with contextlib.suppress(OSError):
        pipe = os.open(_path(), os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(pipe, b"!")
        finally:
            os.close(pipe)


def is_heard() -> bool:
    """Whether a dispatcher of this host listens."""
    try:
        os.close(os.open(_path(), os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def listen() -> int:
    """The pipe's reading end, which `select` waits for. Opened for both, so that it never reads as ended."""
    path = _path()
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def drain(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(pipe, 4096):
            pass

"""A tap on the dispatcher's shoulder: a named pipe in the home, so that an accepted run starts at once."""

from pathlib import Path

from django.conf import settings

from runs import named_pipe
from runs.named_pipe import drain

__all__ = ["drain", "is_heard", "listen", "wake_dispatcher"]


def _path() -> Path:
    return Path(settings.TUNIX_RT_HOME) / "dispatcher.wake"


def wake_dispatcher() -> None:
    """Never waits and never fails: where nobody listens, the dispatcher's own clock finds the run."""
    named_pipe.tap(_path())


def is_heard() -> bool:
    """Whether a dispatcher of this host listens."""
    return named_pipe.is_heard(_path())


def listen() -> int:
    return named_pipe.listen(_path())

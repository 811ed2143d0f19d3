"""Where the supervisors of this host come from: a process that has loaded everything, and forks one for each order.

To load Django takes ten times as long as to fork a process that has. This one has neither threads nor connections, so
that a child shares nothing that it must not; and nothing that matters is in it. Killed, it takes no run with it and is
started again; an order that it took along is a claim that runs out.
"""

import gc
import logging
import os
import signal
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from core import files
from runs.execution.process import bury_children
from runs.rundir import RunDirectory

log = logging.getLogger(__name__)


def order(run_id: uuid.UUID, token: str) -> bytes:
    """To supervise this run, as a line; so short that a pipe takes all of it or nothing."""
    return f"{run_id} {token}\n".encode("ascii")


def next_order(lines: Iterable[bytes]) -> tuple[uuid.UUID, str] | None:
    """Returns once for each order, with it, each time in a process of its own; in this one at their end, with None."""
    gc.freeze()  # what is loaded by now stays shared: to look through it for garbage would be to write to it
    signal.signal(signal.SIGCHLD, lambda *_: bury_children())
    for line in lines:
        name, token = line.decode("ascii").split()
        run_id = uuid.UUID(name)
        try:
            forked = _fork(run_id)
        except OSError as error:  # its claim runs out and is taken again
            log.error("run %s: its supervisor could not be started: %s", run_id, error)
            continue
        if forked:
            return run_id, token
    return None


def _fork(run_id: uuid.UUID) -> bool:
    """True in the child, which has a session, an output and no input of its own. Raises OSError, in the parent only."""
    directory = RunDirectory(run_id)
    with _log_of(directory) as output, Path(os.devnull).open("rb") as nothing:
        if os.fork():
            return False
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for target, source in enumerate((nothing, output, output)):
            os.dup2(source.fileno(), target)
    return True


def _log_of(directory: RunDirectory) -> BinaryIO:
    """Where a supervisor's own log goes; nowhere, on a disk that is full: it is the supervisor that can say so."""
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        return os.fdopen(files.append_to(directory.path, directory.supervisor_log.name), "ab")
    except OSError as error:
        log.error("run %s: its supervisor has no log: %s", directory.path.name, error)
        return Path(os.devnull).open("ab")

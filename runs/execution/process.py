"""Starts, pumps and stops one process tree. Knows no Django.

The caller's process becomes the reaper of everything that it starts, directly or not, so that a grandchild that leaves
its session is still found. Everything here belongs to the main thread: the kernel's parent-death signal is that of the
thread that started the child.
"""

import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from runs.execution.stream import Stream

PR_SET_CHILD_SUBREAPER = 36
READ_BYTES = 64 * 1024
# A daemonised grandchild may hold the pipes for ever; what it writes after the child's end is waited for this long.
DRAIN_SECONDS = 2.0
KILL_SECONDS = 2.0


class NotStarted(Exception):
    """The command could not be started; the message says why."""


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class ProcessTree:
    """One command and everything that it starts."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: dict[str, str],
        stdout: Stream,
        stderr: Stream,
        process: Mapping[str, Any] | None = None,
    ):
        """Start it; `process` is what subprocess is told besides. Raises NotStarted."""
        if shutil.which(argv[0], path=env.get("PATH")) is None:
            raise NotStarted(f"{argv[0]}: there is no such program")
        adopt_orphans()
        # When this process is killed, the kernel kills the child.
        leash = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self.tied = bool(leash)
        # How many processes could not be killed.
        self.left = 0
        try:
            self._child = subprocess.Popen(
                [*leash, *argv],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                **(process or {}),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise NotStarted(f"{argv[0]}: {error}") from error
        self.pid = self._child.pid
        self.started = time.monotonic()
        self.returncode: int | None = None
        self._drain_until: float | None = None
        self._exit = os.pidfd_open(self.pid)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._exit, selectors.EVENT_READ)
        for pipe, stream in ((self._child.stdout, stdout), (self._child.stderr, stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe.fileno(), selectors.EVENT_READ, stream)
        self._pipes = 2

    @property
    def ended(self) -> bool:
        """The child has ended and what it wrote has been read, or waited for long enough."""
        if self.returncode is None or self._drain_until is None:
            return False
        return self._pipes == 0 or time.monotonic() >= self._drain_until

    @property
    def is_written_to(self) -> bool:
        """Somebody still holds a pipe of it."""
        return self._pipes > 0

    def pump(self, seconds: float) -> None:
        """Read what there is, for at most so long. Returns early when something came."""
        if self._drain_until is not None:
            seconds = max(0.0, min(seconds, self._drain_until - time.monotonic()))
        for key, _ in self._selector.select(seconds):
            if key.fd == self._exit:
                self.returncode = self._child.wait()
                self._drain_until = time.monotonic() + DRAIN_SECONDS
                self._selector.unregister(self._exit)
            else:
                self._read(key.fd, key.data)

    def _read(self, pipe: int, stream: Stream) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(pipe, READ_BYTES)
            if data:
                stream.write(data)
            else:
                self._selector.unregister(pipe)
                self._pipes -= 1

    def signal(self, number: signal.Signals) -> None:
        """Send it to every process of the tree, the youngest first: a parent must not restart what was just ended."""
        for process in reversed(self.descendants()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def descendants(self) -> list[psutil.Process]:
        """Every living process of the tree, also those that left its session or were orphaned."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
        return []

    def kill_rest(self) -> None:
        """Kill what is left of the tree, until nothing is, and bury it."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.descendants() and time.monotonic() < deadline:
            self.signal(signal.SIGKILL)
            time.sleep(0.01)
        self.left = len(self.descendants())
        if self.returncode is None:
            self.returncode = self._child.wait()
        bury_children()

    def close(self) -> None:
        self.kill_rest()
        self._selector.close()
        os.close(self._exit)
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()


def bury_children() -> None:
    """A child that has ended is a zombie until it is asked for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


# --- finding processes again ------------------------------------------------------------------------------------------


def boot_id() -> str:
    """Which start of this machine it is: pids mean nothing across one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None where there is none. Field 22 of stat: it never moves."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def is_alive(pid: int | None, ticks: int | None) -> bool:
    """Whether the process with this pid is still the one that began then: pids come round again."""
    return pid is not None and ticks is not None and start_ticks(pid) == ticks


def kill_tree(pid: int | None, ticks: int | None) -> bool:
    """Kill this process, where it still is the one that began then, and its descendants. True: all are dead."""
    if pid is None or not is_alive(pid, ticks):
        return True
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        tree = {each.pid: start_ticks(each.pid) for each in (root, *root.children(recursive=True))}
        return _until_none(lambda: [each for each, began in tree.items() if is_alive(each, began)])
    return True


def kill_marked(cookie: str) -> bool:
    """Kill every process whose environment holds `cookie` (`NAME=value`). True: all are dead."""
    return _until_none(lambda: list(_marked(cookie.encode())))


def _marked(cookie: bytes) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if cookie in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def _until_none(living: Callable[[], list[int]]) -> bool:
    """Kill what `living` finds until it finds nothing, for a while: a process in the kernel dies when it leaves it."""
    deadline = time.monotonic() + KILL_SECONDS
    while found := living():
        if time.monotonic() >= deadline:
            return False
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return True

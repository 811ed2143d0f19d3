"""Supervisors as detached processes of this host."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from runs.execution import nursery
from runs.execution.command import COOKIE
from runs.execution.process import boot_id, is_alive, kill_marked, kill_tree
from runs.models import TunixRun


class LocalExecutor:
    def __init__(self) -> None:
        self._nursery: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Start what supervisors are forked from. It ends when we do: its input ends."""
        self._nursery = subprocess.Popen(
            [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "supervise"],
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def submit(self, run: TunixRun, token: str) -> None:
        if self._nursery is None or self._nursery.poll() is not None:
            self.prepare()
        assert self._nursery is not None and self._nursery.stdin is not None
        # Through a pipe: every user can read arguments.
        self._nursery.stdin.write(nursery.order(run.run_id, token))

    def request_stop(self, run: TunixRun) -> None:
        if self.inspect(run):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(run.processes["supervisor"][0], signal.SIGUSR1)

    def inspect(self, run: TunixRun) -> bool | None:
        if run.host != host_name():
            return None
        return run.boot_id == boot_id() and is_alive(*run.processes.get("supervisor", (None, None)))

    def end(self, run: TunixRun) -> bool:
        """The supervisor with its tree, where it lives, and what a dead one has left: what had left the tree."""
        if run.host != host_name():
            return False
        same_boot = run.boot_id == boot_id()
        supervisor = run.processes.get("supervisor", (None, None)) if same_boot else (None, None)
        return kill_tree(*supervisor) and kill_marked(f"{COOKIE}={run.run_id}")


def host_name() -> str:
    return os.uname().nodename

"""Supervisors as detached processes of this host."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from django.conf import settings

from runs.execution import nursery
from runs.execution.command import COOKIE
from runs.execution.process import boot_id, is_alive, kill_marked, kill_tree, start_ticks
from runs.models import TunixRun

# What a supervisor takes to record an end, once its trainer has ended or been killed.
RECORD_SECONDS = 10.0


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

    def end_all(self) -> None:
        """Ask every supervisor to end its run, and wait until all have: for a host that takes them with it.

        What has not ended when its grace is over is left: its result is on disk, or it is lost.
        """
        deadline = time.monotonic() + settings.GRACE_SECONDS + RECORD_SECONDS
        asked: set[psutil.Process] = set()
        while (supervisors := set(self._supervisors())) and time.monotonic() < deadline:
            for supervisor in supervisors - asked:  # one may be forked while we wait
                with contextlib.suppress(psutil.NoSuchProcess):
                    supervisor.send_signal(signal.SIGUSR2)
            asked |= supervisors
            time.sleep(0.1)

    def _supervisors(self) -> list[psutil.Process]:
        """Known without the database, which may be stopping as well."""
        try:
            children = psutil.Process(self._nursery.pid).children() if self._nursery else []
        except psutil.NoSuchProcess:
            return []
        return [each for each in children if start_ticks(each.pid) is not None]

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

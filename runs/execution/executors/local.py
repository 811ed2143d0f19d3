"""Supervisors as detached processes of this host."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from runs.execution.command import COOKIE
from runs.execution.process import boot_id, is_alive, kill_marked
from runs.models import TunixRun
from runs.rundir import RunDirectory

TOKEN_VARIABLE = "TUNIX_RT_LEASE_TOKEN"


class LocalExecutor:
    def submit(self, run: TunixRun, token: str) -> None:
        directory = RunDirectory(run.run_id)
        directory.path.mkdir(parents=True, exist_ok=True)
        with directory.supervisor_log.open("ab") as output:
            subprocess.Popen(
                [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "supervise", str(run.run_id)],
                env=os.environ | {TOKEN_VARIABLE: token},  # never an argument: every user can read those
                cwd=settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def request_stop(self, run: TunixRun) -> None:
        if self.inspect(run):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(run.processes["supervisor"][0], signal.SIGUSR1)

    def inspect(self, run: TunixRun) -> bool | None:
        if run.host != host_name():
            return None
        return run.boot_id == boot_id() and is_alive(*run.processes.get("supervisor", (None, None)))

    def kill_leftovers(self, run: TunixRun) -> None:
        """End what a dead supervisor may have left: the kernel kills its child, this what had left the tree."""
        kill_marked(f"{COOKIE}={run.run_id}")


def host_name() -> str:
    return os.uname().nodename

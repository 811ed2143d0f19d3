"""One run's life: its process, its lease, its output.

The main thread pumps and stops the process. A second thread speaks with the database, which may be slow or away: the
training must not wait for it. Where the lease is another's, the tree is killed and nothing is written.
"""

import logging
import os
import signal
import threading
import time
import uuid
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone

from runs import datasets, lifecycle, manifest, tunix
from runs.execution import command
from runs.execution.cause import Ending, ending
from runs.execution.process import NotStarted, ProcessTree, start_ticks
from runs.execution.stream import Stream
from runs.models import TunixRun
from runs.output import clip
from runs.rundir import RunDirectory

log = logging.getLogger(__name__)
PUMP_SECONDS = 0.2
RETRY_SECONDS = 2.0


class LeaseKeeper(threading.Thread):
    """Renews the lease and refreshes the record's output; hears of a cancel; never raises."""

    def __init__(self, run: TunixRun, token: str, streams: dict[str, Stream], wake: threading.Event):
        super().__init__(name="lease", daemon=True)
        self.run_id, self.token, self.streams = run.run_id, token, streams
        self.fenced = threading.Event()
        self.cancelled = threading.Event()
        self._wake = wake
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        self.join()

    def run(self) -> None:
        while not self._stopped:
            self._beat()
            self._wake.wait(settings.HEARTBEAT_SECONDS)
            self._wake.clear()  # before the beat: what is asked for during it wakes the next one
        connection.close()

    def _beat(self) -> None:
        try:
            if not lifecycle.heartbeat(self.run_id, self.token, **excerpts(self.streams)):
                self.fenced.set()
                return
            row = TunixRun.objects.filter(pk=self.run_id).values_list("cancel_requested_at", flat=True)
            if row.first() is not None:
                self.cancelled.set()
        except DatabaseError as error:
            log.warning("run %s: no heartbeat: %s", self.run_id, error)
            connection.close()


def excerpts(streams: dict[str, Stream]) -> dict[str, str]:
    return {name: clip(*stream.head_and_tail()) for name, stream in streams.items()}


def supervise(run_id: uuid.UUID, token: str) -> None:
    """Start the run that `token` was given for, see it through, and record how it ended."""
    wake = _heed_signals()
    run = TunixRun.objects.get(pk=run_id)
    directory = RunDirectory(run_id)
    directory.path.mkdir(parents=True, exist_ok=True)
    me = [os.getpid(), start_ticks(os.getpid())]
    try:
        arguments = _prepare(run, directory)
    except (datasets.DatasetError, ValueError, OSError) as error:
        _could_not_start(run, directory, token, str(error))
        return
    if not lifecycle.start(run_id, token, {"supervisor": me}):
        log.info("run %s: not started: cancelled, or another's", run_id)
        return
    streams = {name: Stream(directory.log(name)) for name in ("stdout", "stderr")}
    env = command.environment(run_id, directory.path)
    try:
        tree = ProcessTree(arguments, cwd=directory.path, env=env, **streams)
    except NotStarted as error:
        _could_not_start(run, directory, token, str(error))
        return
    log.info("run %s: started process %d", run_id, tree.pid)
    keeper = LeaseKeeper(run, token, streams, wake)
    keeper.start()
    timeout = float(run.config.get("timeout_seconds") or settings.DEFAULT_TIMEOUT_SECONDS)
    stopped = _see_through(tree, keeper, timeout)
    tree.close()
    duration = time.monotonic() - tree.started
    for stream in streams.values():
        stream.close()
    keeper.stop()
    if keeper.fenced.is_set():
        log.warning("run %s: the lease is another's; killed, nothing recorded", run_id)
        return
    last_lines = "\n".join(stream.last_lines() for stream in streams.values())
    how = ending(tree.returncode or 0, stopped, timeout, last_lines)
    _record(run, directory, token, how, {**excerpts(streams), "duration_seconds": duration})


def _heed_signals() -> threading.Event:
    """Set by SIGUSR1, the hint that something was asked for. From the first moment on: unheeded it would kill us.

    What stops a dispatcher or its terminal stops no training: those signals have a handler that does nothing. To ignore
    them would be inherited by the trainer, which is asked to end by one of them.
    """
    wake = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: wake.set())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return wake


def _prepare(run: TunixRun, directory: RunDirectory) -> list[str]:
    dataset = datasets.get(run.dataset_key)
    output = directory.output(run.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    training = manifest.training_manifest(run, dataset.data_path)
    training["output"]["output_dir"] = str(output)
    directory.manifest.write_text(manifest.as_yaml(training), encoding="utf-8")
    values = {
        "python": settings.TUNIX_PYTHON,
        "manifest": str(directory.manifest),
        "dataset": str(dataset.data_path),
        "run_dir": str(directory.path),
        "output_dir": str(output),
        "model_id": run.model_id,
    }
    return command.argv(tunix.training_command(), values)


def _see_through(tree: ProcessTree, keeper: LeaseKeeper, timeout: float) -> str | None:
    """Pump until the process has ended. Returns "cancelled" or "timeout" where it was ended from here."""
    stopped, kill_at = None, float("inf")
    while not tree.ended:
        tree.pump(PUMP_SECONDS)
        now = time.monotonic()
        if keeper.fenced.is_set():
            tree.kill_rest()
            return stopped
        if stopped is None and tree.returncode is None:
            late = now - tree.started >= timeout
            stopped = "cancelled" if keeper.cancelled.is_set() else "timeout" if late else None
            if stopped:
                tree.signal(signal.SIGTERM)
                kill_at = now + settings.GRACE_SECONDS
        if now >= kill_at:
            tree.signal(signal.SIGKILL)
            kill_at = now + 1
    return stopped


def _could_not_start(run: TunixRun, directory: RunDirectory, token: str, reason: str) -> None:
    how = Ending("failed", "not_started", None, f"Local execution failed: not started: {reason}")
    _record(run, directory, token, how, {"stderr": clip(reason + "\n"), "duration_seconds": None})


def _record(run: TunixRun, directory: RunDirectory, token: str, how: Ending, seen: dict[str, Any]) -> None:
    """First to disk, then to the database, however long that takes."""
    result = {
        "status": how.status,
        "cause": how.cause,
        "exit_code": how.exit_code,
        "message": how.message,
        "completed_at": timezone.now(),
        "files_bytes": directory.size(),
        **seen,
    }
    try:
        directory.write_result(result)
    except OSError as error:
        log.error("run %s: the result could not be written to disk: %s", run.run_id, error)
    while True:
        try:
            recorded = lifecycle.end(run.run_id, lifecycle.hashed(token), result)
            log.info("run %s: %s%s", run.run_id, how.message, "" if recorded else " (not recorded: another's by now)")
            return
        except DatabaseError as error:
            log.warning("run %s: the result waits for the database: %s", run.run_id, error)
            connection.close()
            time.sleep(RETRY_SECONDS)

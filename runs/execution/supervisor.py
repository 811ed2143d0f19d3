"""One run's life: its process, its lease, its end.

The main thread pumps and stops the process; a second one, the lease's, reports to the database. Where the lease is
another's, the tree is killed and nothing is written.
"""

import errno
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone

from core import files
from runs import checkpoints, claims, datasets, lifecycle, manifest, masking, notices, room, tunix
from runs.execution import command, confinement, exit_file, presence, wake
from runs.execution.account import Unavailable
from runs.execution.cause import Ending, ending
from runs.execution.lease import LeaseKeeper
from runs.execution.oom import killed_for_memory
from runs.execution.process import NotStarted, ProcessTree, start_ticks
from runs.execution.report import Report, excerpts, record_end
from runs.execution.stream import Stream
from runs.execution.usage import Usage
from runs.models import TunixRun
from runs.notices import Kind, Notices, notice
from runs.output import clip
from runs.process_log import this_process_serves
from runs.rundir import RunDirectory

log = logging.getLogger(__name__)
T = TypeVar("T")
PUMP_SECONDS = 0.2
RETRY_SECONDS = 2.0
ASK_AGAIN_SECONDS = 1.0
# No room on the disk, no more processes, no memory for one, no more open files: not the run's fault, and it may pass.
HOST_FAULTS = (*room.NO_ROOM, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def supervise(run_id: uuid.UUID, token: str) -> None:
    """Start the run that `token` was given for, see it through, and record how it ended."""
    wake_up, host_stops = _heed_signals()
    this_process_serves(run_id)
    run = _answered(lambda: TunixRun.objects.get(pk=run_id))
    directory = RunDirectory(run_id)
    me = [os.getpid(), start_ticks(os.getpid())]
    found = Notices()
    try:
        if not presence.hold(run_id, run.slot):
            _leave_to_another(run_id, token)
            return
        if before := claims.remembered(run_id):
            _settle(Report(run), token, before)
            return
        arguments = _prepare(run, directory, found)
    except (datasets.DatasetError, ValueError, OSError) as error:
        _not_begun(Report(run), token, error)
        return
    run.processes, run.status, run.started_at = {"supervisor": me}, TunixRun.Status.RUNNING, timezone.now()
    if not _answered(lambda: lifecycle.start(run_id, token, run.processes)):
        log.info("run %s: not started: cancelled, or another's", run_id)
        return
    environment = command.environment(run_id, directory.path)
    secrets = masking.values_in(environment)
    streams = {name: Stream(directory.log(name), secrets=secrets) for name in ("stdout", "stderr")}
    try:
        claims.remember(run)
        confined = confinement.of_run(run, environment)
        started_so = confined.process()
        tree = ProcessTree(arguments, cwd=directory.path, env=confined.environment, process=started_so, **streams)
    except (NotStarted, Unavailable, datasets.DatasetError, ValueError, OSError) as error:
        claims.forget(run_id)
        _not_begun(Report(run), token, error)
        return
    log.info("run %s: started process %d", run_id, tree.pid)
    usage = Usage(tree.descendants)
    report = Report(run, streams, usage)
    report.notices.add(found.take())
    if not tree.tied:
        report.notice(Kind.NOT_TIED)
    report.began(masking.arguments(arguments, secrets), sorted(confined.environment), confined.described())
    keeper = LeaseKeeper(run, token, report, wake_up)
    keeper.start()
    connection.close()  # until the end this thread asks nothing, and the database may be another then
    timeout = float(run.config.get("timeout_seconds") or settings.DEFAULT_TIMEOUT_SECONDS)
    stopped = _see_through(tree, keeper, host_stops, timeout)
    if tree.is_written_to:
        report.notice(Kind.OUTPUT_UNREAD)
    tree.close()
    if tree.left:
        report.notice(Kind.PROCESSES_LEFT, count=tree.left)
    confined.end()
    duration = time.monotonic() - tree.started
    for stream in streams.values():
        stream.close()
    keeper.stop()
    if keeper.fenced.is_set():
        log.warning("run %s: the lease is another's; killed, nothing recorded", run_id)
        return
    last_lines = "\n".join(stream.last_lines() for stream in streams.values())
    killed = killed_for_memory(usage.pids | {tree.pid}, tree.started)
    how = ending(tree.returncode or 0, stopped, timeout, last_lines, killed)
    _record(report, token, how, {**excerpts(streams), "duration_seconds": duration})


def _answered(ask: Callable[[], T]) -> T:
    """What the database answers, asked again as long as the claim lasts. Raises its error then."""
    deadline = time.monotonic() + settings.LEASE_SECONDS
    while True:
        try:
            return ask()
        except DatabaseError as error:
            connection.close()
            if time.monotonic() >= deadline:
                raise
            log.warning("the database cannot be used, trying again: %s", error)
            time.sleep(ASK_AGAIN_SECONDS)


def _leave_to_another(run_id: uuid.UUID, token: str) -> None:
    """To the supervisor that sees the run through, and finds that the database says it waits: it takes it up again."""
    log.warning("run %s: it trains already: the database was restored from a backup", run_id)
    _answered(lambda: lifecycle.give_back(run_id, token))
    time.sleep(settings.HEARTBEAT_SECONDS)


def _settle(report: Report, token: str, before: TunixRun) -> None:
    """A run that the database says waits and that began before: it is not executed again, but ends as it ended."""
    run_id = report.run.run_id
    result = exit_file.found(report.directory, before.claim)
    if result is None:
        lost = _answered(lambda: lifecycle.lose_begun(run_id, token))
        log.warning("run %s: it had begun before, and is lost: %s", run_id, lost)
        return
    report.run.started_at = before.started_at
    known = {"started_at": before.started_at, "processes": before.processes}
    _answered(lambda: record_end(report, lifecycle.hashed(token), result | known))
    log.warning("run %s: it had ended before: recorded from its directory", run_id)


def _heed_signals() -> tuple[threading.Event, threading.Event]:
    """Set by SIGUSR1, the hint that something was asked for, and by SIGUSR2: the host stops, the run is to end first.

    From the first moment on: unheeded they would kill us.
    What stops a dispatcher or its terminal stops no training: those signals have a handler that does nothing. To ignore
    them would be inherited by the trainer, which is asked to end by one of them.
    """
    wake, host_stops = threading.Event(), threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: wake.set())
    signal.signal(signal.SIGUSR2, lambda *_: host_stops.set())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return wake, host_stops


def _prepare(run: TunixRun, directory: RunDirectory, found: Notices) -> list[str]:
    directory.path.mkdir(parents=True, exist_ok=True)
    dataset = datasets.get(run.dataset_key)
    output = directory.output(run.output_dir)
    files.make_directory(directory.path, run.output_dir)
    training = manifest.training_manifest(run, dataset.data_path)
    training["output"]["output_dir"] = str(output)
    if run.resume:
        training["resume"] = {"step": _take_over_checkpoint(run, found)}
    files.write_whole(directory.path, directory.manifest.name, manifest.as_yaml(training).encode())
    values = {
        "python": settings.TUNIX_PYTHON,
        "manifest": str(directory.manifest),
        "dataset": str(dataset.data_path),
        "run_dir": str(directory.path),
        "output_dir": str(output),
        "model_id": run.model_id,
    }
    return command.argv(tunix.training_command(), values)


def _take_over_checkpoint(run: TunixRun, found: Notices) -> int:
    """Put the last checkpoint of the run that this one resumes among its own. Raises ValueError and OSError."""
    last = checkpoints.last(run.retry_of) if run.retry_of else None
    if last is None:
        raise ValueError("the checkpoint to resume from is gone")
    if copied := checkpoints.link(last, run):
        found.add([notice(Kind.CHECKPOINT_COPIED, copied[0], len(copied))])
    return last.step


def _see_through(tree: ProcessTree, keeper: LeaseKeeper, host_stops: threading.Event, timeout: float) -> str | None:
    """Pump until the process has ended. Returns why it was ended from here, where it was: see `ending`."""
    stopped, kill_at = None, float("inf")
    while not tree.ended:
        tree.pump(PUMP_SECONDS)
        now = time.monotonic()
        if keeper.fenced.is_set():
            tree.kill_rest()
            return stopped
        if stopped is None and tree.returncode is None:
            reasons = {
                "cancelled": keeper.cancelled.is_set(),
                "host_stopped": host_stops.is_set(),
                "timeout": now - tree.started >= timeout,
            }
            stopped = next((reason for reason, applies in reasons.items() if applies), None)
            if stopped:
                tree.signal(signal.SIGTERM)
                kill_at = now + settings.GRACE_SECONDS
        if now >= kill_at:
            tree.signal(signal.SIGKILL)
            kill_at = now + 1
    return stopped


def _not_begun(report: Report, token: str, error: Exception) -> None:
    """Failed; or pending again, where it is this host that cannot start anything now."""
    cause = error.__cause__ if isinstance(error, NotStarted) else error
    if not isinstance(cause, OSError) or cause.errno not in HOST_FAULTS:
        _could_not_start(report, token, str(error))
        return
    run_id = report.run.run_id
    log.warning("run %s: waits again, this host cannot start it: %s", run_id, error)
    time.sleep(RETRY_SECONDS)  # whoever claims it next must not meet the same at once
    if lifecycle.give_back(run_id, token):
        notices.store(run_id, [notice(Kind.SUPERVISOR_NOT_STARTED, str(error))])
    presence.release()
    wake.wake_dispatcher()


def _could_not_start(report: Report, token: str, reason: str) -> None:
    how = Ending("failed", "not_started", clip(reason), None, f"Local execution failed: not started: {reason}")
    _record(report, token, how, {"stderr": clip(reason + "\n"), "duration_seconds": None})


def _record(report: Report, token: str, how: Ending, seen: dict[str, Any]) -> None:
    """First to disk, then to the database, however long that takes."""
    run_id = report.run.run_id
    result = {**asdict(how), **seen, "completed_at": timezone.now(), "files_bytes": report.measure()}
    try:
        noticed = {"notices": notices.as_stored(report.notices.waiting())}
        exit_file.write(report.directory, lifecycle.hashed(token), result | noticed)
    except OSError as error:
        log.error("run %s: the result could not be written to disk: %s", run_id, error)
        report.notice(Kind.RESULT_UNWRITTEN, error.strerror or str(error))
    report.ended(result)
    while True:
        try:
            claim = lifecycle.hashed(token)
            recorded = record_end(report, claim, result)
            if not recorded and lifecycle.take_up(report.run, token):  # restored from a backup since the last heartbeat
                report.begin_again(0)
                recorded = record_end(report, claim, result)
            log.info("run %s: %s%s", run_id, how.message, "" if recorded else " (not recorded: another's by now)")
            presence.release()
            wake.wake_dispatcher()
            return
        except DatabaseError as error:
            log.warning("run %s: the result waits for the database: %s", run_id, error)
            report.notice(Kind.RESULT_WAITED, str(error))
            connection.close()
            time.sleep(RETRY_SECONDS)

"""Claims what waits, starts its supervisor, and resolves what has fallen silent.

It holds nothing that matters: everything is in the database and on disk. It can be killed at any moment and started
again, and two of them do no harm.
"""

import logging
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection

from runs import lifecycle, notices, room, upgrades
from runs.execution import exit_file, presence, standstill, wake
from runs.execution.executors.local import LocalExecutor, host_name
from runs.execution.process import boot_id, bury_children
from runs.execution.report import Report, record_end
from runs.models import TunixRun
from runs.notices import Kind, notice

log = logging.getLogger(__name__)
POLL_SECONDS = 1.0
REAP_SECONDS = 2.0
HOUSEKEEPING_SECONDS = 3600.0
# The database cannot be used now, for whatever run it is.
AWAY = (OperationalError, InterfaceError)
# Other runs wait meanwhile.
REPORT_SECONDS = 5.0
# Not at once: one that is started again and again has other things to do.
FIRST_HOUSEKEEPING_SECONDS = 60.0


class Dispatcher:
    def __init__(self) -> None:
        self.host, self.boot = host_name(), boot_id()
        self.executor = LocalExecutor()
        self.stopping = False
        self._reaped = 0.0
        self._refused = ""
        self._fits = False
        self._keep_house_at = time.monotonic() + FIRST_HOUSEKEEPING_SECONDS

    def run(self) -> None:
        """Until `stopping` is set."""
        self.executor.prepare()
        pipe = wake.listen()
        while not self.stopping:
            try:
                self.step()
            except DatabaseError as error:
                log.warning("the database cannot be used, trying again: %s", error)
                connection.close()
                if connection.vendor == "sqlite":
                    standstill.let_go_on(Path(connection.settings_dict["NAME"]))
            ready, _, _ = select.select([pipe], [], [], POLL_SECONDS)
            if ready:
                wake.drain(pipe)

    def step(self) -> None:
        bury_children()
        if not self._fits:
            if sentence := upgrades.newer():  # the database may have been away when the command was checked
                raise CommandError(sentence)
            self._fits = True
        if time.monotonic() - self._reaped >= REAP_SECONDS:
            self.reap()
            self._reaped = time.monotonic()
        if time.monotonic() >= self._keep_house_at:
            self._keep_house_at = time.monotonic() + HOUSEKEEPING_SECONDS
            _keep_house()
        while not self.stopping and self.start_next():
            pass

    def start_next(self) -> bool:
        if self._held_up():
            return False
        claimed = lifecycle.claim(self.host, self.boot, [s for s in range(settings.SLOTS) if s not in presence.slots()])
        if claimed is None:
            return False
        run, token = claimed
        try:
            self.executor.submit(run, token)
        except OSError as error:
            log.error("run %s: its supervisor could not be started, it waits: %s", run.run_id, error)
            lifecycle.give_back(run.run_id, token)
            notices.store(run.run_id, [notice(Kind.SUPERVISOR_NOT_STARTED, str(error))])
            return False
        log.info("run %s: claimed", run.run_id)
        return True

    def _held_up(self) -> bool:
        """Whether no run can begin here for want of room. What waits goes on waiting; said once."""
        refusal = room.refusal()
        if refusal and not self._refused:
            log.warning("nothing is started: %s", refusal)
        self._refused = refusal
        return bool(refusal)

    def reap(self) -> None:
        expired = lifecycle.expired_claims()
        if expired and (count := lifecycle.unclaim_expired()):
            log.warning("%d claims ran out before their runs began", count)
            for run_id in expired:
                notices.store(run_id, [notice(Kind.CLAIM_EXPIRED)])
        for run in lifecycle.overdue(self.host, self.boot):
            _alone(run, self._resolve)
        for run in lifecycle.fenced(self.host):
            _alone(run, self._end)
        lifecycle.cancel_dead()

    def _resolve(self, run: TunixRun) -> None:
        """A silent run: its result, where it left one; else lost, and its slot free where its processes are dead."""
        report = Report(run)
        if run.host == self.host and self._take_result(report):
            return
        alive = self.executor.inspect(run)
        lifecycle.lose(run, f"Local execution lost: {_why(alive, run.boot_id == self.boot)}")
        if alive is False or (alive and lifecycle.is_deaf_to_cancel(run)):
            self._end(run)
            report.catch_up(lambda **columns: lifecycle.note(run.run_id, run.claim, **columns), REPORT_SECONDS)

    def _take_result(self, report: Report) -> bool:
        """Whether its supervisor left one and it was taken. Another's, or one that cannot be stored, is left alone."""
        run = report.run
        try:
            record_end(report, run.claim, exit_file.read(report.directory, run.claim), REPORT_SECONDS)
        except FileNotFoundError:
            return False
        except AWAY:
            raise
        except Exception as error:
            first = run.status == TunixRun.Status.RUNNING  # a lost one is looked at again and again
            log.log(
                logging.WARNING if first else logging.DEBUG, "run %s: exit.json is not taken: %s", run.run_id, error
            )
            report.notice(Kind.RESULT_REFUSED, str(getattr(error, "strerror", None) or error))
            return False
        return True

    def _end(self, run: TunixRun) -> None:
        """Its slot is free when nothing that it started can use the accelerator any more; else it is tried again."""
        if self.executor.end(run):
            lifecycle.free_slot(run)
        else:
            log.warning("run %s: processes of it cannot be killed; its slot stays taken", run.run_id)
            if all(each.kind != Kind.PROCESSES_LEFT for each in notices.parsed(run.notices)):
                notices.store(run.run_id, [notice(Kind.PROCESSES_LEFT, "its slot stays taken")])


def _alone(run: TunixRun, act: Callable[[TunixRun], None]) -> None:
    """Whatever it raises costs this run alone, but for a database that is away from all."""
    try:
        act(run)
    except AWAY:
        raise
    except Exception:
        log.exception("run %s: could not be resolved", run.run_id)


def _keep_house() -> None:
    """In a process of its own: to free a run of many files takes minutes, and nothing waits for it."""
    try:
        subprocess.Popen([sys.executable, settings.BASE_DIR / "manage.py", "housekeeping"], stdin=subprocess.DEVNULL)
    except OSError as error:
        log.error("housekeeping could not be started: %s", error)


def _why(alive: bool | None, same_boot: bool) -> str:
    if alive is None:
        return "its host has stopped reporting"
    if alive:
        return "its supervisor lives and cannot reach the database; it may come back"
    return "its supervisor died" if same_boot else "its host was restarted"

"""The second thread of a supervisor: it speaks with the database, which may be slow or away. No training waits."""

import logging
import threading

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from runs import lifecycle
from runs.execution.report import Report
from runs.models import TunixRun
from runs.notices import Kind

log = logging.getLogger(__name__)


class LeaseKeeper(threading.Thread):
    """Renews the lease and reports what is new; hears of a cancel; never raises."""

    def __init__(self, run: TunixRun, token: str, report: Report, wake: threading.Event):
        super().__init__(name="lease", daemon=True)
        self.run_id, self.token, self.report = run.run_id, token, report
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
            if connection.vendor == "sqlite":  # another file may be in its place by now, restored from a backup
                connection.close()
            self._wake.wait(settings.HEARTBEAT_SECONDS)
            self._wake.clear()  # before the beat: what is asked for during it wakes the next one
        connection.close()

    def _beat(self) -> None:
        try:
            self._look()
            self._renew()
        except DatabaseError as error:
            log.warning("run %s: no heartbeat: %s", self.run_id, error)
            self.report.notice(Kind.REPORT_MISSED, str(error))
            connection.close()

    def _look(self) -> None:
        """What others have written: a cancel; or a backup, that knows of fewer points than were delivered."""
        row = TunixRun.objects.filter(pk=self.run_id).values_list("cancel_requested_at", "metrics_offset").first()
        if row and row[0] is not None:
            self.cancelled.set()
        if row and row[1] < self.report.metrics.offset:
            self.report.begin_again(row[1])

    def _renew(self) -> None:
        """A report that cannot be written, whatever a trainer has put into it, costs no lease."""
        try:
            self.report.sample()
            held = self.report.catch_up(lambda **columns: lifecycle.heartbeat(self.run_id, self.token, **columns))
        except Exception as error:
            log.warning("run %s: could not report, renewing the lease alone: %s", self.run_id, error)
            held = lifecycle.heartbeat(self.run_id, self.token)
            self.report.notice(Kind.REPORT_REFUSED, str(error))
        if held:
            return
        if lifecycle.take_up(self.report.run, self.token):
            log.warning("run %s: taken up again, the database had forgotten it", self.run_id)
            self.report.begin_again(0)
        else:
            self.fenced.set()

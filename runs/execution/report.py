"""What the database is told of a run while it goes on and when it ends: output, metrics, progress, provenance.

Everything is on disk first; the database gets it when it answers.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, transaction

from core import files
from runs import lifecycle, metrics, notices, provenance
from runs.execution import facts, metrics_file
from runs.execution.metrics_file import Batch, MetricsFile, Piece
from runs.execution.stream import Stream
from runs.execution.usage import Usage
from runs.models import TunixRun
from runs.notices import Kind
from runs.output import clip
from runs.rundir import RunDirectory

log = logging.getLogger(__name__)
# A report goes on for so long at most: whatever a trainer has written, a heartbeat ends and a run does.
REPORT_SECONDS = 10.0
LAST_REPORT_SECONDS = 60.0
# The directory is measured so seldom that it takes at most a hundredth of a core, however many files are in it.
MEASURED_SHARE = 100
# While the database is away, samples of the machine wait here: 10 hours of them.
MAX_WAITING = 7_200
# Writes columns of the run's row, or returns False: it is another's by now.
Write = Callable[..., bool]


class Report:
    def __init__(self, run: TunixRun, streams: dict[str, Stream] | None = None, usage: Usage | None = None):
        self.run = run
        self.notices = notices.Notices()
        # What of the streams' losses is in the notices, and why trainer.json cannot be read as it is now.
        self._noticed: dict[tuple[str, Kind], int] = {}
        self._facts_trouble = ""
        self.directory = RunDirectory(run.run_id)
        self.metrics = MetricsFile(self.directory.metrics, run.metrics_offset)
        self._streams, self._usage = streams or {}, usage
        self._samples: Batch = {}
        self._facts_seen = 0
        self._files_bytes = 0
        self._measure_at = 0.0
        self._new: dict[str, Any] = {}
        self._began: tuple[list[str], list[str], dict[str, Any]] | None = None

    def began(self, arguments: list[str], environment: list[str], confinement: dict[str, Any]) -> None:
        """With which arguments, which environment variables, by name, and what it was left of the machine.

        The first delivery collects the rest.
        """
        self._began = arguments, environment, confinement

    def _collect(self, arguments: list[str], environment: list[str], confinement: dict[str, Any]) -> None:
        """Takes as long as git does, so it is not done before the trainer is started."""
        found = provenance.collect(arguments, environment, self.run.dataset_key)
        found["confinement"] = confinement
        try:
            if code := provenance.code_of(arguments):
                found["code"] = code.as_dict()
                self._keep_patch(code)
        except provenance.CodeUnknown as error:
            self.notice(Kind.CODE_UNKNOWN, str(error))
        if self.run.resume and self.run.retry_of_id:
            found["resumed_from"] = {"run_id": str(self.run.retry_of_id)}
        self._know(found)

    def _keep_patch(self, code: provenance.Code) -> None:
        if code.patch_sha256 and not code.patch:
            self.notice(Kind.PATCH_OMITTED, f"it is over {provenance.MAX_PATCH_BYTES:,} bytes long")
        try:
            files.write_whole(self.directory.path, self.directory.patch.name, code.patch)
        except OSError as error:
            if code.patch:
                self.notice(Kind.PATCH_OMITTED, error.strerror or str(error))

    def notice(self, kind: Kind, detail: str = "", count: int = 1) -> None:
        """Something was lost or left out; the run's page will say so."""
        self.notices.add([notices.notice(kind, detail, count)])

    def begin_again(self, offset: int) -> None:
        """Deliver once more what a database that was restored from a backup does not know: points from `offset` on."""
        self.metrics.offset = offset
        self._new = {name: getattr(self.run, name) for name in ("provenance", "total_steps", "step")}

    def sample(self) -> None:
        """Ask the machine."""
        if self._usage is None:
            return
        for name, points in self._usage.sample().items():
            waiting = self._samples.setdefault(name, [])
            waiting.extend(points)
            if dropped := max(0, len(waiting) - MAX_WAITING):
                del waiting[:dropped]
                self.notice(Kind.SAMPLES_DROPPED, count=dropped)
        if self._usage.trouble:
            self.notice(Kind.GPUS_UNMEASURED, self._usage.trouble)
            self._usage.trouble = ""

    def deliver(self, write: Write) -> bool:
        """Write what is new, up to a chunk of metrics, together or not at all. False: `write` refused.

        Raises the database's errors.
        """
        piece = self.metrics.next()
        columns = self._columns(piece.batch, piece.end)
        taken: list[notices.Notice] = []
        try:
            with transaction.atomic():
                if not write(**columns):
                    return False
                # The machine's first: a trainer with too many names must not take their place.
                left_out = metrics.append(self.run.run_id, self._samples | piece.batch)
                taken = self.notices.take()
                notices.store(self.run.run_id, [*taken, *_not_stored(piece, left_out)])
        except Exception:
            self.notices.add(taken)
            raise
        self.metrics.offset = piece.end
        self._samples, self._new = {}, {}
        return True

    def catch_up(self, write: Write, seconds: float = REPORT_SECONDS) -> bool:
        """Deliver what is there now, for so long at most. False: `write` refused.

        What comes meanwhile waits for the next time: a trainer that logs faster than a delivery takes would keep us
        here, and nobody would hear of a cancel.
        """
        until, deadline = self.metrics.size(), time.monotonic() + seconds
        while True:
            before = self.metrics.offset
            if not self.deliver(write):
                return False
            done = self.metrics.offset == before or self.metrics.offset >= until
            if done or time.monotonic() >= deadline:
                return True

    def notice_unread(self) -> None:
        """To be asked when nothing more will be read."""
        unread = self.metrics.size() - self.metrics.offset
        if unread > metrics_file.CHUNK_BYTES:  # the last delivery takes one
            self.notice(Kind.METRICS_UNREAD, count=unread)

    def measure(self) -> int:
        """How many bytes the directory holds on disk, now."""
        began = time.monotonic()
        self._files_bytes = self.directory.size()
        took = time.monotonic() - began
        self._measure_at = time.monotonic() + MEASURED_SHARE * took
        return self._files_bytes

    def _size(self) -> int:
        return self.measure() if time.monotonic() >= self._measure_at else self._files_bytes

    def _columns(self, batch: Batch, offset: int) -> dict[str, Any]:
        if self._began:
            self._collect(*self._began)
            self._began = None
        self._read_facts()
        self._notice_losses()
        step = max(
            (point[0] for name, points in batch.items() if not metrics.is_of_the_machine(name) for point in points),
            default=None,
        )
        if step is not None:
            self.run.step = max(step, self.run.step or 0)
            self._new["step"] = self.run.step
        return excerpts(self._streams) | self._new | {"metrics_offset": offset, "files_bytes": self._size()}

    def _notice_losses(self) -> None:
        """What of the output was lost or left out since the last time."""
        for name, stream in self._streams.items():
            for kind, count, why in (
                (Kind.OUTPUT_LOST, stream.lost, f"{name}: {stream.trouble}"),
                (Kind.OUTPUT_OMITTED, stream.omitted, name),
            ):
                if new := count - self._noticed.get((name, kind), 0):
                    self._noticed[name, kind] = count
                    self.notice(kind, why, new)

    # --- what the trainer finds out -----------------------------------------------------------------------------------

    def _read_facts(self) -> None:
        """Take over trainer.json where it is new and readable; a trainer of another kind writes none."""
        directory = self.directory
        try:
            stamp = files.status_of(directory.path, directory.facts.name).st_mtime_ns
            if stamp == self._facts_seen:
                return
            self._facts_seen = stamp
            found, refused = facts.read(directory)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:  # it may be half written: the last time counts
            self._facts_trouble = str(getattr(error, "strerror", None) or error)
            return
        self._facts_trouble = ""
        if refused:
            self.notice(Kind.FACTS_REFUSED, ", ".join(refused))
        total = found.pop("total_steps", None)
        if total and total <= metrics.MAX_STEP:
            self._new["total_steps"] = self.run.total_steps = total
        if self.run.resume and "resumed_from_step" in found:
            origin = self.run.provenance.get("resumed_from", {})
            found["resumed_from"] = origin | {"step": found["resumed_from_step"]}
        self._know(found)

    def _know(self, facts: dict[str, Any]) -> None:
        self.run.provenance = self.run.provenance | facts
        self._new["provenance"] = self.run.provenance
        self.write_record()

    def ended(self, result: dict[str, Any]) -> None:
        """Complete run.json with how it ended."""
        for name, value in result.items():
            setattr(self.run, name, value)
        if self._usage and self._usage.peak_memory_bytes:
            self.run.provenance = self.run.provenance | {"peak_tree_memory_bytes": self._usage.peak_memory_bytes}
        self._read_facts()
        if self._facts_trouble:
            self.notice(Kind.FACTS_UNREAD, self._facts_trouble)
        self._know({})

    def conclude(self) -> None:
        """Complete run.json with what only the database knows: its own times, the last step. The run has ended."""
        with contextlib.suppress(DatabaseError, TunixRun.DoesNotExist):
            self.run.refresh_from_db()
            self.write_record()

    def write_record(self) -> None:
        """run.json, from what is known by now."""
        try:
            self.directory.write_record(provenance.document(self.run))
        except OSError as error:
            log.error("run %s: run.json could not be written: %s", self.run.run_id, error)
            self.notice(Kind.RECORD_UNWRITTEN, error.strerror or str(error))


def _not_stored(piece: Piece, left_out: metrics.LeftOut) -> Iterator[notices.Notice]:
    if piece.unread:
        yield notices.notice(Kind.METRIC_LINES_UNREAD, piece.reason, piece.unread)
    if left_out.points:
        yield notices.notice(Kind.METRIC_POINTS_OMITTED, left_out.reason, left_out.points)


def record_end(report: Report, claim: str, result: dict[str, Any], seconds: float = LAST_REPORT_SECONDS) -> bool:
    """The rest of the metrics, for so long at most, then the end, by whoever holds `claim`. False: it is another's.

    `result` may have `notices`, of a supervisor that could not store them. A report that cannot be written, whatever a
    trainer has put into it, costs no result. Raises the database's errors.
    """
    run_id = report.run.run_id
    columns_of_end = {name: value for name, value in result.items() if name != "notices"}
    report.notices.add(notices.parsed(result.get("notices")))
    report.metrics.ended = True
    try:
        report.catch_up(lambda **columns: lifecycle.note(run_id, claim, **columns), seconds)
        report.notice_unread()
        ended = report.deliver(lambda **columns: lifecycle.end(run_id, claim, columns_of_end | columns))
    except (OperationalError, InterfaceError):  # the database is away or busy: all of it is tried again
        raise
    except Exception as error:
        log.warning("run %s: the last report could not be written: %s", run_id, error)
        report.notice(Kind.REPORT_REFUSED, str(error))
        ended = lifecycle.end(run_id, claim, columns_of_end)
        notices.store(run_id, report.notices.take() if ended else [])
    if ended:
        report.conclude()
    return ended


def excerpts(streams: dict[str, Stream]) -> dict[str, str]:
    return {name: clip(*stream.head_and_tail()) for name, stream in streams.items()}

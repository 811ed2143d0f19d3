"""What a trainer appends to metrics.jsonl, read as far as it has been written."""

import json
import logging
import math
import os
import stat
import time
from pathlib import Path
from typing import Any

import orjson

from runs import metrics

log = logging.getLogger(__name__)
# So much at once: about 10,000 points, which the database takes in a tenth of a second.
CHUNK_BYTES = 1024 * 1024
Batch = dict[str, list[metrics.Point]]


class MetricsFile:
    """`offset` is what of the file has been stored; it is moved by whoever stored it."""

    def __init__(self, path: Path, offset: int = 0):
        self.path, self.offset = path, offset
        self._warned = False

    def next(self) -> tuple[Batch, int]:
        """The points that follow `offset`, up to a chunk of them, and the offset behind them. Never raises."""
        try:
            data, start = self._chunk()
        except OSError:
            return {}, self.offset
        end = data.rfind(b"\n") + 1
        if not end and len(data) == CHUNK_BYTES:  # no line is so long: pass over it
            end = len(data)
        batch: Batch = {}
        for line in data[:end].splitlines():
            if line.strip():
                self._read(line, batch)
        return batch, start + end

    def size(self) -> int:
        """In bytes, now; 0 where there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def _chunk(self) -> tuple[bytes, int]:
        """Whatever the trainer put there: a pipe must not hold us up, a device or a link not be read."""
        file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                return b"", self.offset
            # A file that has become shorter was begun anew. Its points replace those that they repeat.
            start = self.offset if status.st_size >= self.offset else 0
            return os.pread(file, CHUNK_BYTES, start), start
        finally:
            os.close(file)

    def _read(self, line: bytes, batch: Batch) -> None:
        try:
            name, point = _point(line)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            if not self._warned:
                log.warning(
                    "%s has lines that are no points and are passed over, such as %.80r: %s", self.path, line, error
                )
            self._warned = True
            return
        batch.setdefault(name, []).append(point)


def _point(line: bytes) -> tuple[str, metrics.Point]:
    row = _loads(line)
    name, step, value, moment = row["name"], row["step"], row["value"], row.get("time")
    if not isinstance(name, str) or not metrics.NAME.fullmatch(name):
        raise ValueError("no name of a metric")
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= metrics.MAX_STEP:
        raise ValueError("no step")
    if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise ValueError("no value")
    known = isinstance(moment, (int, float)) and 0 <= moment < metrics.MAX_TIME
    seconds = float(moment) if known else time.time()
    return name, (step, math.nan if value is None else float(value), seconds)


def _loads(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)  # takes NaN and Infinity, as Python's own writes them

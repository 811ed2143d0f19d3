"""What a trainer appends to metrics.jsonl, read as far as it has been written."""

import json
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from core import files
from runs import metrics, points

# So much at once: about 10,000 points, which the database takes in a tenth of a second.
CHUNK_BYTES = 1024 * 1024
COUNTED_BYTES = 64 * 1024 * 1024
# Of a line that is no point, for its reader to recognize it by.
SHOWN_BYTES = 100
Batch = dict[str, list[metrics.Point]]


@dataclass
class Piece:
    """Points of some lines, and `end`, the offset behind these. `unread` lines, or values in them, were no points;
    `reason` says why of the first."""

    batch: Batch = field(default_factory=dict)
    end: int = 0
    unread: int = 0
    reason: str = ""


class MetricsFile:
    """`offset` is what of the file has been stored; it is moved by whoever stored it.

    `ended` is set once nothing more will be written: then what follows the last line feed is a line as well.
    """

    def __init__(self, path: Path, offset: int = 0):
        self.path, self.offset = path, offset
        self.ended = False
        # Where the last line that is longer than a chunk began, and how far it is known to reach.
        self._long = (0, 0)

    def next(self) -> Piece:
        """What follows `offset`, up to a chunk of it. Never raises."""
        try:
            data, start = self._chunk(self.offset)
        except OSError:
            return Piece(end=self.offset)
        end = data.rfind(b"\n") + 1
        if self.ended and len(data) < CHUNK_BYTES:
            end = len(data)
        piece = Piece()
        inside = self._long[0] < start <= self._long[1]
        if not end and len(data) == CHUNK_BYTES:  # no line is so long: pass over it
            self._long = (self._long[0] if inside else start, start + len(data))
            piece.end = self._long[1]
            if not inside:
                self._refuse(piece, start, b"", f"is longer than {CHUNK_BYTES:,} bytes")
            return piece
        piece.end, place = start + end, start
        for number, line in enumerate(data[:end].split(b"\n")):
            if line.strip() and not (inside and number == 0):
                self._read(line, place, piece)
            place += len(line) + 1
        return piece

    def size(self) -> int:
        """In bytes, now; 0 where there is none."""
        try:
            status = files.status_of(self.path.parent, self.path.name)
        except OSError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def _chunk(self, offset: int) -> tuple[bytes, int]:
        file = files.open_file(self.path.parent, self.path.name)
        try:
            # A file that has become shorter was begun anew. Its points replace those that they repeat.
            start = offset if os.fstat(file).st_size >= offset else 0
            return os.pread(file, CHUNK_BYTES, start), start
        finally:
            os.close(file)

    def _read(self, line: bytes, place: int, piece: Piece) -> None:
        try:
            found = points.of_line(_loads(line), time.time())
        except (ValueError, RecursionError) as error:
            reason = "is no JSON" if isinstance(error, (json.JSONDecodeError, RecursionError)) else str(error)
            self._refuse(piece, place, line, reason)
            return
        if found.problem:
            self._refuse(piece, place, line, found.problem)
        for name, point in found.points:
            piece.batch.setdefault(name, []).append(point)

    def _refuse(self, piece: Piece, place: int, line: bytes, reason: str) -> None:
        piece.unread += 1
        if not piece.reason:
            shown = line[:SHOWN_BYTES].decode("utf-8", "replace") + ("…" if len(line) > SHOWN_BYTES else "")
            # Lines are counted from the beginning, and there is no end to what a trainer can write.
            where = (
                f"line {self._lines_before(place) + 1:,}" if place <= COUNTED_BYTES else f"the line at byte {place:,}"
            )
            piece.reason = f"{where} {reason}" + (f": {shown}" if shown else "")

    def _lines_before(self, place: int) -> int:
        count, offset = 0, 0
        while offset < place:
            try:
                data, _ = self._chunk(offset)
            except OSError:
                return count
            count += data[: place - offset].count(b"\n")
            offset += len(data) or place
        return count


def _loads(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)  # takes NaN and Infinity, as Python's own writes them

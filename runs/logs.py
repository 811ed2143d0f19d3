"""Log files by byte offset. What a run has written so far, in pieces that never split a character.

Where a file is gone or cannot be read, what the run's record kept of it stands in its place, and `problem` says so.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core import files
from runs.limits import LOG_BYTES
from runs.models import TunixRun
from runs.rundir import RunDirectory

STREAMS = ("stdout", "stderr")
MAX_LIMIT = 1024 * 1024
DEFAULT_LIMIT = PIECE_BYTES = 64 * 1024
# What a supervisor writes at most, and a line that says what it has left out. Whatever lies beyond is not its.
MAX_BYTES = LOG_BYTES + 1024


@dataclass(frozen=True)
class Piece:
    """Bytes [offset, next_offset) of a stream as text; `eof` when the run has ended and nothing follows.

    `problem` is a sentence where the text is not the file's, else empty.
    """

    stream: str
    offset: int
    next_offset: int
    size: int
    eof: bool
    text: str
    problem: str


def path(run: TunixRun, stream: str) -> Path:
    return RunDirectory(run.run_id).log(stream)


def raw(run: TunixRun, stream: str, offset: int, limit: int) -> tuple[bytes, int]:
    """Bytes [offset, offset + limit) as far as they are there, and how many there are in all."""
    with opened(run, stream)[0] as file:
        size = min(file.seek(0, os.SEEK_END), MAX_BYTES)
        file.seek(min(offset, size))
        return file.read(min(limit, max(0, size - offset))), size


def size(run: TunixRun, stream: str) -> int:
    return raw(run, stream, 0, 0)[1]


def problem(run: TunixRun, stream: str) -> str:
    """Why the log is not the file but what the record kept, as a sentence; empty where it is the file."""
    file, said = opened(run, stream)
    file.close()
    return said


def read(run: TunixRun, stream: str, offset: int = 0, limit: int = DEFAULT_LIMIT) -> Piece:
    data, size = raw(run, stream, offset, limit)
    ended = run.is_terminal
    if not (ended and offset + len(data) >= size):
        data = data[: whole_characters(data)]
    following = offset + len(data)
    text = data.decode("utf-8", "replace").replace("\0", "�")
    return Piece(stream, offset, following, size, ended and following >= size, text, problem(run, stream))


def whole(run: TunixRun, stream: str) -> tuple[int, Iterator[bytes], str]:
    """How many bytes there are, all of them a piece at a time, and the `problem`, which is then their first line."""
    file, said = opened(run, stream)
    if said:
        file = io.BytesIO(f"[{said}]\n".encode() + file.read())
    size = min(file.seek(0, os.SEEK_END), MAX_BYTES)
    file.seek(0)
    return size, _pieces(file, size), said


def _pieces(file: BinaryIO, left: int) -> Iterator[bytes]:
    with file:
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece


def opened(run: TunixRun, stream: str) -> tuple[BinaryIO, str]:
    """A log to read from, of which only the first MAX_BYTES are meant, and the `problem` with it.

    A dry run has no files: its record is its log. So it is of a run whose trainer was never started.
    """
    kept = getattr(run, stream).encode()
    if run.mode == TunixRun.Mode.DRY_RUN:
        return io.BytesIO(kept), ""
    file = path(run, stream)
    try:
        return os.fdopen(files.open_file(file.parent, file.name), "rb"), ""
    except FileNotFoundError:
        # A moment passes between the start of a run and its first file.
        missed = run.processes and (run.is_terminal or kept)
        said = f"The file {file.name} is gone." if missed else ""
    except OSError as error:
        said = f"{file.name} cannot be read: {error.strerror}."
    if said:
        said += " This is what the record kept of it." if kept else " The record kept nothing of it."
    return io.BytesIO(kept), said


def whole_characters(data: bytes) -> int:
    """How many bytes there are without a last character of which only the beginning is there."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) - back if length > back else len(data)
    return len(data)

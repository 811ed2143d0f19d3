"""Log files by byte offset. What a run has written so far, in pieces that never split a character."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from runs.models import TunixRun

STREAMS = ("stdout", "stderr")
MAX_LIMIT = 1024 * 1024
DEFAULT_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Piece:
    """Bytes [offset, next_offset) of a stream as text; `eof` when the run has ended and nothing follows."""

    stream: str
    offset: int
    next_offset: int
    size: int
    eof: bool
    text: str


def path(run: TunixRun, stream: str) -> Path:
    return Path(settings.RUNS_DIR) / str(run.run_id) / f"{stream}.log"


def opened(run: TunixRun, stream: str) -> BinaryIO:
    """The file of a local run. Raises OSError."""
    return path(run, stream).open("rb")


def raw(run: TunixRun, stream: str, offset: int, limit: int) -> tuple[bytes, int]:
    """Bytes [offset, offset + limit) as far as they are there, and how many there are in all. Raises OSError."""
    if run.mode == TunixRun.Mode.DRY_RUN:
        whole = getattr(run, stream).encode()
        return whole[offset : offset + limit], len(whole)
    return _from_file(path(run, stream), offset, limit)


def size(run: TunixRun, stream: str) -> int:
    """Raises OSError."""
    return raw(run, stream, 0, 0)[1]


def read(run: TunixRun, stream: str, offset: int = 0, limit: int = DEFAULT_LIMIT) -> Piece:
    """Raises OSError. A dry run has no files: its record is its log."""
    data, size = raw(run, stream, offset, limit)
    ended = run.is_terminal
    if not (ended and offset + len(data) >= size):
        data = data[: whole_characters(data)]
    following = offset + len(data)
    text = data.decode("utf-8", "replace").replace("\0", "�")
    return Piece(stream, offset, following, size, ended and following >= size, text)


def _from_file(log: Path, offset: int, limit: int) -> tuple[bytes, int]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(offset)
            return file.read(limit), size
    except FileNotFoundError:
        return b"", 0


def whole_characters(data: bytes) -> int:
    """How many bytes there are without a last character of which only the beginning is there."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) - back if length > back else len(data)
    return len(data)

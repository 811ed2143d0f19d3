"""Logs by line: the end of one, what has come since, any place in it, and a search. At 200 MB as at 200 bytes."""

import mmap
import re
import sys
import threading
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from runs import logs
from runs.models import TunixRun
from runs.terminal import Span, spans

PAGE_BYTES = 48 * 1024
# A page that was away for a while, or a trainer that writes faster than one can read, gets the newest.
MAX_NEW_BYTES = 256 * 1024
MAX_HITS = 200
HIT_CHARACTERS = 300
COUNTED_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Line:
    """`number` is from 1 on; `offset` is where it begins, in bytes."""

    number: int
    offset: int
    text: str

    @property
    def spans(self) -> list[Span]:
        return spans(self.text)


@dataclass(frozen=True)
class Page:
    """Whole lines of [start, next_offset), and what follows without a line feed yet. `ended`: nothing will follow."""

    stream: str
    lines: list[Line]
    start: int
    next_offset: int
    next_number: int
    size: int
    ended: bool
    partial: Line | None = None

    @cached_property
    def at_end(self) -> bool:
        return self.next_offset + (len(self.partial.text.encode()) if self.partial else 0) >= self.size

    @property
    def earlier(self) -> int:
        return max(0, self.start - PAGE_BYTES)


def tail(run: TunixRun, stream: str) -> Page:
    """The last 48 KB. Raises OSError."""
    return at(run, stream, max(0, logs.size(run, stream) - PAGE_BYTES))


def at(run: TunixRun, stream: str, offset: int) -> Page:
    """48 KB from the first line on that begins at `offset` or after. Raises OSError."""
    data, _ = logs.raw(run, stream, max(0, offset - 1), PAGE_BYTES + 1)
    if offset > 0:
        skipped = data.find(b"\n") + 1
        offset, data = offset - 1 + skipped, data[skipped:]
    return _page(run, stream, offset, _number_at(run, stream, offset), data)


def after(run: TunixRun, stream: str, offset: int, number: int) -> Page:
    """What has come since: from `offset` on, where line `number` begins. Raises OSError."""
    size = logs.size(run, stream)
    if size - offset > MAX_NEW_BYTES:
        return tail(run, stream)
    return _page(run, stream, offset, number, logs.raw(run, stream, offset, MAX_NEW_BYTES)[0])


def _page(run: TunixRun, stream: str, start: int, number: int, data: bytes) -> Page:
    size = logs.size(run, stream)
    last = start + len(data) >= size
    whole = data.rfind(b"\n") + 1
    if not whole and not last:  # a line that is longer than a page: a piece of it, and on from there
        piece = _line(number, start, data)
        return Page(stream, [piece], start, start + len(data), number, size, ended=False)
    lines = list(_lines(data[:whole], start, number))
    following, next_number = start + whole, number + len(lines)
    rest = data[whole:]
    if rest and run.is_terminal and last:  # no line feed will come
        lines.append(_line(next_number, following, rest))
        return Page(stream, lines, start, size, next_number + 1, size, ended=True)
    partial = _line(next_number, following, rest) if rest else None
    return Page(stream, lines, start, following, next_number, size, run.is_terminal and last, partial)


def _lines(data: bytes, offset: int, number: int) -> Iterator[Line]:
    for each in data.split(b"\n")[:-1]:
        yield _line(number, offset, each)
        offset, number = offset + len(each) + 1, number + 1


def _line(number: int, offset: int, data: bytes) -> Line:
    return Line(number, offset, data.decode("utf-8", "replace"))


def _number_at(run: TunixRun, stream: str, offset: int) -> int:
    """Of the line that begins there. Counting 200 MB takes a quarter of a second, so each MB is counted once a process:
    a log only grows at its end."""
    marks = _marks(run.pk, stream)
    place, number = marks[bisect_right(marks, (offset, sys.maxsize)) - 1]
    while place < offset:
        data, _ = logs.raw(run, stream, place, min(COUNTED_BYTES, offset - place))
        if not data:
            break
        number, place = number + data.count(b"\n"), place + len(data)
        with _marking:
            if place >= marks[-1][0] + COUNTED_BYTES:
                marks.append((place, number))
    return number


_marking = threading.Lock()


@lru_cache(maxsize=128)
def _marks(run_id: uuid.UUID, stream: str) -> list[tuple[int, int]]:
    """Known places of a log, rising: an offset, and the number of the line that begins there or goes on there."""
    return [(0, 1)]


def search(run: TunixRun, stream: str, text: str) -> list[Line]:
    """The first 200 lines that contain `text`, whatever its case, cut to what can be shown. Raises OSError."""
    pattern = re.compile(re.escape(text.encode()), re.IGNORECASE)
    if run.mode == TunixRun.Mode.DRY_RUN:
        return _hits(pattern, getattr(run, stream).encode())
    try:
        with logs.path(run, stream).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _hits(pattern, data)
    except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
        return []


def _hits(pattern: "re.Pattern[bytes]", data: "bytes | mmap.mmap") -> list[Line]:
    hits: list[Line] = []
    place, number = 0, 1
    while len(hits) < MAX_HITS and (found := pattern.search(data, place)):
        begin = data.rfind(b"\n", 0, found.start()) + 1
        end = data.find(b"\n", found.end())
        end = len(data) if end < 0 else end
        number += _newlines(data, place, begin)
        first = max(begin, found.start() - HIT_CHARACTERS // 2)
        hits.append(_line(number, begin, data[first : min(end, first + HIT_CHARACTERS)]))
        place = end
    return hits


def _newlines(data: "bytes | mmap.mmap", start: int, end: int) -> int:
    """In pieces: a map has no `count`, and a slice of it is a copy."""
    return sum(data[at : min(at + COUNTED_BYTES, end)].count(b"\n") for at in range(start, end, COUNTED_BYTES))

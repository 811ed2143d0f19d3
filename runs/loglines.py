"""Logs by line: the end of one, what has come since, and any place in it. At 200 MB as at 200 bytes."""

import sys
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from runs import logrows, logs
from runs.logrows import Line, Rows, State
from runs.models import TunixRun

PAGE_BYTES = 48 * 1024
# A page that was away for a while, or a trainer that writes faster than one can read, gets the newest.
MAX_NEW_BYTES = 256 * 1024
# How much further back the end of a log is read where its rows are drawn again: one of the bars may change rarely.
FURTHER_BYTES = (512 * 1024, 2 * 1024 * 1024)
SEQUENCE_BYTES = 64
# What a character of UTF-8 does not begin with.
CONTINUATION = bytes(range(0x80, 0xC0))
COUNTED_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Page:
    """Whole lines of [start, next_offset), and what follows without a line feed yet; `end` is where that ends.

    `rows` are how they are shown. `ended`: nothing will follow. `in_line`: it ends within a line that is longer than a
    page, and the next one has to begin there.
    """

    stream: str
    lines: list[Line]
    start: int
    next_offset: int
    next_number: int
    end: int
    size: int
    ended: bool
    partial: Line | None = None
    in_line: bool = False
    rows: Rows = field(default_factory=lambda: Rows([]))

    @property
    def at_end(self) -> bool:
        return self.end >= self.size

    @property
    def earlier(self) -> int:
        return max(0, self.start - PAGE_BYTES)


def tail(run: TunixRun, stream: str, *, fold: bool = True) -> Page:
    """The last 48 KB."""
    start = max(0, logs.size(run, stream) - PAGE_BYTES)
    page = at(run, stream, start, fold=fold)
    for further in FURTHER_BYTES:
        if not page.rows.unknown_above:
            break
        page = at(run, stream, max(0, start - further), bytes_of=PAGE_BYTES + further)
    return _without_earlier(page, start)


def _without_earlier(page: Page, start: int) -> Page:
    """Where more was read to know what is drawn again: without the rows before `start` that are not."""
    settled = [row for row in page.rows.settled if row.offset >= start]
    return replace(page, start=max(page.start, start), rows=replace(page.rows, settled=settled))


def at(
    run: TunixRun, stream: str, offset: int, *, in_line: bool = False, fold: bool = True, bytes_of: int = PAGE_BYTES
) -> Page:
    """48 KB from the first line on that begins at `offset` or after; with `in_line`, or where a line is longer than a
    page, from `offset` itself on."""
    data, _ = logs.raw(run, stream, max(0, offset - 1), bytes_of + 1)
    if offset > 0 and not in_line and (skipped := data.find(b"\n") + 1):
        offset, data = offset - 1 + skipped, data[skipped:]
    elif offset > 0:
        data = data[1:]
        cut = len(data[:4]) - len(data[:4].lstrip(CONTINUATION))
        offset, data = offset + cut, data[cut:]
    return _page(run, stream, offset, _number_at(run, stream, offset), data, partial(_rows, run, stream, fold, None))


def after(run: TunixRun, stream: str, offset: int, number: int, state: State | None = None) -> Page:
    """What has come since: from `offset` on, where line `number` begins. `state` is that of the page which has what was
    before."""
    size = logs.size(run, stream)
    if size - offset > MAX_NEW_BYTES:
        return tail(run, stream)
    data = logs.raw(run, stream, offset, MAX_NEW_BYTES)[0]
    return _page(run, stream, offset, number, data, partial(_rows, run, stream, True, state))


def _rows(
    run: TunixRun,
    stream: str,
    fold: bool,
    state: State | None,
    start: int,
    lines: list[Line],
    rest: Line | None = None,
    follows: bool = False,
) -> Rows:
    """`follows`: more may come, and draw over what is there."""
    if not fold:
        return logrows.each(lines, rest)

    def read(offset: int, count: int) -> bytes:
        return logs.raw(run, stream, offset, count)[0]

    return logrows.drawn(lines, rest, from_start=start == 0, follows=follows, before=state, read=read)


def _page(run: TunixRun, stream: str, start: int, number: int, data: bytes, rows: Callable[..., Rows]) -> Page:
    size = logs.size(run, stream)
    last = start + len(data) >= size
    whole = data.rfind(b"\n") + 1
    if not whole and not last:
        data = data[: _piece(data)]
        piece, end = [_line(number, start, data)], start + len(data)
        return Page(stream, piece, start, end, number, end, size, ended=False, in_line=True, rows=rows(start, piece))
    lines = list(_lines(data[:whole], start, number))
    following, next_number, end = start + whole, number + len(lines), start + len(data)
    ended = run.is_terminal and last
    rest = data[whole:] if ended else data[whole : whole + logs.whole_characters(data[whole:])]
    going_on = _line(next_number, following, rest) if rest else None
    if going_on and ended:  # no line feed will come
        lines, going_on, following, next_number = [*lines, going_on], None, end, next_number + 1
    shown = rows(start, lines, going_on, last and not ended)
    return Page(stream, lines, start, following, next_number, end, size, ended, going_on, rows=shown)


def _piece(data: bytes) -> int:
    """How much of a line without an end is shown at once: no character and no sequence is cut in two."""
    sequence = data.rfind(b"\x1b", -SEQUENCE_BYTES)
    return sequence if sequence > 0 else logs.whole_characters(data)


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

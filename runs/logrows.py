"""The rows that lines of a log are on a page: one each, but for lines that were drawn again, as progress bars are.

A page that follows a log says what may still be drawn again as places in the log: the lines that wrote those rows last.
They are read again with the next news, so that no server has to remember what a reader sees.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from runs.terminal import REDRAWS, SCREEN_ROWS, Row, Screen, Span, spans

# No bar is longer; a longer line is drawn again by its beginning.
REDRAWN_BYTES = 16 * 1024
# So many that are not drawn again yet may be at any moment.
BARS = 6


@dataclass(frozen=True)
class Line:
    """`number` is from 1 on; `offset` is where it begins, in bytes."""

    number: int
    offset: int
    text: str


@dataclass(frozen=True)
class Shown:
    """A row, with the number and the offset of the line that wrote it last."""

    number: int
    offset: int
    spans: list[Span]


@dataclass(frozen=True)
class State:
    """`rows` that may be drawn again, by the lines (number, offset, the row where each began) that wrote them last, and
    the row `at` which the next line begins."""

    rows: int
    at: int
    lines: tuple[tuple[int, int, int], ...]

    PATTERN = re.compile(r"(\d{1,2})-(\d{1,2})((?:-\d{1,12}\.\d{1,15}\.\d{1,2}){0,50})", re.ASCII)

    def __str__(self) -> str:
        return "-".join([str(self.rows), str(self.at), *(".".join(map(str, each)) for each in self.lines)])

    @classmethod
    def parse(cls, text: str) -> "State | None":
        """What `str` made; None for anything else."""
        found = cls.PATTERN.fullmatch(text)
        if found is None:
            return None
        lines = (tuple(map(int, each.split("."))) for each in found[3].split("-")[1:])
        return cls(int(found[1]), int(found[2]), tuple(lines))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Rows:
    """`live` are the last, which may be drawn again or go on; `state` is theirs where any may be drawn again."""

    settled: list[Shown]
    live: list[Shown] = field(default_factory=list)
    state: State | None = None
    # Lines that are no row of their own.
    redrawn: int = 0
    # What was above the first of them was drawn again, and is not known.
    unknown_above: bool = False


def each(lines: Sequence[Line], partial: Line | None) -> Rows:
    """A row for every line, also for those that were drawn again."""
    redrawn = sum(bool(REDRAWS.search(line.text)) for line in lines if "\x1b" in line.text)
    return Rows([_of_line(line) for line in lines], [_of_line(partial)] if partial else [], redrawn=redrawn)


def drawn(
    lines: Sequence[Line],
    partial: Line | None,
    *,
    from_start: bool,
    follows: bool,
    before: State | None = None,
    read: Callable[[int, int], bytes] | None = None,
) -> Rows:
    """As a terminal would show them. `follows`: what comes next may draw over them.

    `before` is the state that a page had when `lines` came, whose own lines `read` gives by offset and length.
    """
    if before is None and not _has_bars(lines, partial, follows):
        return each(lines, partial)
    drawing = _Drawing(Screen(open_above=not from_start))
    if before is not None and read is not None:
        drawing.resume(before, read)
    return drawing.draw(lines, partial, follows)


class _Drawing:
    def __init__(self, screen: Screen):
        self.screen = screen
        self._began: dict[Line, Row] = {}

    def resume(self, state: State, read: Callable[[int, int], bytes]) -> None:
        self.screen = Screen(min(state.rows, SCREEN_ROWS), state.at, open_above=True)
        for number, offset, row in sorted(state.lines, key=lambda place: place[1]):
            text = read(offset, REDRAWN_BYTES).partition(b"\n")[0].decode("utf-8", "replace")
            self.screen.go_to(row)
            self._feed(Line(number, offset, text))
        self.screen.go_to(state.at)

    def draw(self, lines: Sequence[Line], partial: Line | None, follows: bool) -> Rows:
        for line in lines:
            self._feed(line)
            self.screen.line_feed(None)
        # The partial line is read again with the next news: the state is that of before.
        writers = {id(row): row.writer for row in self.screen.rows}
        began = self.screen.rows[self.screen.at]
        if partial:
            self._feed(partial)
        rows = self.screen.rows
        live_from = self._live_from() if follows else len(rows)
        state = self._state(rows[live_from:], writers, began) if live_from < len(rows) else None
        if partial and follows and state is None:
            live_from = rows.index(began)
        first = next((place for place, row in enumerate(rows) if row.writer), len(rows))
        settled, live = _shown(rows[first:live_from]), _shown(rows[max(first, live_from) :])
        return Rows(settled, live, state, max(0, len(lines) - len(settled) - len(live)), first > 0)

    def _live_from(self) -> int:
        """A bar below which others begin is drawn again as soon as one of those moves up."""
        rows, place = self.screen.rows, self.screen.settled
        earliest = max(0, len(rows) - BARS)
        while place > earliest and (rows[place - 1].writer is None or _is_bar(rows[place - 1].writer)):
            place -= 1
        return place if any(row.writer for row in rows[place:]) else len(rows)

    def _feed(self, line: Line) -> None:
        self._began[line] = self.screen.rows[self.screen.at]
        self.screen.feed(line.text, line)

    def _state(self, live: Sequence[Row], writers: dict[int, Hashable], next_row: Row) -> State | None:
        if len(live) > SCREEN_ROWS:
            return None
        place_of = {id(row): place for place, row in enumerate(live)}
        lines = {writer for row in live if isinstance(writer := writers.get(id(row)), Line)}
        places = ((line.number, line.offset, place_of.get(id(self._began[line]), 0)) for line in lines)
        return State(len(live), place_of.get(id(next_row), 0), tuple(sorted(places, key=lambda place: place[1])))


def _has_bars(lines: Sequence[Line], partial: Line | None, follows: bool) -> bool:
    if any("\x1b" in line.text and REDRAWS.search(line.text) for line in (*lines, *([partial] if partial else []))):
        return True
    return follows and bool(lines) and _is_bar(lines[-1])


def _is_bar(writer: Hashable) -> bool:
    return isinstance(writer, Line) and "\r" in writer.text.rstrip("\r")


def _shown(rows: Sequence[Row]) -> list[Shown]:
    return [Shown(row.writer.number, row.writer.offset, row.spans()) for row in rows if isinstance(row.writer, Line)]


def _of_line(line: Line) -> Shown:
    return Shown(line.number, line.offset, spans(line.text))

"""Output as a terminal would leave it: colours kept, what was redrawn at its last state, no other sequence obeyed.

A state machine of our own. The emulators that there are (pyte among them) draw a screen of fixed size: they cut what is
wider, drop characters of no width, and forget what has left the screen. A log is as wide and as long as what was
written, and none of its characters may be lost; of a terminal's sequences a log needs a dozen.
"""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from wcwidth import wcwidth

from runs.terminal_styles import Style

# More than a page of a log has; only the beginning of a line that goes on and on is cut.
SHOWN_CHARACTERS = 50_000
# How far a sequence may move to where nothing was written: about as far as screens go.
MAX_COLUMNS, MAX_ROWS = 1_000, 100
# What is drawn again lies this near to the end: so many rows are there on a screen.
SCREEN_ROWS = 50
TAB = 8
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# A CSI sequence; a string for the terminal, such as a title or a link, with its end; another escape; a single control.
SEQUENCE = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
SEQUENCES = re.compile(SEQUENCE)
STYLE = re.compile(r"\x1b\[([0-9;:]{0,100})m")
MOVE = re.compile(r"\x1b\[([0-9;]{0,20})([ABCDEFGJK])")
# Whether a line moves the cursor at all, or up and down.
MOVES = re.compile(r"[\x08\r]|\x1b\[[0-9;]*[ABCDEFGJK]")
REDRAWS = re.compile(r"\x1b\[[0-9;]*[ABEF]")


@dataclass(frozen=True)
class Span:
    """A piece of a line in one style; `css` are classes, and may be none."""

    css: str
    text: str


def plain(text: str) -> str:
    """`text` without what is meant for a terminal; line feeds and tabs stay."""
    return SEQUENCES.sub("", text) if CONTROL.search(text) else text


def spans(line: str) -> list[Span]:
    """Of one line, without its line feed. Whatever is in it, the answer is text; a very long one is cut and says so."""
    screen = Screen()
    screen.feed(line, None)
    return screen.rows[0].spans()


@dataclass(eq=False)
class Row:
    """A row of the screen; `writer` is whoever wrote to it last.

    A line that moves nothing is kept as it came. Cells are made when something is written over it: each holds a
    character with those of no width that follow it, "" is the right half of a wide one.
    """

    writer: Hashable
    raw: str = ""
    cells: list[str] | None = None
    styles: list[str] = field(default_factory=list)
    # Characters of no width before the first cell.
    lead: str = ""

    def spans(self) -> list[Span]:
        if self.cells is None:
            return _cut(_styled(self.raw))
        pieces = [("", self.lead), *zip(self.styles, self.cells, strict=True)]
        found = _joined(pieces)
        if found:
            found[-1] = Span(found[-1].css, found[-1].text.rstrip(" "))
        return _cut([span for span in found if span.text])

    @property
    def blank(self) -> bool:
        return not any(span.text.strip() for span in self.spans())

    def draw(self) -> list[str]:
        """Its cells, made of the line as it came where there were none."""
        if self.cells is None:
            raw, self.raw, self.cells = self.raw, "", []
            column = 0
            for css, text in _pieces(raw):
                column = self.write(column, text, css)
        return self.cells

    def write(self, column: int, text: str, css: str) -> int:
        """From `column` on, over what is there. Returns the column behind it."""
        cells = self.draw()
        self._reach(column)
        if "\t" in text:
            for place, part in enumerate(text.split("\t")):
                column = self._tab(column) if place else column
                column = self.write(column, part, css) if part else column
            return column
        if text.isascii():
            self._split(column, column + len(text))
            cells[column : column + len(text)] = text
            self.styles[column : column + len(text)] = [css] * len(text)
            return column + len(text)
        for character in text:
            column = self._put(column, character, css)
        return column

    def _tab(self, column: int) -> int:
        target = (column // TAB + 1) * TAB
        self._reach(target)
        return target

    def _put(self, column: int, character: str, css: str) -> int:
        cells = self.draw()
        width = wcwidth(character)
        if width <= 0 and column == 0:
            self.lead += character
        elif width <= 0:
            base = column - 1 if cells[column - 1] else max(0, column - 2)
            cells[base] += character
        else:
            self._split(column, column + width)
            cells[column : column + width] = [character, ""][:width]
            self.styles[column : column + width] = [css] * width
        return column + max(0, width)

    def erase(self, first: int, last: int | None = None) -> None:
        """Columns [first, last), to the end without `last`."""
        cells = self.draw()
        if last is None or last >= len(cells):
            self._split(first, first)
            del cells[first:], self.styles[first:]
        else:
            self._split(first, last)
            cells[first:last] = " " * (last - first)
            self.styles[first:last] = [""] * (last - first)
        if first == 0:
            self.lead = ""

    def _reach(self, column: int) -> None:
        cells = self.draw()
        missing = max(0, column - len(cells))
        cells.extend(" " * missing)
        self.styles.extend([""] * missing)

    def _split(self, first: int, last: int) -> None:
        """Of a wide character of which one half is written over, the other half becomes a space."""
        cells = self.draw()
        if 0 < first < len(cells) and cells[first] == "":
            cells[first - 1] = cells[first] = " "
        if last < len(cells) and cells[last] == "":
            cells[last] = " "


class Screen:
    """Rows of output, and where the next is written. As wide as what is written, and as long.

    `open_above`: what was there before the first row is not known, and a move up makes a blank row.
    """

    def __init__(self, rows: int = 1, at: int = 0, *, open_above: bool = False):
        self.rows = [Row(None) for _ in range(max(1, rows))]
        self.at = min(at, len(self.rows) - 1)
        self._column = 0
        # Since the last text: what is written to the first column then replaces what stood before it.
        self._moved = False
        self._open_above = open_above
        # The topmost row that is being drawn again, and how many rows there were at the last move up.
        self._held: Row | None = self.rows[0] if rows > 1 else None
        self._moved_up_at = len(self.rows)

    @property
    def settled(self) -> int:
        """How many of the rows, from the first on, are not drawn again; all of them where none is."""
        return len(self.rows) if self._held is None else self.rows.index(self._held)

    def feed(self, line: str, writer: Hashable) -> None:
        """One line, without its line feed, from the beginning of the row on. `writer` is noted for what it touches."""
        line = line.rstrip("\r")
        row = self.rows[self.at]
        if row.cells is None and not row.raw and not MOVES.search(line):
            row.raw, row.writer = line, writer
            return
        row.writer = writer
        style, place = Style(), 0
        for sequence in SEQUENCES.finditer(line):
            self._text(line[place : sequence.start()], style.css, writer)
            place = sequence.end()
            if found := STYLE.fullmatch(sequence[0]):
                style.change(found[1])
            else:
                self._obey(sequence[0], writer)
        self._text(line[place:], style.css, writer)

    def go_to(self, row: int) -> None:
        """To the beginning of this row, or of the last one."""
        self.at, self._column, self._moved = min(row, len(self.rows) - 1), 0, False

    def line_feed(self, writer: Hashable) -> None:
        """To the beginning of the next row, which is there then."""
        self.at, self._column, self._moved = self.at + 1, 0, False
        if self.at == len(self.rows):
            self.rows.append(Row(writer))
        if self._held is not None and len(self.rows) - self._moved_up_at > SCREEN_ROWS:
            self._held = None

    def _text(self, text: str, css: str, writer: Hashable) -> None:
        if text:
            row = self.rows[self.at]
            row.writer = writer
            if self._moved and self._column == 0:
                row.lead = ""
            self._moved = False
            self._column = row.write(self._column, text, css)

    def _obey(self, sequence: str, writer: Hashable) -> None:
        self._moved = True
        if sequence == "\r":
            self._column = 0
        elif sequence == "\b":
            self._column = max(0, self._column - 1)
        elif found := MOVE.fullmatch(sequence):
            first = found[1].split(";")[0]
            self._move(found[2], int(first or 0), writer)

    def _move(self, letter: str, number: int, writer: Hashable) -> None:
        count = max(1, number)
        if letter in "AF":
            self._up(count)
        elif letter in "BE":
            self._down(count, writer)
        elif letter == "C":
            self._column = max(self._column, min(self._column + count, MAX_COLUMNS))
        elif letter == "D":
            self._column = max(0, self._column - count)
        elif letter == "G":
            self._column = min(count - 1, max(MAX_COLUMNS, self._column))
        else:
            self._erase(letter, number, writer)
        if letter in "EF":
            self._column = 0

    def _up(self, count: int) -> None:
        missing = min(count - self.at, SCREEN_ROWS)
        if missing > 0 and self._open_above:
            self.rows[:0] = [Row(None) for _ in range(missing)]
            self.at += missing
        self.at = max(0, self.at - count)
        near = self._held is not None and len(self.rows) - self.settled <= SCREEN_ROWS
        if not near or self.at < self.settled:
            self._held = self.rows[self.at]
        self._moved_up_at = len(self.rows)

    def _down(self, count: int, writer: Hashable) -> None:
        wanted = self.at + min(count, MAX_ROWS)
        missing = min(wanted + 1 - len(self.rows), MAX_ROWS - (len(self.rows) - self._moved_up_at))
        self.rows.extend(Row(writer) for _ in range(missing))
        self.at = min(wanted, len(self.rows) - 1)

    def _erase(self, letter: str, number: int, writer: Hashable) -> None:
        """K in the row, J in the row and those below; what is above the row is not taken away from a log."""
        row = self.rows[self.at]
        row.writer = writer
        if number == 0:
            row.erase(self._column)
        elif number == 1:
            row.erase(0, self._column + 1)
        elif letter == "K":
            row.erase(0)
        if letter == "J" and number == 0:
            for below in self.rows[self.at + 1 :]:
                below.erase(0)
                below.writer = writer


# --- a line that moves nothing ----------------------------------------------------------------------------------------


def _pieces(line: str) -> Iterator[tuple[str, str]]:
    """Its text in pieces of one style."""
    if "\x1b" not in line and not CONTROL.search(line):
        yield "", line
        return
    style, place = Style(), 0
    for sequence in SEQUENCES.finditer(line):
        yield style.css, line[place : sequence.start()]
        place = sequence.end()
        if found := STYLE.fullmatch(sequence[0]):
            style.change(found[1])
    yield style.css, line[place:]


def _styled(line: str) -> list[Span]:
    return _joined(_pieces(line))


def _joined(pieces: "Iterator[tuple[str, str]] | list[tuple[str, str]]") -> list[Span]:
    found: list[tuple[str, list[str]]] = []
    for css, text in pieces:
        if not text:
            continue
        if found and found[-1][0] == css:
            found[-1][1].append(text)
        else:
            found.append((css, [text]))
    return [Span(css, "".join(texts)) for css, texts in found]


def _cut(found: list[Span]) -> list[Span]:
    more = sum(len(span.text) for span in found) - SHOWN_CHARACTERS
    if more <= 0:
        return found
    kept, room = [], SHOWN_CHARACTERS
    for span in found:
        if room > 0:
            kept.append(Span(span.css, span.text[:room]))
            room -= len(span.text)
    return [*kept, Span("", f" … {more:,} more characters")]

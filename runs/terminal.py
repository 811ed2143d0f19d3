"""A line of output as a terminal would leave it: colours kept, progress bars at their last state, no more obeyed."""

import re
from dataclasses import dataclass

import pyte
from pyte.modes import DECAWM

# A progress bar that was drawn ten thousand times: what it drew last is enough.
FED_CHARACTERS = 20_000
SHOWN_CHARACTERS = 4_000
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]|\x1b\[[0-?]*[ -/]*[@-~]")
# Everything that is meant for a terminal, and of it what is obeyed: styles, moves within the line, erasing to its end.
SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x07\x0b\x0c\x0e-\x1a\x7f-\x9f]"
)
OBEYED = re.compile(r"\x1b\[[0-9;]{0,40}[mKCDG]")
COLOURS = {"red", "green", "yellow", "blue", "magenta", "cyan"}
NAMES = {"brown": "yellow"}  # pyte's name for it


@dataclass(frozen=True)
class Span:
    """A piece of a line in one style; `css` are classes, and may be none."""

    css: str
    text: str


def spans(line: str) -> list[Span]:
    """`line` has no line feed at its end. Whatever is in it, the answer is text; a long one is cut, and says so."""
    if not CONTROLS.search(line):
        return [Span("", _cut(line))] if line else []
    try:
        return _drawn(line[-FED_CHARACTERS:])
    except Exception:  # an escape sequence that the emulator has no way with
        return [Span("", _cut(CONTROLS.sub("", line)))]


def _cut(text: str) -> str:
    more = len(text) - SHOWN_CHARACTERS
    return text if more <= 0 else f"{text[:SHOWN_CHARACTERS]} … {more:,} more characters"


def _drawn(line: str) -> list[Span]:
    screen = pyte.Screen(SHOWN_CHARACTERS, 1)
    screen.reset_mode(DECAWM, private=True)
    pyte.Stream(screen).feed(SEQUENCES.sub(_obeyed, line))
    row = screen.buffer[0]
    found: list[Span] = []
    for column in range(max(row, default=-1) + 1):
        character = row[column]
        css = _css(character)
        if found and found[-1].css == css:
            found[-1] = Span(css, found[-1].text + character.data)
        else:
            found.append(Span(css, character.data))
    if found:
        found[-1] = Span(found[-1].css, found[-1].text.rstrip())
    return [span for span in found if span.text]


def _obeyed(sequence: "re.Match[str]") -> str:
    return sequence[0] if OBEYED.fullmatch(sequence[0]) else ""


def _css(character: pyte.screens.Char) -> str:
    colour = NAMES.get(character.fg, character.fg).removeprefix("bright")
    classes = [f"ansi-{colour}"] if colour in COLOURS else []
    return " ".join([*classes, "ansi-bold"] if character.bold else classes)

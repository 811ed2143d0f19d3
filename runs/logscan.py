"""Finds a text in a log, a piece at a time. Knows no Django: it runs in a process of its own, started by logsearch.py.

    python -I -S logscan.py ORDER_FD < LOG

What is looked for comes as JSON from the file descriptor ORDER_FD, and is no argument: neither an option nor for others
to see. Hits go out as lines of JSON as they are found, how far it came as the last.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

PIECE_BYTES = 1024 * 1024
# A text that is looked for, with the sequences in the middle of it, is shorter: a line that is longer than a piece is
# looked through in pieces that share so much.
SHARED_BYTES = 16 * 1024
MOST_HITS = 200
HIT_CHARACTERS = 300
# What a terminal obeys and a reader does not see, as in terminal.py.
CONTROLS = bytes([*range(9), *range(11, 32), 127])
KEPT_CONTROLS = bytes(each for each in CONTROLS if each != 0x0D)


@dataclass(frozen=True)
class Hit:
    """A line: its number from 1 on, where it begins in bytes, and what is around the first place that was found."""

    number: int
    offset: int
    before: str
    found: str
    after: str

    @property
    def text(self) -> str:
        return self.before + self.found + self.after


@dataclass(frozen=True)
class Outcome:
    """`next_offset` and `next_number` are where to go on, perhaps within a line; None at the end of the log."""

    searched: int
    next_offset: int | None
    next_number: int | None


class Scan:
    """`read` gives bytes by offset and length, fewer only at the end. Texts are found whatever their case."""

    def __init__(self, read: Callable[[int, int], bytes], text: str, most: int = MOST_HITS):
        self._read = read
        self._text = visible(text.encode("utf-8", "replace")).decode("utf-8", "replace")
        self._most = most
        self.outcome = Outcome(0, None, None)

    def hits(self, offset: int, number: int, deadline: float) -> Iterator[Hit]:
        """From `offset` on, where line `number` begins or goes on, until `deadline` (of the monotonic clock) or as many
        as are wanted; `outcome` says afterwards how far that was."""
        begin, passing_over, count = offset, False, 0
        while data := self._read(offset, PIECE_BYTES):
            if count >= self._most or time.monotonic() >= deadline:
                self.outcome = Outcome(offset, offset, number)
                return
            end = data.rfind(b"\n") + 1
            if passing_over:  # what is left of a line that was found, or looked through, already
                end = data.find(b"\n") + 1
                passing_over = not end
            elif end:
                at_line, place = 0, 0
                for line, around, at in _found(data[:end], self._text):
                    place, at_line = _lines_on(data, place, line - at_line), line
                    yield self._hit(number + line, offset + place if line else begin, around, at)
                    count += 1
                    if count >= self._most:
                        end = _lines_on(data, place, 1)
                        break
            else:
                for _, around, at in _found(data, self._text):
                    yield self._hit(number, begin, around, at)
                    count, passing_over = count + 1, True
                    break
            if end:
                number += data.count(b"\n", 0, end)
                offset = begin = offset + end
            else:
                offset += len(data) if passing_over or len(data) < PIECE_BYTES else PIECE_BYTES - SHARED_BYTES
        self.outcome = Outcome(offset, None, None)

    def _hit(self, number: int, offset: int, around: str, at: int) -> Hit:
        """Half of what may be shown is before what was found."""
        half = HIT_CHARACTERS // 2
        if at > half:
            around, at = "…" + around[at - half :], half + 1
        end = at + len(self._text)
        return Hit(number, offset, around[:at], around[at:end], around[end : end + half])


def visible(data: bytes) -> bytes:
    """`data` without what a terminal obeys; as many line feeds as before."""
    if b"\x1b" in data:
        data = _sequences().sub(b"", data)
    return data.translate(None, KEPT_CONTROLS)


_PATTERN: Any = None


def _sequences() -> Any:
    global _PATTERN
    if _PATTERN is None:
        import re  # most logs have none, and it takes as long to load as the rest of this process

        _PATTERN = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]?")
    return _PATTERN


def _found(data: bytes, text: str) -> Iterator[tuple[int, str, int]]:
    """The lines of `data` that have it: which, from 0 on; what is around the first place in it; and where in that."""
    if not text or "\n" in text:
        return
    shown = visible(data)
    if text.isascii():  # letters beyond ASCII are as they were, and the search is ten times as fast
        for line, begin, at, end in _places(shown.lower(), text.lower().encode(), b"\n"):
            head = shown[begin:at].decode("utf-8", "ignore")
            yield line, head + shown[at:end].decode("utf-8", "ignore"), len(head)
        return
    decoded = shown.decode("utf-8", "replace")
    folded = decoded.casefold()
    same_places = len(folded) == len(decoded)
    for line, begin, at, end in _places(folded, text.casefold(), "\n"):
        source = decoded if same_places else folded
        yield line, source[begin:end], at - begin


def _places(folded: Any, wanted: Any, feed: Any) -> Iterator[tuple[int, int, int, int]]:
    place, line = 0, 0
    while (at := folded.find(wanted, place)) >= 0:
        line += folded.count(feed, place, at)
        end = folded.find(feed, at)
        end = len(folded) if end < 0 else end
        begin = max(folded.rfind(feed, 0, at) + 1, at - HIT_CHARACTERS)
        yield line, begin, at, min(end, at + HIT_CHARACTERS)
        place = end


def _lines_on(data: bytes, begin: int, lines: int) -> int:
    """Where the line begins that is so many after the one at `begin`."""
    for _ in range(lines):
        begin = data.find(b"\n", begin) + 1
    return begin


def main(order_from: int) -> None:
    """The order is `{"text", "offset", "number", "most", "seconds"}`, the log is the standard input."""
    with os.fdopen(order_from, "rb") as file:
        order = json.load(file)
    os.nice(10)
    scan = Scan(lambda offset, count: os.pread(0, count, offset), order["text"], order["most"])
    for hit in scan.hits(order["offset"], order["number"], time.monotonic() + order["seconds"]):
        print(json.dumps(asdict(hit)), flush=True)
    print(json.dumps(asdict(scan.outcome)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))

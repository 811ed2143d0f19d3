"""What looks like a secret is masked before it reaches a file or a record. Knows no Django.

A mask is as long as what it hides: offsets into a log stay true. Masked is what is known to be a secret, a value that
the trainer's own environment has under a name such as HF_TOKEN, and what has the shape of a well-known service's key.
A secret that was encoded, or printed in two halves with something between, is not found.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

# Where a service's keys begin, and the shape of the whole key.
SHAPES = {
    b"hf_": rb"hf_[A-Za-z0-9]{20,}",
    b"gh": rb"gh[pousr]_[A-Za-z0-9]{30,}",
    b"github_pat_": rb"github_pat_[A-Za-z0-9_]{50,}",
    b"sk-": rb"sk-[A-Za-z0-9_-]{20,}",
    b"AKIA": rb"AKIA[0-9A-Z]{16}",
    b"AIza": rb"AIza[0-9A-Za-z_-]{35}",
    b"xox": rb"xox[abprs]-[0-9A-Za-z-]{20,}",
    # Its head is short; without a bound, a text that is full of beginnings took seconds for 64 KB.
    b"eyJ": rb"eyJ[A-Za-z0-9_-]{10,1000}+\.[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]+",
    b"trt_": rb"trt_[0-9a-f]{40,}",
}
SHAPE = re.compile(rb"(?<![A-Za-z0-9_])(?:" + b"|".join(SHAPES.values()) + rb")")
SECRET_NAME = re.compile(
    r"(?i)(token|secret|password|passwd|passphrase|credential|(api|access|private|secret|auth)[-_]?key)s?$"
)
# In the address of a database, a repository or a package index.
PASSWORD_IN_ADDRESS = re.compile(r"(?<=://)([^\s/:@]*):([^\s/@]+)(?=@)")
# Shorter values are words that may well stand in a log.
SHORTEST_VALUE = 8
# No key is longer; a line of letters without end is not held back.
LONGEST = 512
ENDING = re.compile(rb"[A-Za-z0-9_.-]{1,512}\Z")


def values_in(environment: Mapping[str, str]) -> list[str]:
    """The values of an environment that are secrets by their names."""
    found = {value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_VALUE}
    return sorted(found, key=len, reverse=True)


class Mask:
    """For one stream, whose secrets may come in pieces: what may be the beginning of one waits for what follows."""

    def __init__(self, values: Iterable[str] = ()):
        self._values = [value.encode() for value in values]
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What of the stream can be passed on now."""
        data = self._held + data
        place = len(data) - self._open_end(data)
        self._held = data[place:]
        return self.whole(data[:place])

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        return self.whole(held)

    def whole(self, data: bytes) -> bytes:
        for value in self._values:
            if value in data:
                data = data.replace(value, b"*" * len(value))
        # Looking for a few beginnings is a hundred times faster than for the shapes.
        if any(beginning in data for beginning in SHAPES):
            data = SHAPE.sub(lambda found: b"*" * len(found[0]), data)
        return data

    def _open_end(self, data: bytes) -> int:
        """How many of the last bytes may be the beginning of a secret."""
        found = 0
        if (ending := ENDING.search(data[-LONGEST:])) and len(ending[0]) < LONGEST:
            word = ending[0]
            if any(word.startswith(beginning) or beginning.startswith(word) for beginning in SHAPES):
                found = len(word)
        for value in self._values:
            for length in range(min(len(value) - 1, len(data)), found, -1):
                if data.endswith(value[:length]):
                    found = length
                    break
        return found


def text(line: str, values: Iterable[str] = ()) -> str:
    masked = Mask(values).whole(line.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    return PASSWORD_IN_ADDRESS.sub(lambda found: f"{found[1]}:{'*' * len(found[2])}", masked)


def arguments(given: Sequence[str], values: Iterable[str] = ()) -> list[str]:
    """A command line: what follows `--token`, and what is in `--api-key=…` or `env HF_TOKEN=…`, is masked as well."""
    values, masked, hide_next = list(values), [], False
    for each in given:
        name, equals, value = each.partition("=")
        if hide_next:
            masked.append("*" * len(each))
        elif equals and SECRET_NAME.search(name):
            masked.append(f"{name}={'*' * len(value)}")
        else:
            masked.append(text(each, values))
        hide_next = not equals and each.startswith("-") and bool(SECRET_NAME.search(each)) and not hide_next
    return masked


def command(line: str) -> str:
    """A command line as somebody wrote it, masked as its arguments are; its quotes are gone where something was."""
    try:
        given = shlex.split(line)
    except ValueError:
        return text(line)
    masked = arguments(given)
    return line if masked == given else " ".join(masked)

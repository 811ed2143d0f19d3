"""Refusals: what was asked for and is not done. Each has a kind, and the kind alone decides how it is answered.

The API and the pages answer with STATUS of the kind and the refusal's sentence, a command ends with that sentence
(core/commands.py). A refusal that is new needs no entry anywhere.
"""

from enum import StrEnum
from typing import ClassVar

Errors = dict[str, list[str]]


class Kind(StrEnum):
    """Why something is refused."""

    INVALID = "invalid"  # a value is not acceptable
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"  # the state of what it is about does not allow it
    TOO_LARGE = "too_large"
    TOO_OFTEN = "too_often"
    NOT_AVAILABLE = "not_available"  # nothing here can do it, until somebody installs or starts something
    NO_ROOM = "no_room"
    BUSY = "busy"  # others have what it needs; in a few seconds it may be free


STATUS = {
    Kind.INVALID: 422,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.TOO_OFTEN: 429,
    Kind.NOT_AVAILABLE: 501,
    Kind.NO_ROOM: 507,
    Kind.BUSY: 503,
}
RETRY_AFTER_SECONDS = {Kind.TOO_OFTEN: 60, Kind.BUSY: 5}


class Refusal(Exception):
    """`str()` is one sentence for the reader. `errors`, of an INVALID one, says what is wrong with which field."""

    kind: ClassVar[Kind] = Kind.INVALID

    @property
    def errors(self) -> Errors:
        return {}

    @property
    def status(self) -> int:
        return STATUS[self.kind]

    @property
    def headers(self) -> dict[str, str]:
        seconds = RETRY_AFTER_SECONDS.get(self.kind)
        return {"Retry-After": str(seconds)} if seconds else {}

    @property
    def lines(self) -> list[str]:
        """The sentence, and below it what `errors` says beyond it."""
        details = [each for messages in self.errors.values() for each in messages]
        return [str(self), *(each for each in details if each not in str(self))]

"""How many parts a piece of JSON has, told before anything is made of it: a MiB of empty objects is forty in memory."""

import re

MARKS = (b",", b":", b"[", b"{")
# To the end of the text where it has none of its own: a search that could fail would begin again at every quote.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def has_more_parts(text: bytes, limit: int) -> bool:
    """Whether it has more than `limit` commas, colons and opening brackets outside of its strings."""
    return len(text) > limit and _count(text) > limit and _count(STRING.sub(b"", text)) > limit


def _count(text: bytes) -> int:
    return sum(text.count(mark) for mark in MARKS)

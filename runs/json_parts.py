"""How many parts a piece of JSON has, told before anything is made of it: a MiB of empty objects is forty in memory."""

import re
from typing import Any

MARKS = (b",", b":", b"[", b"{")
# To the end of the text where it has none of its own: a search that could fail would begin again at every quote.
NAME_END = re.compile(rb'"[ \t\r\n]*+:')
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def has_more_parts(text: bytes, limit: int) -> bool:
    """Whether it has more than `limit` commas, colons and opening brackets outside of its strings."""
    return len(text) > limit and _count(text) > limit and _count(STRING.sub(b"", text)) > limit


def names_twice(text: bytes, value: Any) -> bool:
    """Whether an object in the JSON `text`, which was read as `value`, has one name twice: a reader keeps the last."""
    names = _names(value)
    # A quick count first. It is never too small: a quote before a colon may also be within a text.
    return len(NAME_END.findall(text)) != names and STRING.sub(b"", text).count(b":") != names


def _names(value: Any) -> int:
    """How many names the objects in `value` have."""
    if isinstance(value, dict):
        return len(value) + sum(_names(each) for each in value.values() if isinstance(each, (dict, list)))
    return sum(_names(each) for each in value if isinstance(each, (dict, list))) if isinstance(value, list) else 0


def _count(text: bytes) -> int:
    return sum(text.count(mark) for mark in MARKS)

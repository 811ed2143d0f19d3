"""Counting the parts of JSON without reading it."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runs.json_parts import has_more_parts, names_twice
from runs.tests.helpers import slowness

PLAIN = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(PLAIN, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=30)


def parts(value):
    """Commas, colons and opening brackets of it."""
    if isinstance(value, list):
        return 1 + max(len(value) - 1, 0) + sum(map(parts, value))
    if isinstance(value, dict):
        return 1 + max(len(value) - 1, 0) + len(value) + sum(map(parts, value.values()))
    return 0


@given(VALUES, st.booleans())
@example(["[,:{", '"[', "\\", '\\"', "\\\\"], False)
def test_it_counts_what_is_not_in_a_text(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode("utf-8", "surrogatepass")
    count = parts(value)
    assert not has_more_parts(text, count)
    assert count == 0 or has_more_parts(text, count - 1)


def twice(value):
    """`value` as JSON in which the first object of any names has its first name twice, or None."""
    if isinstance(value, dict) and value:
        name, first = next(iter(value.items()))
        return "{" + ", ".join(f"{json.dumps(n)} : {json.dumps(v)}" for n, v in [(name, first), *value.items()]) + "}"
    for number, each in enumerate(value if isinstance(value, list) else ()):
        if inner := twice(each):
            parts = [inner if n == number else json.dumps(v) for n, v in enumerate(value)]
            return "[" + ",".join(parts) + "]"
    return None


@given(VALUES, st.sampled_from([(",", ":"), (" , ", " :\n")]))
@example([{'a":': '":"'}, {"a\\": "b:c"}], (",", ":"))
def test_a_name_twice_is_seen_and_nothing_else(value, separators):
    assert not names_twice(json.dumps(value, separators=separators).encode(), value)
    if text := twice(value):
        assert names_twice(text.encode(), json.loads(text))


@pytest.mark.parametrize("text", [b'"', b'"\\', b'"a\\"', b'[,"', b'\\"', b"[{", b'"a" '])
def test_what_is_no_json_takes_no_longer(text):
    began = time.monotonic()
    has_more_parts((text * (1024 * 1024))[: 1024 * 1024], 1_000)
    assert time.monotonic() - began < 1 * slowness()

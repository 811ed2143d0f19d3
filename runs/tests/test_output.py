"""What a record keeps of a stream: 10,240 bytes at most, head and tail, never broken."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runs.output import OUTPUT_BYTES, REPLACEMENT, clip

OMITTED = re.compile(r"\n\[\.\.\. (\d+) bytes omitted \.\.\.\]\n")
# Long, and of every width in UTF-8: pieces, repeated until they matter.
LONG = st.builds(
    lambda pieces, times: "".join(pieces) * times,
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), min_size=1, max_size=10),
    st.integers(1, 500),
).filter(lambda text: len(text) < 50_000)
STREAMS = st.one_of(st.binary(max_size=30_000), st.text(max_size=20_000), LONG, LONG.map(str.encode))


def clean(stream):
    """The whole of a stream as the record would keep it, were there room."""
    text = stream.encode("utf-8", "replace") if isinstance(stream, str) else stream
    return text.decode("utf-8", "replace").replace("\0", REPLACEMENT)


@settings(deadline=None)
@given(STREAMS)
@example("")
@example("\0" * 50_000)
@example(b"\xff" * 50_000)
@example("😀" * 10_000)
@example("x" * OUTPUT_BYTES)
@example("x" * (OUTPUT_BYTES + 1))
@example("é" * (OUTPUT_BYTES // 2) + "x")
@example("\ud800" * 20_000)
def test_whatever_comes_fits_and_is_clean_text(stream):
    kept = clip(stream)
    assert len(kept.encode("utf-8")) <= OUTPUT_BYTES  # strict: a lone surrogate would raise
    assert "\0" not in kept
    assert clip(kept) == kept


@settings(deadline=None)
@given(STREAMS)
def test_what_fits_is_kept_as_it_is(stream):
    whole = clean(stream)
    if len(whole.encode()) <= OUTPUT_BYTES:
        assert clip(stream) == whole
    else:
        assert OMITTED.search(clip(stream))


@settings(deadline=None)
@given(LONG.map(lambda text: (text * (OUTPUT_BYTES // len(text.encode()) + 2)).replace("bytes omitted", "")))
def test_what_does_not_fit_keeps_its_head_and_tail_and_counts_the_rest(text):
    whole = clean(text)
    kept = clip(text)
    found = list(OMITTED.finditer(kept))
    assert len(found) == 1
    head, tail = kept[: found[0].start()], kept[found[0].end() :]
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert int(found[0][1]) == len(whole.encode()) - len(head.encode()) - len(tail.encode())
    # Nearly all of the room is used, half of it for each end: a character has four bytes at most.
    assert len(head.encode()) >= 5_090
    assert len(tail.encode()) >= 5_090


def test_a_traceback_at_the_end_is_kept():
    kept = clip("loss 0.26\n" * 100_000 + "Traceback (most recent call last):\nValueError: it broke\n")
    assert kept.startswith("loss 0.26\n")
    assert kept.endswith("Traceback (most recent call last):\nValueError: it broke\n")


def test_the_line_in_the_middle():
    kept = clip("a" * 10_000 + "b" * 10_000)
    assert re.fullmatch(r"a+\n\[\.\.\. 9791 bytes omitted \.\.\.\]\nb+", kept)
    assert len(kept.encode()) in range(10_230, 10_241)


@pytest.mark.parametrize(
    ("stream", "kept"),
    [
        (b"a\xffb", "a�b"),
        (b"\xed\xa0\x80", "���"),
        (b"\xf0\x9f\x98", "�"),
        ("a\0b", "a�b"),
        (b"a\0b", "a�b"),
        ("a\r\nb\tc\x1b[0m", "a\r\nb\tc\x1b[0m"),
    ],
)
def test_what_is_not_text_becomes_the_replacement_character(stream, kept):
    assert clip(stream) == kept


@pytest.mark.parametrize("shift", range(4))
def test_no_character_is_cut_in_two(shift):
    kept = clip("x" * shift + "😀" * 10_000)
    assert "�" not in kept
    assert set(OMITTED.sub("", kept)) == ({"x", "😀"} if shift else {"😀"})

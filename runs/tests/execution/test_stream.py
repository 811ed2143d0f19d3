"""One stream: a bounded file, and the head and tail of everything."""

import resource
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runs.execution.stream import Stream
from runs.output import OUTPUT_BYTES, clip

CHUNKS = st.lists(st.binary(max_size=300), max_size=40)


def written(chunks, **limits):
    """The file's content and the stream, after these chunks."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        stream = Stream(path, **limits)
        for chunk in chunks:
            stream.write(chunk)
        stream.close()
        found = stream.head_and_tail()
        return path.read_bytes(), found


@given(CHUNKS)
def test_head_omitted_and_tail_are_the_whole(chunks):
    whole = b"".join(chunks)
    _, (head, tail, omitted) = written(chunks, keep=100)
    assert len(head) + omitted + len(tail) == len(whole)
    assert whole.startswith(head) and whole.endswith(tail)
    assert len(head) <= 100 and len(tail) <= 100


@given(CHUNKS)
def test_a_small_output_is_in_the_file_to_the_byte(chunks):
    content, _ = written(chunks)
    assert content == b"".join(chunks)


@given(CHUNKS)
def test_a_large_output_keeps_its_beginning_and_its_end(chunks):
    whole = b"".join(chunks)
    content, _ = written(chunks, max_bytes=1_000, tail_bytes=200)
    if len(whole) <= 800:
        assert content == whole
    else:
        assert content[:800] == whole[:800]
        assert content.endswith(whole[-min(200, len(whole) - 800) :])
        assert len(content) <= 1_000 + 300 + 40


@given(CHUNKS)
def test_the_record_of_a_stream_is_the_record_of_its_whole_output(chunks):
    _, found = written(chunks)
    assert clip(*found) == clip(b"".join(chunks))


def test_a_record_of_much_output_keeps_both_ends():
    chunks = [b"%07d\n" % number for number in range(100_000)]
    _, found = written(chunks)
    record = clip(*found)
    assert len(record.encode()) <= OUTPUT_BYTES
    assert record.startswith("0000000\n0000001\n") and record.endswith("0099998\n0099999\n")
    assert "bytes omitted" in record


def test_a_disk_that_is_full_costs_output_and_nothing_else(tmp_path):
    stream, limits = Stream(tmp_path / "log"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, limits[1]))  # a file takes no more
    try:
        stream.write(b"lost\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (stream.lost, stream.head_and_tail()) == (3, (b"lost\n", b"", 0))
    stream.close()
    assert (tmp_path / "log").read_bytes() == b"lo"


def test_a_directory_that_is_gone_costs_output_and_nothing_else():
    stream = Stream(Path("/no/where/log"))
    stream.write(b"x")
    stream.close()
    assert stream.head_and_tail()[0] == b"x"

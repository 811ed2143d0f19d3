"""Files read as JSON Lines: gzip, a byte order mark and a JSON array are accepted, other formats refused by name."""

import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO

import orjson

from runs.datasets.errors import UploadRefused
from runs.datasets.rows import CHUNK_BYTES, MAX_ROW_BYTES

HEAD_BYTES = 64 * 1024
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PANDAS = "with pandas: {}.to_json('rows.jsonl', orient='records', lines=True)"
UTF_16 = ("UTF-16 text", "Save it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8")
ZIP = ("a zip archive or a spreadsheet", "Unpack it, or export the table, and upload the rows themselves")
# What a file begins with, what it is then, and what its owner can do.
NAMED: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "Parquet", PANDAS.format("read_parquet(path)")),
    (b"ARROW1", "Apache Arrow", PANDAS.format("read_feather(path)")),
    (b"\xff\xff\xff\xff", "an Apache Arrow stream", "with datasets: Dataset.from_file(path).to_json('rows.jsonl')"),
    (b"PK\x03\x04", *ZIP),
    (b"PK\x05\x06", *ZIP),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it with: zstd -d, or pack it with gzip"),
    (b"BZh", "compressed with bzip2", "Unpack it with: bunzip2, or pack it with gzip"),
    (b"\xfd7zXZ\x00", "compressed with xz", "Unpack it with: xz -d, or pack it with gzip"),
    (b"SQLite format 3", "an SQLite database", PANDAS.format("read_sql(query, connection)")),
    (b"\xff\xfe\x00\x00", "UTF-32 text", "Save it as UTF-8, for example with: iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", *UTF_16),
    (b"\xfe\xff", *UTF_16),
    (b"{\x00", *UTF_16),
    (b"[\x00", *UTF_16),
    (b"\x00{", *UTF_16),
    (b"\x00[", *UTF_16),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file that it stands for",
        "Fetch the file with: git lfs pull",
    ),
)
DELIMITERS = {b",": "CSV", b"\t": "tab-separated text", b";": "CSV with semicolons"}
# A text, a bracket or a comma; a quote alone is a text whose end has not come yet.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},]|"', re.DOTALL)
STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
AFTER_THE_END = "There is more after the end of the JSON array. Nothing was stored."


@dataclass
class Lines:
    """The rows of a file as JSON Lines. `forms` says what it was, outermost first; `unit` is what its owner counts."""

    chunks: Iterator[bytes]
    forms: list[str] = field(default_factory=list)
    unit: str = "line"


def json_lines(chunks: Iterable[bytes]) -> Lines:
    """Raises UploadRefused for a file that is something else, also while its chunks are read."""
    head, rest = _peek(chunks)
    if head.startswith(GZIP):
        head, rest = _peek(_gunzip(rest))
        if head.startswith(GZIP):
            raise UploadRefused("The file is compressed twice. Nothing was stored.")
        return _text(head, rest, ["gzip"])
    return _text(head, rest, [])


def _text(head: bytes, chunks: Iterator[bytes], forms: list[str]) -> Lines:
    if head.startswith(BYTE_ORDER_MARK):
        forms, head = [*forms, "byte order mark"], head[len(BYTE_ORDER_MARK) :]
        chunks = _without(chunks, len(BYTE_ORDER_MARK))
    if head.lstrip()[:1] == b"[":
        return Lines(_elements(chunks), [*forms, "array"], "row")
    if named := _named(head):
        raise UploadRefused(f"The file is {named[0]}, not JSON Lines. {named[1]}. Nothing was stored.")
    return Lines(chunks, forms)


def _named(head: bytes) -> tuple[str, str] | None:
    """What the file is instead, and what can be done; None where it may be JSON Lines."""
    for start, what, hint in NAMED:
        if head.startswith(start):
            return what, hint
    first = head.lstrip().partition(b"\n")[0].rstrip()
    if first.startswith(b"<"):
        return "HTML or XML", "A page may have been saved in place of the file that it links to"
    if first == b"{":
        return "JSON over several lines", "One object a line is written by: jq -c . file.json"
    if _is_json(first) or first.startswith((b"{", b"[")):
        return None
    for delimiter, what in DELIMITERS.items():
        if delimiter in first:
            return what, PANDAS.format("read_csv(path)")
    return None


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _peek(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first 64 KB, or what there is of them, and all chunks, those among them."""
    rest, head = iter(chunks), b""
    while len(head) < HEAD_BYTES and (chunk := next(rest, None)) is not None:
        head += chunk
    return head, chain([head] if head else [], rest)


def _without(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    yield next(chunks)[count:]
    yield from chunks


# --- gzip -------------------------------------------------------------------------------------------------------------


class _Chunks(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]):
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        while not self._left and (chunk := next(self._chunks, None)) is not None:
            self._left = chunk
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def as_file(chunks: Iterator[bytes]) -> IO[bytes]:
    return io.BufferedReader(_Chunks(chunks), CHUNK_BYTES)


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=as_file(chunks)) as file:
        while True:
            try:
                chunk = file.read1(CHUNK_BYTES)
            except EOFError as error:
                raise UploadRefused("The gzip file ends early: a part of it is missing. Nothing was stored.") from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise UploadRefused(f"The gzip file is damaged: {error}. Nothing was stored.") from error
            if not chunk:
                return
            yield chunk


# --- a JSON array -----------------------------------------------------------------------------------------------------


def _elements(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Each element of the array as a line. Only the brackets are looked at here; whether an element is a row is checked
    line by line. In memory for one element and one chunk."""
    rest, seen, depth, number = b"", 0, 0, 0
    for chunk in chunks:
        rest, start = rest + chunk, 0
        for token in TOKEN.finditer(rest, seen):
            if token[0] == b'"':  # its end has not come yet: it is looked at again with the next chunk
                seen = token.start()
                break
            seen, outside = token.end(), depth == 0
            depth += STEPS.get(token[0], 0)
            if outside and number:
                raise UploadRefused(AFTER_THE_END)
            if outside:
                start = seen
            elif depth == 0 or (depth == 1 and token[0] == b","):
                number += 1
                yield _line(number, rest[start : token.start()], last=depth == 0)
                start = seen
        rest, seen = rest[start:], seen - start
        if len(rest) > MAX_ROW_BYTES:
            raise UploadRefused(f"row {number + 1}: longer than {MAX_ROW_BYTES:,} bytes. Nothing was stored.")
    if depth:
        raise UploadRefused("The JSON array ends early: its closing bracket is missing. Nothing was stored.")
    if rest.strip():
        raise UploadRefused(AFTER_THE_END)


def _line(number: int, element: bytes, *, last: bool) -> bytes:
    """On one line. A line break within a text is no JSON and must not become one."""
    element = element.strip()
    if not element:
        if last and number == 1:
            return b""  # an empty array
        raise UploadRefused(f"row {number}: nothing between two commas of the JSON array. Nothing was stored.")
    if b"\n" in element or b"\r" in element:
        if any(mark.startswith(b'"') and (b"\n" in mark or b"\r" in mark) for mark in TOKEN.findall(element)):
            raise UploadRefused(f"row {number}: not JSON: a line break within a text. Nothing was stored.")
        element = element.replace(b"\r", b" ").replace(b"\n", b" ")
    return element + b"\n"

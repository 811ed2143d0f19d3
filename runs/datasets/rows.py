"""Rows: the forms that can be trained on, and whether a line is one of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import orjson

from runs.datasets.errors import RowInvalid
from runs.datasets.mapping import Mapping
from runs.json_parts import has_more_parts, names_twice
from runs.limits import ROW_PARTS

# A row is one training example; 32,768 tokens are about 128 KB. More than this is a file without line ends.
MAX_ROW_BYTES = 1024 * 1024
CHUNK_BYTES = 1024 * 1024
# The forms of a row: the fields that it must have, the text ones first.
FORMATS: dict[str, dict[str, Any]] = {
    "prompt_response": {"prompt": str, "response": str},
    "tunix_sft": {"id": (str, int), "prompts": str, "final_answer": str},
}
FORMAT_NAMES = {"prompt_response": "Pairs", "tunix_sft": "Tunix SFT"}
# Which field of a row is asked and which is answered, for statistics and previews.
TEXT_FIELDS = {"prompt_response": ("prompt", "response"), "tunix_sft": ("prompts", "final_answer")}


def lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number from 1. A line over MAX_ROW_BYTES comes cut, one byte too long."""
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 2):
        number += 1
        if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            yield number, line[: MAX_ROW_BYTES + 1]
            while (rest := file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
                pass
        elif line.strip():
            yield number, line.rstrip(b"\r\n")


def loads(line: bytes) -> Any:
    """The JSON in `line`; None where it is none, or has more parts than a row may have."""
    try:
        return None if has_more_parts(line, ROW_PARTS) else orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


@dataclass
class RowForm:
    """The form that the rows of one dataset share: the first good row decides it.

    `unit` is what a problem is located by: the lines of a file, or the rows of a JSON array.
    """

    name: str | None = None
    mapping: Mapping = field(default_factory=Mapping)
    unit: str = "line"

    def check(self, number: int, line: bytes) -> dict[str, Any]:
        """The row in `line`, its fields renamed by the mapping. Raises RowInvalid, naming line `number`."""
        try:
            return self._check(self.mapping.apply(_object(line)))
        except RowInvalid as problem:
            raise RowInvalid(f"{self.unit} {number}: {problem}") from problem

    def _check(self, row: dict[str, Any]) -> dict[str, Any]:
        name = self.name or ("tunix_sft" if "prompts" in row or "final_answer" in row else "prompt_response")
        for field_name, kind in FORMATS[name].items():
            _check_field(row, field_name, kind)
        if name == "tunix_sft" and not isinstance(row.get("metadata", {}), dict):
            raise RowInvalid("metadata is not an object")
        self.name = name
        return row


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_ROW_BYTES:
        raise RowInvalid(f"longer than {MAX_ROW_BYTES:,} bytes")
    if has_more_parts(line, ROW_PARTS):
        raise RowInvalid(f"more than {ROW_PARTS:,} commas, colons and opening brackets beside its texts")
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RowInvalid(_why_not_json(line, error)) from error
    if not isinstance(row, dict):
        raise RowInvalid("not a JSON object")
    if names_twice(line, row):
        raise RowInvalid(f"has {_first_name_twice(line)} twice in one object")
    return row


def _first_name_twice(line: bytes) -> str:
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                found.append(name)
            names.add(name)

    json.loads(line, object_pairs_hook=look)
    return repr(found[0][:40])


def _why_not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"not UTF-8 at byte {broken.start + 1}"
    return f"not JSON: {error.msg} at character {error.pos + 1}"


def _check_field(row: dict[str, Any], name: str, kind: Any) -> None:
    if name not in row:
        raise RowInvalid(f"{name} is missing")
    if not isinstance(row[name], kind) or isinstance(row[name], bool):
        raise RowInvalid(f"{name} is not text")
    if name in ("response", "final_answer") and not row[name].strip():
        raise RowInvalid(f"{name} is empty")

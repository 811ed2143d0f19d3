"""The first rows of a file, and what a mapping makes of them, before anything is stored."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from runs.datasets.errors import RowInvalid
from runs.datasets.files import as_file, json_lines
from runs.datasets.mapping import Mapping, suggest
from runs.datasets.rows import TEXT_FIELDS, RowForm, lines, loads
from runs.datasets.uploads import Upload

ROWS = 5


@dataclass(frozen=True)
class PreviewedRow:
    """As it would be stored, or None and why not."""

    row: dict[str, Any] | None
    problem: str = ""


@dataclass(frozen=True)
class Preview:
    """The fields of the first row, each with its value there; the mapping; and the first 5 rows under it."""

    forms: list[str]
    fields: dict[str, Any]
    mapping: Mapping
    rows: list[PreviewedRow]
    form: RowForm

    @property
    def columns(self) -> tuple[str, str]:
        """The two fields that are trained on."""
        return TEXT_FIELDS[self.form.name or "prompt_response"]

    def table(self) -> list[tuple[list[str], str]]:
        """What each row has in the columns, or why it cannot be used."""
        return [([(each.row or {}).get(name, "") for name in self.columns], each.problem) for each in self.rows]


def of_chunks(chunks: Iterable[bytes], mapping: Mapping | None) -> Preview:
    """Reads no more than it shows. Raises UploadRefused."""
    source = json_lines(chunks)
    return _of_file(as_file(source.chunks), mapping, source.unit, source.forms)


def of_upload(upload: Upload, mapping: Mapping | None = None) -> Preview:
    """Raises OSError."""
    with upload.path.open("rb") as file:
        return _of_file(file, mapping, upload.unit, upload.forms)


def _of_file(file: IO[bytes], mapping: Mapping | None, unit: str, forms: Iterable[str]) -> Preview:
    """With the mapping that the names of the fields suggest, where none is given."""
    head = list(islice(lines(file), ROWS))
    first = next((row for row in (loads(line) for _, line in head) if isinstance(row, dict)), {})
    mapping = suggest(first) if mapping is None else mapping
    form = RowForm(mapping=mapping, unit=unit)
    return Preview(list(forms), first, mapping, [_checked(form, number, line) for number, line in head], form)


def _checked(form: RowForm, number: int, line: bytes) -> PreviewedRow:
    try:
        return PreviewedRow(form.check(number, line))
    except RowInvalid as problem:
        return PreviewedRow(None, str(problem))

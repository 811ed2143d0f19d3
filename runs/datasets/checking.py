"""Every row of a received file, checked: what the dataset would be, or why it cannot be one."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson
from django.conf import settings

from runs.datasets.errors import FieldsUnknown, RowInvalid, TooLarge, UploadRefused
from runs.datasets.mapping import suggest
from runs.datasets.rows import FORMATS, TEXT_FIELDS, RowForm, lines, loads
from runs.datasets.statistics import Lengths

PROBLEMS_SHOWN = 20
# So many rows at the beginning of which none can be used: the others are not looked at.
HOPELESS_ROWS = 1_000


@dataclass
class Content:
    """What is known of the rows so far. `digest` and `bytes` are of the rows that were written anew."""

    form: RowForm
    rows: int = 0
    bad: int = 0
    problems: list[str] = field(default_factory=list)
    lengths: dict[str, Lengths] = field(default_factory=dict)
    bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def good(self) -> int:
        return self.rows - self.bad

    def manifest(self) -> dict[str, Any]:
        stats = {f"{name}_characters": each.summary() for name, each in self.lengths.items()}
        return {"format": self.form.name, "row_count": self.good, "stats": stats}


def check(received: Path, form: RowForm, *, skip_invalid: bool, rewritten: IO[bytes] | None) -> Content:
    """Check the rows in `received`; those that can be used are written to `rewritten`, where there is one.

    Raises UploadRefused where one cannot be used, and with `skip_invalid` where none can; FieldsUnknown; TooLarge.
    """
    content = Content(form)
    for line, row in _rows(received, content):
        for name in TEXT_FIELDS[form.name or ""]:
            content.lengths.setdefault(name, Lengths()).add(row[name])
        if rewritten:
            _write(content, rewritten, orjson.dumps(row) if form.mapping.pairs else line)
    _refuse(received, content, skip_invalid)
    return content


def _rows(received: Path, content: Content) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The good ones; the others are counted."""
    with received.open("rb") as file:
        for number, line in lines(file):
            content.rows += 1
            if content.rows > settings.MAX_UPLOAD_ROWS:
                raise TooLarge(f"A dataset may have {settings.MAX_UPLOAD_ROWS:,} rows. Nothing was stored.")
            try:
                row = content.form.check(number, line)
            except RowInvalid as problem:
                content.bad += 1
                if content.bad <= PROBLEMS_SHOWN:
                    content.problems.append(str(problem))
                if not content.good and content.bad == HOPELESS_ROWS:
                    return
            else:
                yield line, row


def _write(content: Content, file: IO[bytes], line: bytes) -> None:
    file.write(line + b"\n")
    content.digest.update(line + b"\n")
    content.bytes += len(line) + 1


def _refuse(received: Path, content: Content, skip_invalid: bool) -> None:
    if not content.rows:
        raise UploadRefused("The file has no rows. Nothing was stored.")
    if not content.good and not content.form.mapping.pairs:
        _refuse_unknown_fields(received)
    if content.bad and not (skip_invalid and content.good):
        if content.bad > PROBLEMS_SHOWN:
            content.problems.append(f"and {content.bad - PROBLEMS_SHOWN:,} more")
        what = f"{content.bad:,} of {content.rows:,} rows cannot be used. Nothing was stored."
        raise UploadRefused(what, content.problems, usable=content.good)


def _refuse_unknown_fields(received: Path) -> None:
    """Raises FieldsUnknown where the first row has other fields than those of a known form."""
    with received.open("rb") as file:
        row = next((loads(line) for _, line in lines(file)), None)
    if not isinstance(row, dict):
        return
    if any(row.keys() <= required.keys() or required.keys() <= row.keys() for required in FORMATS.values()):
        return
    names = ", ".join(repr(name[:40]) for name in list(row)[:20])
    needed = ", or ".join(" and ".join(required) for required in FORMATS.values())
    suggestion = str(suggest(row))
    hint = f" Their fields are renamed with map={suggestion}." if suggestion else ""
    message = f"The rows have the fields {names}; a row needs {needed}.{hint} Nothing was stored."
    raise FieldsUnknown(message, list(row), suggestion)

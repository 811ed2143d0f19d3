"""The dataset store: `<home>/datasets/<key>/manifest.json` and `data.jsonl`, immutable once there.

Nothing here touches the database. A key that is not of KEY's form touches no file.
"""

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson
from django.conf import settings
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from runs.json_parts import has_more_parts
from runs.limits import ROW_PARTS

log = logging.getLogger(__name__)
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}", re.ASCII)
KEY_RULE = "must be 1–256 letters, digits, dots, underscores or hyphens, begin with a letter or digit and have no '..'"
SCHEMA_VERSION = "1.0"
# A row is one training example; 32,768 tokens are about 128 KB. More than this is a file without line ends.
MAX_ROW_BYTES = 1024 * 1024
CHUNK_BYTES = 1024 * 1024
# What a form adds to its file: fields, boundaries, headers.
FORM_BYTES = 1024 * 1024
PROBLEMS_SHOWN = 20
# The two forms of a row: the fields that it must have, the text ones first.
FORMATS: dict[str, dict[str, Any]] = {
    "prompt_response": {"prompt": str, "response": str},
    "tunix_sft": {"id": (str, int), "prompts": str, "final_answer": str},
}
FORMAT_NAMES = {"prompt_response": "Pairs", "tunix_sft": "Tunix SFT"}
# Which field of a row is asked and which is answered, for statistics and previews.
TEXT_FIELDS = {"prompt_response": ("prompt", "response"), "tunix_sft": ("prompts", "final_answer")}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_FULL = "There is no room on the disk for this dataset. Nothing was stored."
INCOMING = ".incoming"
# An upload that was not finished in a day has lost its process.
INCOMING_LIFETIME_SECONDS = 24 * 3600


class DatasetError(Exception):
    """Something about a dataset, in a sentence for its reader."""


class KeyInvalid(DatasetError):
    pass


class DatasetNotFound(DatasetError):
    pass


class ManifestInvalid(DatasetError):
    pass


class RowInvalid(DatasetError):
    pass


class KeyTaken(DatasetError):
    """The key names another content already."""


class UploadRefused(DatasetError):
    """The rows of an upload cannot be used. `problems` says which and why, by line."""

    def __init__(self, message: str, problems: list[str] | None = None):
        super().__init__(message)
        self.problems = problems or [message]


class TooLarge(DatasetError):
    pass


class DiskFull(DatasetError):
    pass


@dataclass(frozen=True)
class Dataset:
    key: str
    manifest: dict[str, Any]

    @property
    def data_path(self) -> Path:
        return _directory(self.key) / "data.jsonl"

    @property
    def created_at(self) -> datetime | None:
        return parse_datetime(str(self.manifest.get("created_at")))

    @property
    def format_name(self) -> str:
        return FORMAT_NAMES[self.manifest["format"]]


# --- keys and reading -------------------------------------------------------------------------------------------------


def valid_key(key: str) -> bool:
    return bool(KEY.fullmatch(key)) and ".." not in key


def get(key: str) -> Dataset:
    """The dataset of `key`.

    Raises KeyInvalid, DatasetNotFound, or ManifestInvalid where its manifest cannot be read or lacks something.
    """
    path = _directory(key) / "manifest.json"
    try:
        stamp = path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise DatasetNotFound(f"Dataset not found: {key}") from error
        raise ManifestInvalid(f"manifest.json of {key} cannot be read: {error.strerror}") from error
    return _read_manifest(key, path, stamp.st_mtime_ns, stamp.st_ino)


@lru_cache(maxsize=1024)
def _read_manifest(key: str, path: Path, _mtime: int, _inode: int) -> Dataset:
    try:
        manifest = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ManifestInvalid(f"manifest.json of {key} cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ManifestInvalid(f"manifest.json of {key} is not JSON: {error}") from error
    _check_manifest(key, manifest)
    return Dataset(key, manifest)


def _check_manifest(key: str, manifest: Any) -> None:
    def refuse(what: str) -> None:
        raise ManifestInvalid(f"manifest.json of {key} {what}")

    if not isinstance(manifest, dict):
        refuse("is not an object")
    texts = ("dataset_key", "dataset_schema_version", "format", "sha256")
    kinds = dict.fromkeys(texts, str) | {"row_count": int, "bytes": int}
    for name, kind in kinds.items():
        if not isinstance(manifest.get(name), kind) or isinstance(manifest[name], bool):
            refuse(f"has no {name}" if name not in manifest else f"has a {name} of the wrong type")
    if manifest["dataset_key"] != key:
        refuse(f"is that of {manifest['dataset_key']!r}")
    if manifest["dataset_schema_version"] != SCHEMA_VERSION:
        refuse(f"has schema {manifest['dataset_schema_version']}; {SCHEMA_VERSION} is known here")
    if manifest["format"] not in FORMATS:
        refuse(f"has format {manifest['format']!r}; known are {', '.join(FORMATS)}")


def list_all() -> list[Dataset]:
    """Every readable dataset, by key. One that cannot be read is named in the log."""
    found = []
    for entry in _entries(Path(settings.DATASETS_DIR)):
        try:
            found.append(get(entry))
        except DatasetError as error:
            log.warning("dataset left out of the list: %s", error)
    return found


def _entries(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if valid_key(name))
    except FileNotFoundError:
        return []


def first_rows(dataset: Dataset, count: int) -> list[dict[str, Any]]:
    """Up to `count` rows from the head of the data, as they are. Raises OSError."""
    with dataset.data_path.open("rb") as file:
        return [row for row in (_loads(line) for _, line in islice(lines(file), count)) if isinstance(row, dict)]


def _loads(line: bytes) -> Any:
    try:
        return None if has_more_parts(line, ROW_PARTS) else orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


# --- rows -------------------------------------------------------------------------------------------------------------


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


@dataclass
class RowForm:
    """The form that the rows of one dataset share: the first good row decides it."""

    name: str | None = None

    def check(self, number: int, line: bytes) -> dict[str, Any]:
        """The row in `line`. Raises RowInvalid, naming line `number`."""
        if len(line) > MAX_ROW_BYTES:
            raise RowInvalid(f"line {number}: longer than {MAX_ROW_BYTES:,} bytes")
        if has_more_parts(line, ROW_PARTS):
            raise RowInvalid(
                f"line {number}: more than {ROW_PARTS:,} commas, colons and opening brackets beside its texts"
            )
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RowInvalid(f"line {number}: {_why_not_json(line, error)}") from error
        if not isinstance(row, dict):
            raise RowInvalid(f"line {number}: not a JSON object")
        name = self.name or ("tunix_sft" if "prompts" in row or "final_answer" in row else "prompt_response")
        for field_name, kind in FORMATS[name].items():
            _check_field(number, row, field_name, kind)
        if name == "tunix_sft" and not isinstance(row.get("metadata", {}), dict):
            raise RowInvalid(f"line {number}: metadata is not an object")
        self.name = name
        return row


def _why_not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"not UTF-8 at byte {broken.start + 1}"
    return f"not JSON: {error.msg} at character {error.pos + 1}"


def _check_field(number: int, row: dict[str, Any], name: str, kind: Any) -> None:
    if name not in row:
        raise RowInvalid(f"line {number}: {name} is missing")
    if not isinstance(row[name], kind) or isinstance(row[name], bool):
        raise RowInvalid(f"line {number}: {name} is not text")
    if name in ("response", "final_answer") and not row[name].strip():
        raise RowInvalid(f"line {number}: {name} is empty")


# --- adding -----------------------------------------------------------------------------------------------------------


def add(name: str, version: str, chunks: Iterable[bytes]) -> tuple[Dataset, bool]:
    """Store the rows that `chunks` bring, whole or not at all. Returns the dataset and whether it is new.

    Raises KeyInvalid, UploadRefused, TooLarge (over MAX_UPLOAD_BYTES), KeyTaken, DiskFull. In bounded memory.
    """
    key = f"{name}-{version}"
    for label, part in (("dataset_name", name), ("dataset_version", version)):
        if not valid_key(part):
            raise KeyInvalid(f"{label} {KEY_RULE}")
    target = _directory(key)
    incoming = Path(settings.DATASETS_DIR) / INCOMING / uuid.uuid4().hex
    try:
        incoming.mkdir(parents=True)
        _refuse_overlong(target)
        content = _receive(chunks, incoming / "data.jsonl")
        manifest = {
            "dataset_key": key,
            "dataset_name": name,
            "dataset_version": version,
            "dataset_schema_version": SCHEMA_VERSION,
            "created_at": timezone.now(),
            **content,
        }
        _write(incoming / "manifest.json", orjson.dumps(manifest, option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2))
        return _publish(incoming, target, content["sha256"])
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(DISK_FULL) from error
        raise
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def remove_stale_uploads() -> int:
    """Free what uploads left whose process died. Returns how many."""
    removed = 0
    for directory in (Path(settings.DATASETS_DIR) / INCOMING, Path(settings.FILE_UPLOAD_TEMP_DIR)):
        for entry in directory.iterdir() if directory.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > INCOMING_LIFETIME_SECONDS:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                    removed += 1
    return removed


def _directory(key: str) -> Path:
    if not valid_key(key):
        raise KeyInvalid(f"dataset_key {KEY_RULE}")
    return Path(settings.DATASETS_DIR) / key


def _refuse_overlong(target: Path) -> None:
    """A key may have 256 characters; most file systems stop at 255. They say so only where the parent is there."""
    try:
        os.lstat(target)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise KeyInvalid("dataset_name and dataset_version together are too long for this file system") from error


@dataclass
class Lengths:
    """Characters per value: exact, in memory that grows with the number of different lengths only."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        self.counts[len(text)] += 1

    def summary(self) -> dict[str, float]:
        total = self.counts.total()
        middle, seen = (total - 1) // 2, 0
        for length in sorted(self.counts):
            seen += self.counts[length]
            if seen > middle:
                break
        mean = sum(length * count for length, count in self.counts.items()) / total
        return {"min": min(self.counts), "median": length, "mean": round(mean, 1), "max": max(self.counts)}


def _receive(chunks: Iterable[bytes], path: Path) -> dict[str, Any]:
    """Write the chunks to `path`, then read them back row by row. Returns what the manifest says of the content."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > settings.MAX_UPLOAD_BYTES:
                raise TooLarge(f"A dataset may have {settings.MAX_UPLOAD_BYTES:,} bytes. Nothing was stored.")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    form, row_count, stats = _check_rows(path)
    return {"format": form, "row_count": row_count, "bytes": size, "sha256": digest.hexdigest(), "stats": stats}


def _check_rows(path: Path) -> tuple[str, int, dict[str, Any]]:
    form, rows, bad, problems = RowForm(), 0, 0, []
    lengths: dict[str, Lengths] = {}
    with path.open("rb") as file:
        for number, line in lines(file):
            rows += 1
            if rows > settings.MAX_UPLOAD_ROWS:
                raise TooLarge(f"A dataset may have {settings.MAX_UPLOAD_ROWS:,} rows. Nothing was stored.")
            try:
                row = form.check(number, line)
            except RowInvalid as problem:
                bad += 1
                if bad <= PROBLEMS_SHOWN:
                    problems.append(str(problem))
                continue
            for name in TEXT_FIELDS[form.name or ""]:
                lengths.setdefault(name, Lengths()).add(row[name])
    if bad > PROBLEMS_SHOWN:
        problems.append(f"and {bad - PROBLEMS_SHOWN:,} more")
    if bad:
        raise UploadRefused(f"{bad:,} of {rows:,} rows cannot be used. Nothing was stored.", problems)
    if form.name is None:
        raise UploadRefused("The file has no rows. Nothing was stored.")
    return form.name, rows, {f"{name}_characters": each.summary() for name, each in lengths.items()}


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _publish(incoming: Path, target: Path, sha256: str) -> tuple[Dataset, bool]:
    """Rename, which is atomic: of two uploads of one key exactly one wins, the other compares."""
    try:
        incoming.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return _same_or_taken(target.name, sha256), False
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return get(target.name), True


def _same_or_taken(key: str, sha256: str) -> Dataset:
    taken = KeyTaken(f"{key} exists with other content. A dataset never changes: choose another version.")
    try:
        existing = get(key)
    except DatasetError as error:
        raise taken from error
    if existing.manifest["sha256"] != sha256:
        raise taken
    return existing

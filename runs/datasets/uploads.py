"""Adding a dataset: its rows are received, checked, and appear in the store whole or not at all.

What was received and is no dataset yet is in `<home>/datasets/.incoming/<id>/`: rows.jsonl, upload.json.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import orjson
from django.conf import settings
from django.utils import timezone

from runs.datasets import checking
from runs.datasets.errors import (
    DISK_FULL,
    NO_ROOM,
    DatasetError,
    DatasetNotFound,
    DiskFull,
    KeyInvalid,
    KeyTaken,
    TooLarge,
)
from runs.datasets.files import json_lines
from runs.datasets.mapping import Mapping
from runs.datasets.rows import RowForm
from runs.datasets.store import KEY_RULE, SCHEMA_VERSION, Dataset, directory_of, get, valid_key

# What a form adds to its file: fields, boundaries, headers.
FORM_BYTES = 1024 * 1024
INCOMING = ".incoming"
# An upload that was not finished in a day has lost its process, or its user has gone away.
INCOMING_LIFETIME_SECONDS = 24 * 3600
NO_MAPPING = Mapping()


@dataclass(frozen=True)
class Upload:
    """Rows that were received and are no dataset yet.

    `sent` are bytes and SHA-256 of the file as it came, `rows` those of its rows as JSON Lines; `forms` and `unit` are
    those of files.Lines.
    """

    id: str
    name: str
    version: str
    sent: tuple[int, str]
    rows: tuple[int, str]
    forms: tuple[str, ...]
    unit: str

    @property
    def key(self) -> str:
        return f"{self.name}-{self.version}"

    @property
    def directory(self) -> Path:
        return _incoming(self.id)

    @property
    def path(self) -> Path:
        return self.directory / "rows.jsonl"


def add(
    name: str,
    version: str,
    chunks: Iterable[bytes],
    *,
    mapping: Mapping = NO_MAPPING,
    skip_invalid: bool = False,
    before_write: Callable[[int], None] | None = None,
) -> tuple[Dataset, bool]:
    """Store the rows that `chunks` bring, whole or not at all. Returns the dataset and whether it is new.

    `before_write` is told of each number of bytes before they are written, and may raise. Raises what `receive` and
    `store_received` do. In bounded memory.
    """
    upload = receive(name, version, chunks, before_write)
    try:
        return store_received(upload, mapping, skip_invalid=skip_invalid)
    finally:
        discard(upload)


def receive(
    name: str, version: str, chunks: Iterable[bytes], before_write: Callable[[int], None] | None = None
) -> Upload:
    """Keep the rows that `chunks` bring, to be stored.

    Raises KeyInvalid, UploadRefused for a file of another format, TooLarge (over MAX_UPLOAD_BYTES), DiskFull.
    """
    for label, part in (("dataset_name", name), ("dataset_version", version)):
        if not valid_key(part):
            raise KeyInvalid(f"{label} {KEY_RULE}")
    target = directory_of(f"{name}-{version}")
    upload_id = uuid.uuid4().hex
    directory = _incoming(upload_id)
    try:
        with _room():
            directory.mkdir(parents=True)
            _refuse_overlong(target)
            sent = _Counted(chunks)
            lines = json_lines(sent)
            rows = _write_rows(lines.chunks, directory / "rows.jsonl", before_write)
            upload = Upload(upload_id, name, version, sent.seen, rows, tuple(lines.forms), lines.unit)
            _write(directory / "upload.json", orjson.dumps(asdict(upload)))
            return upload
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def received(upload_id: str) -> Upload:
    """An upload that waits to be stored. Raises DatasetNotFound."""
    try:
        said = orjson.loads((_incoming(upload_id) / "upload.json").read_bytes())
        return Upload(**said | {name: tuple(said[name]) for name in ("sent", "rows", "forms")})
    except (OSError, ValueError) as error:
        raise DatasetNotFound("The upload is not here any more. Upload the file again.") from error


def store_received(
    upload: Upload, mapping: Mapping = NO_MAPPING, *, skip_invalid: bool = False
) -> tuple[Dataset, bool]:
    """Make a dataset of `upload`. Returns it and whether it is new. Where it raises, the upload still waits.

    Raises UploadRefused, TooLarge (over MAX_UPLOAD_ROWS), KeyTaken, DiskFull.
    """
    new = upload.directory / "dataset"
    with _room():
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        content = _content(upload, mapping, skip_invalid, new / "data.jsonl")
        manifest = {
            "dataset_key": upload.key,
            "dataset_name": upload.name,
            "dataset_version": upload.version,
            "dataset_schema_version": SCHEMA_VERSION,
            "created_at": timezone.now(),
            **content,
        }
        _write(new / "manifest.json", orjson.dumps(manifest, option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2))
        try:
            return _publish(new, directory_of(upload.key), content["sha256"])
        finally:
            if not upload.path.exists() and (new / "data.jsonl").exists():
                (new / "data.jsonl").rename(upload.path)


def discard(upload: Upload) -> None:
    shutil.rmtree(upload.directory, ignore_errors=True)


def remove_stale_uploads() -> int:
    """Free what uploads left whose process died or whose user went away. Returns how many."""
    removed = 0
    for directory in (Path(settings.DATASETS_DIR) / INCOMING, Path(settings.FILE_UPLOAD_TEMP_DIR)):
        for entry in directory.iterdir() if directory.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > INCOMING_LIFETIME_SECONDS:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                    removed += 1
    return removed


def _incoming(upload_id: str) -> Path:
    """Raises DatasetNotFound for what is no ID of ours."""
    try:
        return Path(settings.DATASETS_DIR) / INCOMING / uuid.UUID(upload_id).hex
    except ValueError as error:
        raise DatasetNotFound("The upload is not here any more. Upload the file again.") from error


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Raises DiskFull in place of the system's error."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(DISK_FULL) from error
        raise


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


class _Counted:
    """Chunks as they come, and how many bytes with which SHA-256 have come. Raises TooLarge."""

    def __init__(self, chunks: Iterable[bytes]):
        self._chunks, self._digest, self._size = chunks, hashlib.sha256(), 0

    @property
    def seen(self) -> tuple[int, str]:
        return self._size, self._digest.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._size += len(chunk)
            if self._size > settings.MAX_UPLOAD_BYTES:
                raise TooLarge(f"A dataset may have {settings.MAX_UPLOAD_BYTES:,} bytes. Nothing was stored.")
            self._digest.update(chunk)
            yield chunk


def _write_rows(chunks: Iterable[bytes], path: Path, before_write: Callable[[int], None] | None) -> tuple[int, str]:
    """Counted again: what was compressed is larger here."""
    counted = _Counted(chunks)
    with path.open("wb") as file:
        for chunk in counted:
            if before_write:
                before_write(len(chunk))
            file.write(chunk)
        _sync(file)
    return counted.seen


def _content(upload: Upload, mapping: Mapping, skip_invalid: bool, data: Path) -> dict[str, Any]:
    """Check the rows and put them at `data`. Returns what the manifest says of them, with `source` where they are not
    the bytes that were sent."""
    form = RowForm(mapping=mapping, unit=upload.unit)
    if mapping.pairs or skip_invalid:
        with data.open("wb") as file:
            content = checking.check(upload.path, form, skip_invalid=skip_invalid, rewritten=file)
            _sync(file)
        size, sha256 = content.bytes, content.digest.hexdigest()
    else:
        content = checking.check(upload.path, form, skip_invalid=False, rewritten=None)
        upload.path.rename(data)
        size, sha256 = upload.rows
    said = content.manifest() | {"bytes": size, "sha256": sha256}
    if sha256 == upload.sent[1]:
        return said
    source = {"bytes": upload.sent[0], "sha256": upload.sent[1], "forms": upload.forms}
    return said | {"source": source | {"map": str(mapping), "rows_left_out": content.bad}}


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        _sync(file)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(new: Path, target: Path, sha256: str) -> tuple[Dataset, bool]:
    """Rename, which is atomic: of two uploads of one key exactly one wins, the other compares."""
    try:
        new.rename(target)
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

"""The dataset store: `<home>/datasets/<key>/manifest.json` and `data.jsonl`, immutable once there.

Nothing here touches the database. A key that is not of KEY's form touches no file.
"""

import errno
import logging
import os
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from django.conf import settings
from django.utils.dateparse import parse_datetime

from core import files
from runs.datasets.errors import DatasetError, DatasetNotFound, KeyInvalid, ManifestInvalid
from runs.datasets.rows import FORMAT_NAMES, FORMATS, lines, loads

log = logging.getLogger(__name__)
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}", re.ASCII)
KEY_RULE = "must be 1–256 letters, digits, dots, underscores or hyphens, begin with a letter or digit and have no '..'"
SCHEMA_VERSION = "1.0"
MAX_MANIFEST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Dataset:
    key: str
    manifest: dict[str, Any]

    @property
    def data_path(self) -> Path:
        return directory_of(self.key) / "data.jsonl"

    def opened(self) -> BinaryIO:
        """The rows, to read. A trainer may have put something else there. Raises OSError."""
        return os.fdopen(files.open_file(self.data_path.parent, self.data_path.name), "rb")

    @property
    def created_at(self) -> datetime | None:
        return parse_datetime(str(self.manifest.get("created_at")))

    @property
    def format_name(self) -> str:
        return FORMAT_NAMES[self.manifest["format"]]


def valid_key(key: str) -> bool:
    return bool(KEY.fullmatch(key)) and ".." not in key


def get(key: str) -> Dataset:
    """The dataset of `key`.

    Raises KeyInvalid, DatasetNotFound, or ManifestInvalid where its manifest cannot be read or lacks something.
    """
    path = directory_of(key) / "manifest.json"
    try:
        stamp = files.status_of(path.parent, path.name)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise DatasetNotFound(f"Dataset not found: {key}") from error
        raise ManifestInvalid(f"manifest.json of {key} cannot be read: {error.strerror}") from error
    return _read_manifest(key, path, stamp.st_mtime_ns, stamp.st_ino)


@lru_cache(maxsize=1024)
def _read_manifest(key: str, path: Path, _mtime: int, _inode: int) -> Dataset:
    try:
        manifest = orjson.loads(files.read(path.parent, path.name, MAX_MANIFEST_BYTES))
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
    with dataset.opened() as file:
        return [row for row in (loads(line) for _, line in islice(lines(file), count)) if isinstance(row, dict)]


def directory_of(key: str) -> Path:
    """Where the dataset of `key` is, or would be. Raises KeyInvalid."""
    if not valid_key(key):
        raise KeyInvalid(f"dataset_key {KEY_RULE}")
    return Path(settings.DATASETS_DIR) / key

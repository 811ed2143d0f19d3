"""Datasets: immutable sets of rows in a store on disk.

`store` reads them; `uploads` adds one; `files` says what a file is, `mapping` and `rows` what a row is, `checking`
whether all of them can be used, `preview` what the first would become.
"""

from runs.datasets.errors import (
    DISK_FULL,
    NO_ROOM,
    DatasetError,
    DatasetNotFound,
    DiskFull,
    FieldsUnknown,
    KeyInvalid,
    KeyTaken,
    ManifestInvalid,
    MappingInvalid,
    RowInvalid,
    TooLarge,
    UploadRefused,
)
from runs.datasets.mapping import Mapping
from runs.datasets.rows import CHUNK_BYTES, FORMATS, MAX_ROW_BYTES, TEXT_FIELDS, RowForm, lines
from runs.datasets.store import KEY, KEY_RULE, Dataset, first_rows, get, list_all, valid_key
from runs.datasets.uploads import (
    FORM_BYTES,
    INCOMING,
    INCOMING_LIFETIME_SECONDS,
    NO_MAPPING,
    Upload,
    add,
    discard,
    receive,
    received,
    remove_stale_uploads,
    store_received,
)

__all__ = [
    "CHUNK_BYTES",
    "DISK_FULL",
    "FORMATS",
    "FORM_BYTES",
    "INCOMING",
    "INCOMING_LIFETIME_SECONDS",
    "KEY",
    "KEY_RULE",
    "MAX_ROW_BYTES",
    "NO_MAPPING",
    "NO_ROOM",
    "TEXT_FIELDS",
    "Dataset",
    "DatasetError",
    "DatasetNotFound",
    "DiskFull",
    "FieldsUnknown",
    "KeyInvalid",
    "KeyTaken",
    "ManifestInvalid",
    "Mapping",
    "MappingInvalid",
    "RowForm",
    "RowInvalid",
    "TooLarge",
    "Upload",
    "UploadRefused",
    "add",
    "discard",
    "first_rows",
    "get",
    "lines",
    "list_all",
    "receive",
    "received",
    "remove_stale_uploads",
    "store_received",
    "valid_key",
]

"""What can be wrong with a dataset, each in a sentence for its reader."""

import errno
from typing import ClassVar

from core.errors import Errors, Kind, Refusal

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_FULL = "There is no room on the disk for this dataset. Nothing was stored."


class DatasetError(Refusal):
    """Something about a dataset, in a sentence for its reader."""


class ValueInvalid(DatasetError):
    """The sentence begins with the name of the field."""

    @property
    def errors(self) -> Errors:
        name, _, rule = str(self).partition(" ")
        return {name: [rule]}


class KeyInvalid(ValueInvalid):
    pass


class MappingInvalid(ValueInvalid):
    """A mapping of fields that cannot be used, whatever the rows are."""


class DatasetNotFound(DatasetError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND


class ManifestInvalid(DatasetError):
    kind: ClassVar[Kind] = Kind.CONFLICT


class RowInvalid(DatasetError):
    pass


class KeyTaken(DatasetError):
    """The key names another content already."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class UploadRefused(DatasetError):
    """The content of an upload cannot be used. `problems` says which rows and why, by line.

    `usable` is how many rows could be stored without the others; 0 where the file itself cannot be read. `upload_id`
    names what was received, where it waits for another attempt.
    """

    upload_id = ""

    def __init__(self, message: str, problems: list[str] | None = None, usable: int = 0):
        super().__init__(message)
        self.problems = problems or [message]
        self.usable = usable

    @property
    def errors(self) -> Errors:
        return {"file": self.problems}


class FieldsUnknown(UploadRefused):
    """No row has the fields that are trained on. `fields` are those of the first row, `suggestion` a mapping of them,
    as `Mapping.parse` reads it, or "" where their names do not tell."""

    def __init__(self, message: str, fields: list[str], suggestion: str):
        super().__init__(message)
        self.fields, self.suggestion = fields, suggestion


class TooLarge(DatasetError):
    kind: ClassVar[Kind] = Kind.TOO_LARGE


class DiskFull(DatasetError):
    kind: ClassVar[Kind] = Kind.NO_ROOM

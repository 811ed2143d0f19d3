"""Records as files: written whole or not at all, read back as they were."""

import logging
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core import serializers
from django.core.serializers.json import DjangoJSONEncoder

from core import files

log = logging.getLogger(__name__)
# A record has two streams of 10 KB and little else.
MAX_BYTES = 1024 * 1024


class ExactEncoder(DjangoJSONEncoder):
    """Django's own cuts times to milliseconds: the record would not be the answer that was given."""

    def default(self, value: object) -> Any:
        return value.isoformat() if isinstance(value, datetime) else super().default(value)


def write(path: Path, records: Iterable[Any]) -> None:
    """To a directory that is made where it is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path.parent, path.name, serializers.serialize("json", records, cls=ExactEncoder).encode())


def read(path: Path) -> list[Any]:
    """The records in a file; none where it is gone, and none with a line in the log where it cannot be read."""
    try:
        text = files.read(path.parent, path.name, MAX_BYTES)
        return [each.object for each in serializers.deserialize("json", text)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, serializers.base.DeserializationError) as error:
        log.error("%s cannot be read and stays where it is: %s", path, error)
        return []

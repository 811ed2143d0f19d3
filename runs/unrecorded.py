"""Results that the database did not take, kept on disk until it does, with the event of who launched them.

One JSON file per run in `<home>/unrecorded`. Written whole or not at all, read back in the order of their runs.
"""

import logging
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import serializers
from django.core.serializers.json import DjangoJSONEncoder

from core import files
from runs.models import Event, TunixRun

log = logging.getLogger(__name__)
# A record has two streams of 10 KB and little else.
MAX_BYTES = 1024 * 1024


class ExactEncoder(DjangoJSONEncoder):
    """Django's own cuts times to milliseconds: the record would not be the answer that was given."""

    def default(self, value: object) -> Any:
        return value.isoformat() if isinstance(value, datetime) else super().default(value)


def keep(run: TunixRun, launch: Event | None = None) -> None:
    """Write `run` to disk, and the event of its launch. Raises OSError when the disk refuses as well."""
    directory = Path(settings.UNRECORDED_DIR)
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{run.run_id}.json"
    partial = target.with_suffix(".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(serializers.serialize("json", [run, launch] if launch else [run], cls=ExactEncoder))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def waiting() -> list[Path]:
    """The kept files, oldest first."""
    try:
        return sorted(Path(settings.UNRECORDED_DIR).glob("*.json"), key=lambda path: path.lstat().st_mtime)
    except FileNotFoundError:  # one was recorded by another process while this one looked
        return waiting()


def read(path: Path) -> Iterator[tuple[TunixRun, Event | None]]:
    """The run in a kept file, with its launch; nothing, and a line in the log, where it cannot be read."""
    try:
        text = files.read(path.parent, path.name, MAX_BYTES)
        found = [each.object for each in serializers.deserialize("json", text)]
    except FileNotFoundError:
        return
    except (OSError, ValueError, serializers.base.DeserializationError) as error:
        log.error("%s cannot be read and stays where it is: %s", path, error)
        return
    run, launch = [*found, None, None][:2]
    if len(found) > 2 or not isinstance(run, TunixRun) or not isinstance(launch, Event | None):
        log.error("%s is no result of a run and stays where it is", path)
        return
    yield run, launch

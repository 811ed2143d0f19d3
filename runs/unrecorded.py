"""Results that the database did not take, kept on disk until it does, with the event of who launched them.

One JSON file per run in `<home>/unrecorded`, read back in the order of their runs.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from runs import kept
from runs.models import Event, TunixRun

log = logging.getLogger(__name__)


def keep(run: TunixRun, launch: Event | None = None) -> None:
    """Write `run` to disk, and the event of its launch. Raises OSError when the disk refuses as well."""
    kept.write(Path(settings.UNRECORDED_DIR) / f"{run.run_id}.json", [run, launch] if launch else [run])


def waiting() -> list[Path]:
    """The kept files, oldest first."""
    try:
        return sorted(Path(settings.UNRECORDED_DIR).glob("*.json"), key=lambda path: path.lstat().st_mtime)
    except FileNotFoundError:  # one was recorded by another process while this one looked
        return waiting()


def read(path: Path) -> Iterator[tuple[TunixRun, Event | None]]:
    """The run in a kept file, with its launch; nothing, and a line in the log, where it cannot be read."""
    found = kept.read(path)
    if not found:
        return
    run, launch = [*found, None, None][:2]
    if len(found) > 2 or not isinstance(run, TunixRun) or not isinstance(launch, Event | None):
        log.error("%s is no result of a run and stays where it is", path)
        return
    yield run, launch

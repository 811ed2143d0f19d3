"""Whether the disks have room for what one more training, or one more upload, writes.

Room is bytes, and files; and a disk may be read-only, or a quota used up, which only shows when something is written.
"""

import contextlib
import errno
import os
import tempfile
import time
from pathlib import Path

from django.conf import settings
from django.db import connection

# What says that the disk is at fault, not what was to be written.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# A run has a dozen files of its own, and a checkpoint hundreds.
MIN_FREE_FILES = 1_000
PROBE_BYTES = 64 * 1024
PROBED_SECONDS = 5.0


def shortage(wanted: int = 0) -> str:
    """Why the disk takes no `wanted` bytes more, as a sentence; empty where it does. A few microseconds."""
    return _shortage("disk", Path(settings.TUNIX_RT_HOME), wanted)


def refusal() -> str:
    """Why no further run can begin, as a sentence; empty where one can. Writes to the disk of the runs."""
    return shortage() or _of_the_runs() or _of_the_database()


def _of_the_runs() -> str:
    runs = Path(settings.RUNS_DIR)
    return _shortage("disk of the runs", runs) or _Probe.refusal(runs)


def _of_the_database() -> str:
    """SQLite's file may be on another disk than the home. What PostgreSQL has is its own affair, and it says so."""
    if connection.vendor != "sqlite":
        return ""
    return _shortage("disk of the database", Path(connection.settings_dict["NAME"]).parent)


def _shortage(name: str, path: Path, wanted: int = 0) -> str:
    try:
        disk = os.statvfs(path)
    except FileNotFoundError:  # not made yet: it will be on its parent's
        return ""
    except OSError as error:
        return f"The {name} cannot be used: {error.strerror}."
    if disk.f_flag & os.ST_RDONLY:
        return f"The {name} is read-only."
    free, least = disk.f_bavail * disk.f_frsize, settings.MIN_FREE_BYTES
    if free - wanted < least:
        return f"{free:,} bytes are free on the {name}, and {least:,} stay free for what runs already."
    if disk.f_files and disk.f_favail < MIN_FREE_FILES:  # some file systems count no files
        return (
            f"{disk.f_favail:,} more files fit on the {name}, and {MIN_FREE_FILES:,} stay free for what runs already."
        )
    return ""


class _Probe:
    """The last try to write, remembered for PROBED_SECONDS."""

    tried: tuple[float, Path, str] = (float("-inf"), Path(), "")

    @classmethod
    def refusal(cls, directory: Path) -> str:
        moment, where, said = cls.tried
        if where != directory or time.monotonic() - moment > PROBED_SECONDS:
            said = _written(directory)
            cls.tried = time.monotonic(), directory, said
        return said


def _written(directory: Path) -> str:
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(parents=True)
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            written = file.write(bytes(PROBE_BYTES))
    except OSError as error:
        return f"Nothing can be written to the disk of the runs: {error.strerror}."
    return "" if written == PROBE_BYTES else "Nothing more can be written to the disk of the runs: it is full."

"""What tunix-rt writes, other users of the machine do not read: neither from now on, nor what an older version left.

A home with the setgid bit (chmod g+s) is shared with its group on purpose, and stays so. A directory that others may
pass through and not list (x without r) is left as well: TUNIX_RT_RUN_AS needs that. Nothing here ever gives a right.
"""

import contextlib
import os
import stat
from pathlib import Path

OWNER, OWNER_AND_GROUP = 0o700, 0o770
READ_OR_WRITE = 0o666
MADE_HERE = (
    "datasets", "runs", "unrecorded", "tmp", "prometheus", "static", "secret-key", "dispatcher.wake",
    "installer.wake", "claims", "supervisors", "without-record",
)  # fmt: skip
DATABASE = "tunix-rt.sqlite3"
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")


def set_umask(home: Path) -> int:
    """For this process and its children. Returns the one that was there."""
    return os.umask(0o777 & ~_rights(home))


def close_home(home: Path) -> None:
    """Take from others what they may read of ours in `home`, and of `home` where it has nothing else in it."""
    rights = _rights(home)
    with contextlib.suppress(OSError):
        names = os.listdir(home)
        for name in names:
            if _is_ours(name):
                _close(home / name, rights)
        if all(map(_is_ours, names)):
            _close(home, rights)


def close_database(file: Path, home: Path) -> None:
    """An SQLite file, and what lies beside it while it is used."""
    for suffix in DATABASE_SUFFIXES:
        _close(file.with_name(file.name + suffix), _rights(home))


def _is_ours(name: str) -> bool:
    return name in MADE_HERE or name.startswith((DATABASE, "secret-key."))


def _rights(home: Path) -> int:
    try:
        return OWNER_AND_GROUP if home.stat().st_mode & stat.S_ISGID else OWNER
    except OSError:
        return OWNER


def _close(path: Path, rights: int) -> None:
    """What is a link, not there, or another's is left."""
    with contextlib.suppress(OSError):
        # O_PATH: to open and close a file of SQLite's would end the locks that this process has on it.
        file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            mode = stat.S_IMODE(status.st_mode)
            if mode & ~rights & READ_OR_WRITE and not stat.S_ISLNK(status.st_mode):
                Path(f"/proc/self/fd/{file}").chmod(mode & (0o7000 | rights))
        finally:
            os.close(file)

"""Whoever was stopped (SIGSTOP) in the midst of a write to SQLite's file holds up everybody: that one is let go on.

PostgreSQL ends the session of such a process by itself. SQLite's lock is taken from nobody who lives.
"""

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)
# In the file `-shm`, the byte that a writer holds: WAL_WRITE_LOCK of SQLite's file format.
WRITE_LOCK = 120
LOCKS = Path("/proc/locks")


def let_go_on(database: Path) -> list[int]:
    """Continue who stands still and holds the lock. Returns their pids.

    Asked of the kernel's list: to open the file and close it again would drop this process's own locks on it.
    """
    with suppress(OSError):
        shared = database.with_name(f"{database.name}-shm").stat()
        found = [pid for pid in _holders(shared.st_dev, shared.st_ino) if _is_stopped(pid)]
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGCONT)
                log.warning("process %d stood still in a write to the database, and goes on", pid)
        return found
    return []


def _holders(device: int, inode: int) -> list[int]:
    """Lines are such as `6: POSIX  ADVISORY  WRITE 23510 fe:00:2146803 120 120`."""
    file = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    found = []
    for line in LOCKS.read_text(encoding="ascii").splitlines():
        _, *words = line.split()
        if words[:1] == ["POSIX"] and words[2] == "WRITE" and words[4] == file:
            first, last = int(words[5]), words[6]
            if first <= WRITE_LOCK and (last == "EOF" or WRITE_LOCK <= int(last)):
                found.append(int(words[3]))
    return found


def _is_stopped(pid: int) -> bool:
    with suppress(OSError, IndexError):
        said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return said.rpartition(")")[2].split()[0] == "T"
    return False

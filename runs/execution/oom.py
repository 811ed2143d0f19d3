"""Whom the kernel killed when memory ran out, by its own record, where that can be read. Knows no Django."""

import contextlib
import os
import re
from collections.abc import Iterator

KMSG = "/dev/kmsg"
# "out of memory: Killed process 123 (python) total-vm:…", also "Memory cgroup out of memory: Killed process …".
KILLED = re.compile(r"[Kk]illed process (\d+)")
RECORD_BYTES = 8192


def killed_for_memory(pids: set[int], since: float) -> str:
    """The line that says that one of `pids` was killed, `since` seconds after boot or later; empty where there is none.

    In a container the kernel counts processes otherwise and its record is often closed: then it says nothing.
    """
    for seconds, line in _records():
        found = KILLED.search(line)
        if found and seconds >= since and int(found[1]) in pids:
            return line
    return ""


def _records() -> Iterator[tuple[float, str]]:
    """Each record as seconds since boot and its text: `priority,number,microseconds,flags;text`."""
    with contextlib.suppress(OSError):
        log = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while True:
                try:
                    record = os.read(log, RECORD_BYTES).decode("utf-8", "replace")
                except BrokenPipeError:  # it was overwritten while one read; the next call goes on behind it
                    continue
                head, _, text = record.partition(";")
                yield int(head.split(",")[2]) / 1e6, text.partition("\n")[0]
        finally:
            os.close(log)

"""A search through a log: in a process of its own, a few at a time on this host, for a few seconds.

A regular expression over 256 MB held the interpreter, and with it everybody else's pages, for seconds; a map of a file
that somebody makes shorter kills whoever reads it.
"""

import contextlib
import fcntl
import io
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from core.errors import Kind, Refusal
from runs import logs, logscan
from runs.logscan import Hit, Outcome, Scan
from runs.models import TunixRun

# 256 MB take two seconds of a core that is free. A process that has not stopped by itself is stopped a while later.
SECONDS, STOP_SECONDS = 5.0, 5.0
WAIT_SECONDS = 2.0
LOOK_SECONDS = 0.1
# Half of the cores, so that the other half is everybody else's.
AT_ONCE = max(1, (os.cpu_count() or 1) // 2)


class Busy(Refusal):
    """As many searches run as may."""

    kind = Kind.BUSY


@dataclass(frozen=True)
class Found:
    """The first lines from where the search began, at most logscan.MOST_HITS.

    `searched` of `size` bytes were looked through. `next_offset` and `next_number` are where to go on; None where
    nothing is left.
    """

    hits: list[Hit]
    searched: int
    size: int
    next_offset: int | None
    next_number: int | None


def search(
    run: TunixRun,
    stream: str,
    text: str,
    *,
    offset: int = 0,
    number: int = 1,
    gone: Callable[[], bool] = lambda: False,
) -> Found:
    """The lines that contain `text`, whatever its case, from `offset` on, where line `number` begins.

    Sequences for a terminal are no part of a line. Ends early when `gone` says that nobody waits. Raises Busy, OSError.
    """
    log, _ = logs.opened(run, stream)
    if isinstance(log, io.BytesIO):
        return _in_record(log.getvalue(), text, offset, number)
    with log, _slot() as slot:
        lines = _lines_of(log.fileno(), slot, {"text": text, "offset": offset, "number": number}, gone)
        size = os.fstat(log.fileno()).st_size
    hits = [Hit(**line) for line in lines if "found" in line]
    outcome = next((Outcome(**line) for line in lines if "searched" in line), None)
    if outcome is None:  # it was stopped, by us or for memory: where it has found something last is what is known
        at = (hits[-1].offset, hits[-1].number) if hits else (offset, number)
        outcome = Outcome(at[0], *at)
    return _result(hits, outcome, size)


def _in_record(data: bytes, text: str, offset: int, number: int) -> Found:
    scan = Scan(lambda begin, count: data[begin : begin + count], text)
    hits = list(scan.hits(offset, number, time.monotonic() + SECONDS))
    return _result(hits, scan.outcome, len(data))


def _result(hits: list[Hit], outcome: Outcome, size: int) -> Found:
    return Found(hits, outcome.searched, size, outcome.next_offset, outcome.next_number)


@contextlib.contextmanager
def _slot() -> Iterator[int]:
    """One of AT_ONCE locks of this host, as a file descriptor; whoever has it open holds it. Raises Busy, OSError."""
    deadline = time.monotonic() + WAIT_SECONDS
    directory = Path(settings.FILE_UPLOAD_TEMP_DIR)
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context((directory / f"search-{each}.lock").open("wb")) for each in range(AT_ONCE)]
        while True:
            for file in files:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield file.fileno()
                    return
            if time.monotonic() >= deadline:
                raise Busy("Other searches are running. Try again in a few seconds.")
            time.sleep(0.05)


def _lines_of(log: int, slot: int, order: dict[str, Any], gone: Callable[[], bool]) -> list[dict[str, Any]]:
    """What the process says. It holds the slot until it has ended, also where this one is killed."""
    orders, order_writer = os.pipe()
    with os.fdopen(order_writer, "wb") as file:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", logscan.__file__, str(orders)],
                stdin=log,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(orders, slot),
                env={},
            )
        finally:
            os.close(orders)
        file.write(json.dumps(order | {"most": logscan.MOST_HITS, "seconds": SECONDS}).encode())
    with process:
        try:
            return [json.loads(line) for line in _output(process, gone).splitlines(keepends=True) if line[-1:] == b"\n"]
        finally:
            process.kill()


def _output(process: "subprocess.Popen[bytes]", gone: Callable[[], bool]) -> bytes:
    """All of it, or what there was when it had to be stopped."""
    assert process.stdout is not None
    output, deadline = b"", time.monotonic() + SECONDS + STOP_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline and not gone():
            if not selector.select(LOOK_SECONDS):
                continue
            piece = os.read(process.stdout.fileno(), 64 * 1024)
            if not piece:
                break
            output += piece
    return output

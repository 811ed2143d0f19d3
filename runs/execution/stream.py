"""One stream of output: a file of bounded size, and the head and tail that a record keeps. Knows no Django.

Never raises: a disk that is full costs output, not the training.
"""

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from core import files
from runs.limits import LOG_BYTES
from runs.masking import Mask

# A file's head is what a reader by offset follows; its last MiB is the tail, written when the stream ends.
MAX_FILE_BYTES = LOG_BYTES
TAIL_BYTES = 1024 * 1024


class Stream:
    def __init__(
        self,
        path: Path,
        *,
        secrets: Iterable[str] = (),
        max_bytes: int = MAX_FILE_BYTES,
        tail_bytes: int = TAIL_BYTES,
        keep: int = 10_240,
    ):
        """Begin the file `path` anew, up to `max_bytes`; keep `keep` bytes of the head and of the tail in memory.

        `secrets`, and what looks like one, are masked in all of it.
        """
        self._mask = Mask(secrets)
        self.total = 0
        # Bytes that the disk did not take, with the first reason, and bytes that were left out in the middle.
        self.lost, self.trouble = 0, ""
        self.omitted = 0
        self._head_room = max(0, max_bytes - tail_bytes)
        self._tail_room = tail_bytes
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._keep = keep
        self._head = b""
        self._last = b""
        try:
            self._file: int | None = files.create(path.parent, path.name)
        except OSError as error:
            self._file, self.trouble = None, error.strerror or str(error)

    def write(self, data: bytes) -> None:
        self._take(self._mask.feed(data))

    def _take(self, data: bytes) -> None:
        self.total += len(data)
        if len(self._head) < self._keep:
            self._head += data[: self._keep - len(self._head)]
        self._last = (self._last + data)[-self._keep :]
        direct, rest = data[: self._head_room], data[self._head_room :]
        self._head_room -= len(direct)
        self._to_file(direct)
        if rest:
            self._to_tail(rest)

    def head_and_tail(self) -> tuple[bytes, bytes, int]:
        """The first bytes, the last ones, and how many lie between that are in neither."""
        if self.total <= self._keep:
            return self._head, b"", 0
        fresh = min(self.total - self._keep, self._keep)
        return self._head, self._last[-fresh:], self.total - len(self._head) - fresh

    def last_lines(self) -> str:
        return self._last.decode("utf-8", "replace")

    def close(self) -> None:
        """Write the tail behind a line that says how much is missing before it."""
        self._take(self._mask.rest())
        if self._tail:
            if self.omitted:
                self._to_file(b"\n[... %d bytes omitted ...]\n" % self.omitted)
            for part in self._tail:
                self._to_file(part)
            self._tail.clear()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _to_file(self, data: bytes) -> None:
        while data and self._file is not None:
            try:
                data = data[os.write(self._file, data) :]
            except OSError as error:
                self.lost += len(data)
                self.trouble = self.trouble or error.strerror or str(error)
                return
        self.lost += len(data)

    def _to_tail(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail and self._tail_size - len(self._tail[0]) >= self._tail_room:
            dropped = len(self._tail.popleft())
            self._tail_size -= dropped
            self.omitted += dropped

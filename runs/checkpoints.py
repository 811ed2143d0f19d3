"""Checkpoints of a run, read off its directory: `<output>/checkpoints/<step>/`, whole when its commit file is there.

What is there is a training script's: everything goes through files.py, and within bounds.
"""

import errno
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from core import files
from core.errors import Kind, Refusal
from runs import metrics
from runs.models import TunixRun
from runs.rundir import RunDirectory

# What Orbax writes last. A directory without it, or one with a longer name, is one that is being written.
COMMITTED = "commit_success.txt"
STEP_DIGITS = 18
# Of the names beside them, of the checkpoints that are shown, and of the files of one.
MAX_NAMES, MAX_SHOWN, MAX_FILES = 100_000, 1_000, 100_000
BLOCK = tarfile.BLOCKSIZE
CHUNK_BYTES = 1024 * 1024


class Unreadable(Refusal):
    """What is there cannot be read, or cannot be given as one file; the message says why."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Checkpoint:
    """`path` is below the run's own `directory`."""

    step: int
    directory: Path
    path: PurePosixPath
    bytes: int
    committed_at: datetime
    # What the model's metrics said at this step, by name.
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def infinite(self) -> dict[str, str]:
        """Which of the metrics were an infinity, which JSON has no number for."""
        return {name: word for name, value in self.metrics.items() if (word := metrics.infinity(value))}


def of(run: TunixRun, names: Sequence[str] | None = None) -> list[Checkpoint]:
    """The committed ones, by step, with the metrics at their steps, or those that are named. One query where there is
    one at all."""
    found = on_disk(run)
    values = metrics.at_steps(run, [each.step for each in found], names) if found else {}
    return [replace(each, metrics=values[each.step]) for each in found]


def last(run: TunixRun) -> Checkpoint | None:
    return next(_newest_first(run), None)


def get(run: TunixRun, step: int) -> Checkpoint | None:
    return next((each for each in _newest_first(run) if each.step == step), None)


def on_disk(run: TunixRun) -> list[Checkpoint]:
    """The committed ones, the last 1,000, by step, without what the metrics said."""
    return list(_newest_first(run))[::-1]


def problem(run: TunixRun) -> str:
    """Why it cannot be known which there are, as a sentence; empty where it can."""
    try:
        files.names_in(RunDirectory(run.run_id).path, _root(run), 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"The checkpoints cannot be read: {error.strerror}."
    return ""


def _newest_first(run: TunixRun) -> Iterator[Checkpoint]:
    directory, root = RunDirectory(run.run_id).path, _root(run)
    try:
        names = files.names_in(directory, root, MAX_NAMES)
    except OSError:
        return
    steps = [name for name in names if name.isascii() and name.isdecimal() and len(name) <= STEP_DIGITS]
    for name in sorted(steps, key=int, reverse=True)[:MAX_SHOWN]:
        if found := _checkpoint(directory, root / name):
            yield found


def _root(run: TunixRun) -> PurePosixPath:
    return PurePosixPath(run.output_dir, "checkpoints")


def _checkpoint(directory: Path, path: PurePosixPath) -> Checkpoint | None:
    """None where it is not committed, or was removed while one looked: a trainer keeps the newest few."""
    size = 0
    try:
        committed = files.status_of(directory, path / COMMITTED)
        for entry in files.walk(directory, path, most=MAX_FILES):
            size += entry.status.st_size if stat.S_ISREG(entry.status.st_mode) else 0
    except files.TooMany:
        pass  # it is there, and at least as large
    except OSError:
        return None
    if not stat.S_ISREG(committed.st_mode):
        return None
    return Checkpoint(int(path.name), directory, path, size, datetime.fromtimestamp(committed.st_mtime, UTC))


# --- what is done with one --------------------------------------------------------------------------------------------


def link(source: Checkpoint, run: TunixRun) -> list[str]:
    """Put `source` among the checkpoints of `run`, by hard links: nothing is copied, either can be deleted alone.

    Nothing changes a checkpoint's files. Returns for each file that had to be copied why. Raises OSError, also where
    `source` is gone.
    """
    directory, root = RunDirectory(run.run_id).path, _root(run)
    directory.mkdir(parents=True, exist_ok=True)
    target, partial = root / str(source.step), root / f"{source.step}.linking"
    if _is_there(directory, target):
        return []
    copied: list[str] = []
    files.remove_tree(directory / partial)
    files.make_directory(directory, partial)
    for entry in files.walk(source.directory, source.path, most=MAX_FILES):
        inside = partial / entry.path.relative_to(source.path)
        if entry.is_directory:
            files.make_directory(directory, inside)
        else:
            copied += files.link_or_copy(source.directory, entry.path, directory, inside)
    files.rename(directory, partial, target.name)
    return copied


def _is_there(directory: Path, path: PurePosixPath) -> bool:
    try:
        files.status_of(directory, path)
    except FileNotFoundError:
        return False
    return True


def archive(checkpoint: Checkpoint, name: str) -> tuple[int, Iterator[bytes]]:
    """The checkpoint as a tar file with everything below `name/`: how long it will be, and a piece of it at a time.

    Raises Unreadable. The pieces raise OSError in the middle, where a file is not any more what it was.
    """
    try:
        heads = [_head(checkpoint, path, name) for path in _files_of(checkpoint)]
        disk = os.statvfs(checkpoint.directory)
    except OSError as error:
        raise Unreadable(f"Checkpoint {checkpoint.step} cannot be read: {error.strerror}.") from error
    length = sum(len(head.tobuf()) + _padded(head.size) for _, head in heads) + 2 * BLOCK
    if length > disk.f_blocks * disk.f_frsize:  # a file of nothing but a hole
        raise Unreadable(f"Checkpoint {checkpoint.step} says that it is larger than the disk that it is on.")
    return length, _pieces(checkpoint, heads)


def _files_of(checkpoint: Checkpoint) -> list[PurePosixPath]:
    """Its files, and what links in it lead to where that is a file of the run. Raises OSError."""
    found = files.walk(checkpoint.directory, checkpoint.path, most=MAX_FILES)
    kinds = (stat.S_IFREG, stat.S_IFLNK)
    return sorted(entry.path for entry in found if stat.S_IFMT(entry.status.st_mode) in kinds)


def _head(checkpoint: Checkpoint, path: PurePosixPath, name: str) -> tuple[PurePosixPath, tarfile.TarInfo]:
    status = files.status_of(checkpoint.directory, path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EISDIR, "A link in it leads to what is no file", str(path))
    head = tarfile.TarInfo(f"{name}/{path.relative_to(checkpoint.path)}")
    head.size, head.mtime = status.st_size, int(status.st_mtime)
    return path, head


def _pieces(checkpoint: Checkpoint, heads: list[tuple[PurePosixPath, tarfile.TarInfo]]) -> Iterator[bytes]:
    for path, head in heads:
        yield head.tobuf()
        left = head.size
        with os.fdopen(files.open_file(checkpoint.directory, path), "rb") as file:
            while left and (chunk := file.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk
        if left:
            raise OSError(errno.EIO, "It became shorter while it was read", str(path))
        yield bytes(_padded(head.size) - head.size)
    yield bytes(2 * BLOCK)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

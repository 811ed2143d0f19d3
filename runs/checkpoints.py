"""Checkpoints of a run, read off its directory: `<output>/checkpoints/<step>/`, whole when its commit file is there."""

import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial as partial_of
from pathlib import Path

from runs import metrics
from runs.models import TunixRun
from runs.rundir import RunDirectory

# What Orbax writes last. A directory without it, or one with a longer name, is one that is being written.
COMMITTED = "commit_success.txt"
BLOCK = tarfile.BLOCKSIZE
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Checkpoint:
    step: int
    path: Path
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
    return [Checkpoint(each.step, each.path, each.bytes, each.committed_at, values[each.step]) for each in found]


def last(run: TunixRun) -> Checkpoint | None:
    found = on_disk(run)
    return found[-1] if found else None


def get(run: TunixRun, step: int) -> Checkpoint | None:
    return next((each for each in on_disk(run) if each.step == step), None)


def on_disk(run: TunixRun) -> list[Checkpoint]:
    """The committed ones, by step, without what the metrics said."""
    try:
        root = _root(run)
        names = [name for name in os.listdir(root) if name.isascii() and name.isdecimal()]
    except (OSError, ValueError):
        return []
    found = (_checkpoint(root / name) for name in sorted(names, key=int))
    return [each for each in found if each]


def _root(run: TunixRun) -> Path:
    return RunDirectory(run.run_id).output(run.output_dir) / "checkpoints"


def _checkpoint(path: Path) -> Checkpoint | None:
    """None where it is not committed, or was removed while one looked: a trainer keeps the newest few."""
    try:
        committed = (path / COMMITTED).stat().st_mtime
        size = sum(file.stat().st_size for file in _files(path))
    except OSError:
        return None
    return Checkpoint(int(path.name), path, size, datetime.fromtimestamp(committed, UTC))


def _files(path: Path) -> list[Path]:
    return sorted(Path(directory) / name for directory, _, names in os.walk(path) for name in names)


# --- what is done with one --------------------------------------------------------------------------------------------


def link(source: Checkpoint, run: TunixRun) -> list[str]:
    """Put `source` among the checkpoints of `run`, by hard links: nothing is copied, either can be deleted alone.

    Nothing changes a checkpoint's files. Returns for each file that had to be copied why. Raises OSError, also where
    `source` is gone.
    """
    root = _root(run)
    if (root / str(source.step)).exists():
        return []
    copied: list[str] = []
    partial = root / f"{source.step}.linking"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source.path, partial, copy_function=partial_of(_link_or_copy, copied))
    partial.rename(root / str(source.step))
    return copied


def _link_or_copy(copied: list[str], source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:  # another file system, or one without hard links
        copied.append(error.strerror or str(error))
        shutil.copy2(source, target)


def archive_bytes(checkpoint: Checkpoint, name: str) -> int:
    """How long `archive` will be."""
    heads = (_head(checkpoint, path, name, path.stat()) for path in _files(checkpoint.path))
    return sum(len(head.tobuf()) + _padded(head.size) for head in heads) + 2 * BLOCK


def archive(checkpoint: Checkpoint, name: str) -> Iterator[bytes]:
    """The checkpoint as a tar file with everything below `name/`, a piece at a time. Raises OSError in the middle."""
    for path in _files(checkpoint.path):
        with path.open("rb") as file:
            head = _head(checkpoint, path, name, os.fstat(file.fileno()))
            yield head.tobuf()
            left = head.size
            while left and (chunk := file.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk
        yield bytes(_padded(head.size) - head.size)
    yield bytes(2 * BLOCK)


def _head(checkpoint: Checkpoint, path: Path, name: str, status: os.stat_result) -> tarfile.TarInfo:
    head = tarfile.TarInfo(f"{name}/{path.relative_to(checkpoint.path)}")
    head.size, head.mtime = status.st_size, int(status.st_mtime)
    return head


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

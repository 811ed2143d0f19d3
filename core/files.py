"""Files below a directory that a training script writes to, opened without trusting what stands there.

A script can put a link, a named pipe, a socket or a device where a log is expected, and swap it while one looks. Every
path is therefore walked one component at a time, each opened relative to the one before: a link is followed as long as
it stays below the directory, only a regular file is opened, and nothing here waits. Each refusal is an OSError whose
`strerror` is a sentence for a reader. Knows no Django.

Not covered: a hard link to a file that the script's own Unix user may link (`fs.protected_hardlinks` keeps it from
others), and a file system that the script itself has mounted there.
"""

import errno
import itertools
import os
import secrets
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MAX_LINKS = 40  # as many as Linux follows in one path
MAX_DEPTH = 64
# A name that is taken again as soon as it is free is somebody's attack.
TRIES = 10
CHUNK_BYTES = 1024 * 1024
NOFOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC
KINDS = {
    stat.S_IFIFO: "It is a named pipe, not a file",
    stat.S_IFSOCK: "It is a socket, not a file",
    stat.S_IFCHR: "It is a device, not a file",
    stat.S_IFBLK: "It is a device, not a file",
    stat.S_IFDIR: "It is a directory, not a file",
}


# --- reading ----------------------------------------------------------------------------------------------------------


def open_file(directory: Path, path: str | PurePosixPath) -> int:
    """A descriptor for reading the regular file at `path` below `directory`. Never waits. Raises OSError."""
    with _located(directory, path) as place:
        kind = stat.S_IFMT(os.fstat(place).st_mode)
        if kind != stat.S_IFREG:
            code = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
            raise OSError(code, KINDS.get(kind, "It is no regular file"), str(path))
        # The very file that was looked at: its name may be another's by now. A lease that its owner holds is no reason
        # to wait either.
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def read(directory: Path, path: str | PurePosixPath, most: int) -> bytes:
    """A whole file of at most `most` bytes. Raises OSError, also where it has more."""
    with os.fdopen(open_file(directory, path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"It has more than {most:,} bytes", str(path))
    return data


def status_of(directory: Path, path: str | PurePosixPath) -> os.stat_result:
    """Of whatever is at `path` below `directory`, links inside followed. Raises OSError."""
    with _located(directory, path) as place:
        return os.fstat(place)


def names_in(directory: Path, path: str | PurePosixPath, most: int) -> list[str]:
    """The first `most` names of a directory, in no order. Raises OSError."""
    with _opened_directory(directory, path) as place, os.scandir(place) as entries:
        return [entry.name for entry in itertools.islice(entries, most)]


class TooMany(OSError):
    """There are more entries than one is ready to look at."""


@dataclass(frozen=True)
class Entry:
    """What is at `path`, below the directory that was walked from; `status` is a link's own."""

    path: PurePosixPath
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


def walk(directory: Path, path: str | PurePosixPath = ".", *, most: int, lenient: bool = False) -> Iterator[Entry]:
    """Everything below `path`, which is below `directory`: directories before what is in them, links not followed.

    Raises TooMany behind the first `most` entries, and OSError where a directory cannot be read or lies more than 64
    deep; `lenient` passes over those.
    """
    waiting = [PurePosixPath(path)]
    while waiting:
        here = waiting.pop()
        try:
            found = _entries(directory, here, most + 1)
        except OSError:
            if lenient:
                continue
            raise
        yield from found[:most]
        if len(found) > most:
            raise TooMany(errno.E2BIG, "There are too many files in it", str(path))
        most -= len(found)
        waiting += [entry.path for entry in found if entry.is_directory]


def _entries(directory: Path, path: PurePosixPath, most: int) -> list[Entry]:
    found = []
    with _opened_directory(directory, path) as place, os.scandir(place) as entries:
        for entry in itertools.islice(entries, most):
            with suppress(FileNotFoundError):  # it went while one looked
                found.append(Entry(path / entry.name, os.stat(entry.name, dir_fd=place, follow_symlinks=False)))
    return found


@contextmanager
def _opened_directory(directory: Path, path: str | PurePosixPath) -> Iterator[int]:
    with _located(directory, path) as place:
        opened = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)


@contextmanager
def _located(directory: Path, path: str | PurePosixPath) -> Iterator[int]:
    """What `path` names below `directory`, as a descriptor that only says where it is (O_PATH). Raises OSError."""
    opened = [_root(directory)]
    try:
        parts = list(reversed(PurePosixPath(path).parts))
        links = 0
        while parts:
            part = parts.pop()
            if part.startswith("/") or (part == ".." and len(opened) == 1):
                raise OSError(errno.EXDEV, "A link leads out of its directory", str(path))
            if part == "..":
                os.close(opened.pop())
                continue
            opened.append(os.open(part, os.O_PATH | NOFOLLOW, dir_fd=opened[-1]))
            if stat.S_ISLNK(os.fstat(opened[-1]).st_mode):
                links += 1
                target = os.readlink("", dir_fd=opened[-1])
                os.close(opened.pop())
                parts.extend(reversed(PurePosixPath(target).parts))
            if links > MAX_LINKS or len(opened) > MAX_DEPTH:
                raise OSError(errno.ELOOP, "Too many links or directories lead to it", str(path))
        yield opened[-1]
    finally:
        for each in opened:
            os.close(each)


def _root(directory: Path) -> int:
    """Links above the directory are the administrator's; the directory itself must be none."""
    try:
        return os.open(directory, os.O_PATH | os.O_DIRECTORY | NOFOLLOW)
    except NotADirectoryError:
        if directory.is_symlink():
            raise OSError(errno.ELOOP, "Its directory is a link, and that is not followed", str(directory)) from None
        raise


# --- writing ----------------------------------------------------------------------------------------------------------


def create(directory: Path, name: str) -> int:
    """A descriptor for appending to a new file `name` in `directory`, in place of what was there. Raises OSError."""
    root = _root(directory)
    try:
        for _ in range(TRIES):
            with suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | NOFOLLOW
                return os.open(name, flags, 0o644, dir_fd=root)
            _clear(root, name)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    finally:
        os.close(root)


def append_to(directory: Path, name: str) -> int:
    """A descriptor for appending to `name` in `directory`, a new file where there is none yet. Raises OSError."""
    with suppress(FileNotFoundError), _located(directory, name) as place:
        if stat.S_ISREG(os.fstat(place).st_mode):
            return os.open(f"/proc/self/fd/{place}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    return create(directory, name)


def write_whole(directory: Path, name: str, data: bytes) -> None:
    """Write `name` in `directory`, whole or not at all, also when the power goes. Raises OSError."""
    partial = f"{name}.partial"
    file = create(directory, partial)
    root = _root(directory)
    try:
        with os.fdopen(file, "wb") as output:
            output.write(data)
            output.flush()
            os.fsync(file)
        _rename(root, partial, name)
    except OSError:
        with suppress(OSError):
            os.unlink(partial, dir_fd=root)
        raise
    finally:
        os.close(root)


def _rename(root: int, old: str, new: str) -> None:
    try:
        os.rename(old, new, src_dir_fd=root, dst_dir_fd=root)
    except IsADirectoryError:
        _clear(root, new)
        os.rename(old, new, src_dir_fd=root, dst_dir_fd=root)


def _clear(root: int, name: str) -> None:
    """Remove what has this name; a directory gets another one, since it may be large."""
    try:
        os.unlink(name, dir_fd=root)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        os.rename(name, f"{name}.{secrets.token_hex(4)}", src_dir_fd=root, dst_dir_fd=root)


def link_or_copy(directory: Path, path: PurePosixPath, target_directory: Path, target: PurePosixPath) -> list[str]:
    """Give the file at `path` below `directory` a second name, or copy it where the file system or its owner forbids.

    The directory of `target` is made, below `target_directory`. Returns why, where it was copied. Raises OSError.
    """
    source = open_file(directory, path)
    try:
        with _made(target_directory, target.parent) as place:
            try:
                os.link(f"/proc/self/fd/{source}", target.name, dst_dir_fd=place, follow_symlinks=True)
            except FileExistsError:
                raise
            except OSError as error:
                _copy(source, place, target.name)
                return [error.strerror or str(error)]
        return []
    finally:
        os.close(source)


def _copy(source: int, place: int, name: str) -> None:
    """Of what was the file's size at the beginning: one that is written meanwhile has an end."""
    left = os.fstat(source).st_size
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW
    with os.fdopen(os.open(name, flags, 0o644, dir_fd=place), "wb") as file:
        while left and (chunk := os.read(source, min(left, CHUNK_BYTES))):
            left -= file.write(chunk)


@contextmanager
def _made(directory: Path, path: PurePosixPath) -> Iterator[int]:
    """`path` below `directory`, each of its directories made where it is missing."""
    for count in range(1, len(path.parts) + 1):
        parent, name = PurePosixPath(*path.parts[: count - 1]), path.parts[count - 1]
        with _located(directory, parent) as place, suppress(FileExistsError):
            os.mkdir(name, dir_fd=place)
    with _located(directory, path) as place:
        yield place


def make_directory(directory: Path, path: str | PurePosixPath) -> None:
    """`path` below `directory`, with what is missing of it. Raises OSError, also where a link leads out."""
    with _made(directory, PurePosixPath(path)) as place:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def rename(directory: Path, path: PurePosixPath, name: str) -> None:
    """Give what is at `path` below `directory` another name beside it. Raises OSError."""
    with _located(directory, path.parent) as place:
        os.rename(path.name, name, src_dir_fd=place, dst_dir_fd=place)


def remove_tree(directory: Path) -> None:
    """Remove a directory and all that is in it; links are removed, not followed. Raises OSError.

    By `rm`: directories can be nested deeper than Python's own way to remove them goes.
    """
    if directory.is_symlink():
        raise OSError(errno.ELOOP, "It is a link, and whatever it leads to stays", str(directory))
    if _rm(directory):
        # A script may have closed its own directories to us.
        subprocess.run(["chmod", "-R", "u+rwX", "--", directory], capture_output=True, check=False)
        if said := _rm(directory):
            raise OSError(errno.ENOTEMPTY, said, str(directory))


def _rm(directory: Path) -> str:
    """What it could not remove at first, and why, as `rm` says it; empty where all is gone."""
    command = ["rm", "-rf", "--", str(directory)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        first = process.stderr.readline(CHUNK_BYTES).decode("utf-8", "replace")
        while process.stderr.read(CHUNK_BYTES):
            pass
    return first.strip().removeprefix("rm: ") if process.returncode else ""

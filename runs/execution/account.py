"""TUNIX_RT_RUN_AS: the other Unix user that trainers run as, and what of the home is open to that user.

It can pass through the home and list nothing of it. A run's directory is its group's while the run goes on; it is
sticky, so that what the supervisor wrote there is not the trainer's to remove or replace.
"""

import contextlib
import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from core.errors import Kind, Refusal

PASS_THROUGH = 0o001
READ_BY_GROUP = 0o040
# Setgid: what a trainer makes is its group's, of which the server's user is a member.
SHARED = 0o2770
# What his trainers write is read and removed by the server as a member of his group.
UMASK = 0o007


class Unavailable(Refusal):
    """The user or the confinement that the settings ask for cannot be had; the message says why."""

    kind = Kind.NOT_AVAILABLE


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    def process(self) -> dict[str, object]:
        """The arguments of subprocess that start something as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": self.groups}

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


def trainers() -> Account | None:
    """None where trainers run as the dispatcher does. Raises Unavailable."""
    name = settings.RUN_AS
    if not name:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise Unavailable(f"TUNIX_RT_RUN_AS names no user of this machine: {name!r}.") from None
    if found.pw_uid in (0, os.geteuid()):
        raise Unavailable(
            f"TUNIX_RT_RUN_AS={name} confines nothing: it must be neither root nor the dispatcher's user."
        )
    return Account(name, found.pw_uid, found.pw_gid, tuple(os.getgrouplist(name, found.pw_gid)), found.pw_dir)


def check(account: Account) -> None:
    """Try once what every run needs: start as that user, see and end what he started, give him a file.

    Raises Unavailable.
    """
    needs = "The dispatcher must be root or have the capabilities that docs/operations.md names."
    try:
        child = subprocess.Popen(["sleep", "60"], cwd="/", **account.process())  # type: ignore[call-overload]
        try:
            Path(f"/proc/{child.pid}/environ").read_bytes()
        finally:
            child.kill()
            child.wait()
        with _made_for_a_try() as file:
            os.chown(file, -1, account.gid)
    except OSError as error:
        raise Unavailable(
            f"TUNIX_RT_RUN_AS={account.name}: this process may not act for that user ({error.strerror}). {needs}"
        ) from error


def let_pass(account: Account) -> None:
    """Let him through to the runs, which are closed one by one before. Raises OSError."""
    home = Path(settings.TUNIX_RT_HOME)
    for directory in (Path(settings.RUNS_DIR), Path(settings.DATASETS_DIR), home):
        directory.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(directory.stat().st_mode)
        if directory != home:
            _close_to_others(directory)
        if not mode & PASS_THROUGH:
            directory.chmod(mode | PASS_THROUGH)


def share(account: Account, run: Path, output: Path, files: list[Path]) -> None:
    """Give him the run's directory with what its output holds, and these files to read. Raises OSError."""
    for parent in [output, *output.parents]:
        if parent == run:
            break
        _give(parent, account.gid, SHARED)
    for directory, _, names in os.walk(output):
        _give(Path(directory), account.gid, SHARED)
        for name in names:  # a checkpoint that is resumed from
            _give(Path(directory, name), account.gid, READ_BY_GROUP)
    for file in files:
        _give(file.parent, account.gid, READ_BY_GROUP | 0o010)
        _give(file, account.gid, READ_BY_GROUP)
    # Last, and from now on he can write here.
    _give(run, account.gid, SHARED | stat.S_ISVTX)


def take_back(run: Path) -> None:
    """The run has ended. Nothing of the user lives any more that could stand in the way."""
    with contextlib.suppress(OSError):
        run.chmod(0o2700)


def _give(path: Path, gid: int, mode: int) -> None:
    """Add `mode`. Never through a link, and not what is another's: it is that user's already."""
    file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if status.st_uid != os.geteuid() or not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            return
        here = Path(f"/proc/self/fd/{file}")
        if status.st_gid != gid:
            os.chown(here, -1, gid)
        here.chmod(stat.S_IMODE(status.st_mode) | mode)
    finally:
        os.close(file)


def _close_to_others(directory: Path) -> None:
    for entry in os.scandir(directory):
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
            if mode & 0o007 and not entry.is_symlink():
                Path(entry.path).chmod(mode & ~0o007)


@contextlib.contextmanager
def _made_for_a_try():  # type: ignore[no-untyped-def]
    path = Path(settings.FILE_UPLOAD_TEMP_DIR, f"try-{os.getpid()}")
    try:
        path.touch()
        yield path
    finally:
        path.unlink(missing_ok=True)

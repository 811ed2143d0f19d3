"""What of the machine a trainer is left, and as whom it runs: TUNIX_RT_CONFINE and TUNIX_RT_RUN_AS.

Left to it are: to read, everything outside of the home; to write, its run's directory, temporary files, accelerators,
and the caches of models. Of the home it has its run's directory and its dataset. What others have there, and the files
of an SQLite database wherever they lie, are closed.
"""

import ctypes
import logging
import os
import resource
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from runs import datasets, tunix
from runs.execution import account, landlock
from runs.execution.account import Account, Unavailable
from runs.execution.landlock import LIST, READ, WRITE, Access
from runs.models import TunixRun
from runs.rundir import RunDirectory

log = logging.getLogger(__name__)
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
PR_SET_NO_NEW_PRIVS = 38
PR_CAPBSET_DROP = 24
# Ways around Landlock that only root has, by number: DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN,
# SYS_BOOT, MKNOD, MAC_OVERRIDE, MAC_ADMIN, SYSLOG, PERFMON (it reads other processes' environments), BPF,
# CHECKPOINT_RESTORE.
DROPPED_CAPABILITIES = (2, 16, 17, 19, 21, 22, 27, 32, 33, 34, 38, 39, 40)
CACHES_BY_VARIABLE = (
    "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_ASSETS_CACHE", "HF_XET_CACHE", "JAX_COMPILATION_CACHE_DIR",
    "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "CUDA_CACHE_PATH", "TMPDIR",
)  # fmt: skip
CACHES_BY_HOME = (".cache", ".nv", ".triton", ".config/wandb", ".config/matplotlib", ".local/share/wandb")
TEMPORARY = ("/tmp", "/var/tmp")
# Not all of them: root's trainer would read the disk, and with it what is on it.
DEVICES = Path("/dev")
DEVICES_USED = (
    "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "hugepages",
    "nvidia*", "dri", "kfd", "accel*", "apex*", "vfio", "infiniband",
)  # fmt: skip


@dataclass(frozen=True)
class Confinement:
    """How a run's trainer is started. `rules` is None where its files are those of its Unix user."""

    directory: Path
    environment: dict[str, str]
    account: Account | None
    rules: list[tuple[Path, Access]] | None
    umask: int

    def process(self) -> dict[str, Any]:
        """The arguments of subprocess that start it so. Raises OSError."""
        made = None if self.rules is None else landlock.ruleset(self.rules)
        as_whom = self.account.process() if self.account else {}
        return {"umask": self.umask, "preexec_fn": lambda: _enter(self.account, made), **as_whom}

    def described(self) -> dict[str, Any]:
        """For the record."""
        files = None if self.rules is None else f"Landlock, ABI {landlock.abi()}"
        return {"files": files, "user": self.account.name if self.account else None}

    def end(self) -> None:
        """The trainer has ended, and all that it started."""
        if self.account:
            account.take_back(self.directory)


def check() -> None:
    """Try once, at the dispatcher's start, what every run needs. Raises Unavailable."""
    if (user := account.trainers()) is not None:
        account.check(user)
        account.let_pass(user)
    if not _has_landlock() and settings.CONFINE == "auto":
        log.warning("this kernel has no Landlock: a trainer reads what its Unix user may, see docs/security.md")


def of_run(run: TunixRun, environment: dict[str, str]) -> Confinement:
    """For the trainer of `run`, which is given what it needs of the home. Raises Unavailable, OSError, ValueError."""
    where = RunDirectory(run.run_id)
    data = datasets.get(run.dataset_key).data_path
    user = account.trainers()
    umask = settings.TRAINER_UMASK
    if user is not None:
        environment = environment | user.environment
        account.let_pass(user)
        account.share(user, where.path, where.output(run.output_dir), [data, where.manifest])
        umask = account.UMASK
    rules = list(_rules(where.path, data.parent, environment, user)) if _has_landlock() else None
    return Confinement(where.path, environment, user, rules, umask)


def _has_landlock() -> bool:
    """Whether to use it. Raises Unavailable."""
    if settings.CONFINE == "off":
        return False
    found = landlock.abi()
    if found < landlock.OLDEST and settings.CONFINE == "landlock":
        raise Unavailable(
            f"TUNIX_RT_CONFINE=landlock needs Linux 5.19 or later with Landlock switched on (ABI {landlock.OLDEST}); "
            f"here it is {found or 'absent'}."
        )
    return found >= landlock.OLDEST


def _rules(
    directory: Path, dataset: Path, environment: Mapping[str, str], user: Account | None
) -> Iterator[tuple[Path, Access]]:
    _make([path for path in _caches(environment) if not path.exists()], user)
    ours = {*_of_the_server(), DEVICES}
    # Python looks for modules in lists of their directories, the project's among them, which the home lies in.
    yield Path("/"), LIST
    for path in (Path("/"), dataset, *_programs(), *map(Path, settings.TRAINER_READS)):
        yield from ((part, READ) for part in _all_but(path.resolve(), ours))
    for path in DEVICES.iterdir():
        if any(path.match(name) for name in DEVICES_USED):
            yield path, WRITE
    code = {Path(settings.BASE_DIR).resolve(), Path(settings.TUNIX_PYTHON).parent.parent.resolve()}
    for path in _writable(environment, code):
        yield from ((part, WRITE) for part in _all_but(path, ours | code))
    yield directory.resolve(), WRITE


def _all_but(top: Path, closed: set[Path]) -> Iterator[Path]:
    """The fewest paths that hold everything at and below `top` but what is at and below `closed`.

    A path inside of one of those that somebody has named is passed on: that was meant.
    """
    if top in closed:
        return
    if not any(each.is_relative_to(top) for each in closed):
        yield top
        return
    try:
        names = os.listdir(top)
    except OSError:
        return
    for name in names:
        yield from _all_but(top / name, closed)


def _of_the_server() -> Iterator[Path]:
    yield Path(settings.TUNIX_RT_HOME).resolve()
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        file = Path(database["NAME"]).resolve()
        yield from (file.with_name(file.name + suffix) for suffix in ("", "-wal", "-shm", "-journal"))


def _programs() -> Iterator[Path]:
    """The trainer's Python environment, and files that TUNIX_COMMAND names, where they lie inside of the home."""
    yield Path(settings.TUNIX_PYTHON).parent.parent
    yield from (Path(part) for part in shlex.split(tunix.training_command()) if part.startswith("/"))


def _writable(environment: Mapping[str, str], code: set[Path]) -> list[Path]:
    """Real directories. What lies in one of them is a trainer's, who may have put a link there to anything at all.

    What lies in `code` is not, also where that lies in one of them, as a checkout in /tmp does.
    """
    found: list[Path] = []
    home = [Path(environment["HOME"], name) for name in CACHES_BY_HOME] if environment.get("HOME") else []
    named = {*map(Path, TEMPORARY), *home, *_caches(environment), *map(Path, settings.TRAINER_WRITES)}
    for path in sorted(named, key=lambda each: len(each.parts)):
        parent = path.parent.resolve()
        if any(map(parent.is_relative_to, code)) or not any(map(parent.is_relative_to, found)):
            found.append(path.resolve())
    return found


def _caches(environment: Mapping[str, str]) -> Iterator[Path]:
    """Those that are made where they are not there."""
    yield from (Path(environment[name]) for name in CACHES_BY_VARIABLE if environment.get(name, "").startswith("/"))
    if home := environment.get("HOME"):
        yield Path(home, ".cache")


def _make(missing: list[Path], user: Account | None) -> None:
    """A rule is about what is there. Where it cannot be made, the trainer says so when it needs it."""
    if missing:
        as_whom: dict[str, Any] = dict(user.process()) if user else {}
        subprocess.run(
            ["mkdir", "-p", "--", *map(str, missing)], stderr=subprocess.DEVNULL, check=False, cwd="/", **as_whom
        )


def _enter(user: Account | None, made: int | None) -> None:
    """In the child, before its program. What it dumps when it crashes would hold its secrets and fill the disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    libc = ctypes.CDLL(None)
    if user is not None:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if made is not None:
        for number in DROPPED_CAPABILITIES:
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # who may not drop them has none
        landlock.enter(made)

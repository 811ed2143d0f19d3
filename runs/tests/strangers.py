"""Another user of this machine, who has no rights here: what he can read, and what a program may do as him."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STRANGER = 65534


def as_stranger(*command: object) -> subprocess.CompletedProcess[str]:
    """Run it as him. Only root can."""
    leave = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--"]
    return subprocess.run(
        [*leave, *map(str, command)], capture_output=True, text=True, check=False, cwd="/", timeout=60
    )


def readable_by_stranger(path: Path) -> list[str]:
    """What below `path`, it included, he can list or read. By the modes where nobody but root may ask as him."""
    if os.geteuid() == 0:
        found = as_stranger("find", path, "(", "-type", "f", "-o", "-type", "d", ")", "-readable")
        return found.stdout.splitlines()
    if not path.stat().st_mode & stat.S_IXOTH:
        return []
    return [str(each) for each in (path, *path.rglob("*")) if each.stat().st_mode & stat.S_IROTH]


@contextmanager
def open_directory(parent: Path | None = None) -> Iterator[Path]:
    """A directory that everybody can reach; pytest's own are the tester's alone."""
    path = Path(tempfile.mkdtemp(prefix="tunix-rt-open-", dir=parent)).resolve()
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def set_home(settings: Any, home: Path) -> None:
    """Make it the one of this test."""
    settings.TUNIX_RT_HOME = home
    settings.DATASETS_DIR, settings.RUNS_DIR = home / "datasets", home / "runs"
    settings.UNRECORDED_DIR, settings.FILE_UPLOAD_TEMP_DIR = home / "unrecorded", home / "tmp"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)


def reaching(program: Path) -> list[str]:
    """What stands before a command for which everybody can run `program`, also where it lies in root's own directory."""
    real = program.resolve()
    if os.geteuid() != 0 or as_stranger("test", "-x", real).returncode == 0:
        return []
    closed = next(path for path in reversed(real.parents) if not path.stat().st_mode & stat.S_IXOTH)
    kept = closed / real.relative_to(closed).parts[0]
    script = (
        f"aside=$(mktemp -d) && mount --bind {kept} $aside && mount -t tmpfs -o mode=755 none {closed}"
        f' && mkdir {kept} && mount --bind $aside {kept} && exec "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", script, "sh"]

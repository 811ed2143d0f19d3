"""Another user of this machine, who has no rights here: what he can read, and what a program may do as him."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
def open_directory() -> Iterator[Path]:
    """A directory that everybody can reach; pytest's own are the tester's alone."""
    path = Path(tempfile.mkdtemp(prefix="tunix-rt-open-")).resolve()
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)

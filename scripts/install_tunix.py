"""Install Google's Tunix into .venv-tunix, from its lock, and say how far it is in .venv-tunix.json.

Without an option it installs once and exits; with --wait it then stays, and tries again when a byte comes through the
named pipe `installer.wake` of TUNIX_RT_HOME: `make run` has it beside its server. Run by .venv's Python, which has uv.

The environment is made beside its place and put there whole: whoever finds it can train with it, and a version that is
there works on until the next one is complete. What was cut off is made anew, from uv's cache.
"""

import fcntl
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uv_settings

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-tunix.txt"
# Where it is a link, what it points to is replaced.
VENV = (ROOT / ".venv-tunix").resolve()
NEW, OLD = VENV.with_name(f"{VENV.name}.new"), VENV.with_name(f"{VENV.name}.old")
STATE, MUTEX = VENV.with_name(f"{VENV.name}.json"), VENV.with_name(f"{VENV.name}.lock")
# So many are fetched and installed at once; how far it is, is said after each such batch.
BATCH = 8
NEEDED_BYTES = 2 * 1024**3
REASON_LENGTH = 300
IN_USE_SECONDS = 5


class Failed(Exception):
    """Tunix could not be installed; the text says why."""


def main(options: list[str]) -> int:
    # A signal becomes an exception, so that uv is ended too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))
    if options == ["--wait"]:
        pipe = listen(Path(os.environ["TUNIX_RT_HOME"]) / "installer.wake")
        while True:
            install()
            with suppress(BlockingIOError):
                while os.read(pipe, 4096):
                    pass
            select.select([pipe], [], [])
    return 0 if install() else 1


def listen(path: Path) -> int:
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def install() -> bool:
    with alone() as mutex:
        if is_there():
            (VENV / LOCK.name).touch()  # make asks which is newer
            STATE.unlink(missing_ok=True)
            return True
        print("Installing Tunix into .venv-tunix: 1.3 GB. Dry runs work meanwhile.", flush=True)
        began = time.monotonic()
        try:
            build(mutex)
            wait_for_trainings()
            put_in_place()
        except (Failed, OSError) as error:
            shutil.rmtree(NEW, ignore_errors=True)  # first: the disk may be full
            report(state="failed", reason=str(error)[:REASON_LENGTH])
            print(f"Tunix could not be installed: {error}", file=sys.stderr, flush=True)
            return False
        STATE.unlink(missing_ok=True)
        print(f"Tunix is installed, after {time.monotonic() - began:.0f} s.", flush=True)
        return True


@contextmanager
def alone() -> Iterator[int]:
    """Holds the lock, for which another installation is waited. Who reads the state sees by it that one is at work."""
    mutex = os.open(MUTEX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        yield mutex
    finally:
        os.close(mutex)


def is_there() -> bool:
    """Whether what the lock says is installed, for a Python that is still there."""
    stamp = VENV / LOCK.name
    return (VENV / "bin/python").exists() and stamp.exists() and stamp.read_bytes() == LOCK.read_bytes()


def build(mutex: int) -> None:
    """Raises Failed."""
    shutil.rmtree(NEW, ignore_errors=True)
    wanted = packages(LOCK.read_text())
    report(state="installing", done=0, total=len(wanted))
    free = shutil.disk_usage(NEW.parent).free
    if free < NEEDED_BYTES:
        raise Failed(f"it needs {NEEDED_BYTES / 1e9:.1f} GB on the disk, and {free / 1e9:.1f} GB are free")
    environment = os.environ | uv_settings.settings(os.environ)
    uv(mutex, environment, "venv", "--relocatable", "--python", sys.executable, str(NEW))
    into = ("pip", "install", "--python", str(NEW / "bin/python"), "--require-hashes")
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        uv(mutex, environment, *into, "--no-deps", "--requirement", "-", stdin="".join(batch))
        report(state="installing", done=start + len(batch), total=len(wanted))
    uv(mutex, environment, *into, "--requirement", str(LOCK))  # that nothing is missing
    compile_what_trains(mutex)
    shutil.copy(LOCK, NEW)


def compile_what_trains(mutex: int) -> None:
    """A confined trainer cannot write there, and would compile these modules at each start: 5 s."""
    program = "import runs.trainer.training, transformers; from tunix.models.qwen3 import model"
    subprocess.run(
        [NEW / "bin/python", "-c", program],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[mutex],
        check=False,  # it is for speed only
    )


def packages(lock: str) -> list[str]:
    """A lock's requirements, each with its hashes, but for those of another system."""
    found = re.findall(r"^[^\s#].*\n(?:[ \t]+.*\n)*", lock, re.MULTILINE)
    return [each for each in found if "sys_platform == 'win32'" not in each.partition("\n")[0]]


def uv(mutex: int, environment: dict[str, str], *arguments: str, stdin: str = "") -> None:
    """Raises Failed. It keeps the lock: should this process be killed, the next one waits for it."""
    process = subprocess.Popen(
        [uv_settings.UV, "--quiet", *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=[mutex],
    )
    try:
        said = process.communicate(stdin)[1]
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode < 0:
        raise Failed(f"the installer was ended by {signal.Signals(-process.returncode).name}")
    if process.returncode:
        raise Failed(reason(said))


def reason(said: str) -> str:
    """What went wrong, in one line: the innermost cause that uv names, and in words what it commonly means."""
    causes = re.findall(r"^\s*(?:error|cause): *(.*)", said, re.MULTILINE)
    last = (causes or said.strip().splitlines() or ["uv did not say why"])[-1].strip()
    if "os error 28" in said:
        return "the disk is full"
    if "error sending request" in said or "client error" in said:
        return f"the package index cannot be reached: {last}"
    return last


def wait_for_trainings() -> None:
    """A training that uses the version which is there keeps it to its end."""
    while is_in_use(VENV / "bin/python"):
        time.sleep(IN_USE_SECONDS)


def is_in_use(python: Path) -> bool:
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if command.read_bytes().startswith(f"{python}\0".encode()):
                return True
    return False


def put_in_place() -> None:
    shutil.rmtree(OLD, ignore_errors=True)
    with suppress(FileNotFoundError):
        VENV.rename(OLD)
    NEW.rename(VENV)
    shutil.rmtree(OLD, ignore_errors=True)


def report(**state: object) -> None:
    """Whole or not at all. A disk that is full keeps no installation from going on, or from ending."""
    part = STATE.with_suffix(".part")
    with suppress(OSError):
        part.write_text(json.dumps(state))
        part.replace(STATE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

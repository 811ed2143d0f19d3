"""A training script that does harm, for the campaign of faults: what its argument says, e.g. `put=stdout.log:pipe,kill=supervisor`.

It trains first, so that there is something to harm. Each act that it has done is a line in `<beside the home>/notes/acts`.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

RUN = Path(os.environ["TUNIX_RT_RUN_DIR"])
HOME = RUN.parents[1]
CANARY = HOME.parent / "canary"
OUTPUT = Path(yaml.safe_load((RUN / "manifest.yaml").read_text())["output"]["output_dir"])
SUPERVISOR = os.getppid()


def note(what):
    file = os.open(HOME.parent / "notes" / "acts", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{RUN.name} {what}\n".encode())
    os.close(file)


def train():
    print("begins", flush=True)
    for step in (5, 10):
        checkpoint = OUTPUT / "checkpoints" / str(step)
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_bytes(os.urandom(2000))
        (checkpoint / "commit_success.txt").touch()
    with (RUN / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps({"name": "train/loss", "step": n, "value": 1 / n}) + "\n" for n in range(1, 51))
    (RUN / "trainer.json").write_text(json.dumps({"total_steps": 100, "devices": ["cpu:0"]}))


# --- what stands in the place of a file -------------------------------------------------------------------------------


def clear(path):
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name(f"{path.name}.was-{time.monotonic_ns()}"))
        else:
            path.unlink()


def listen(path):
    """A socket's path may have 108 bytes."""
    os.chdir(path.parent)
    socket.socket(socket.AF_UNIX).bind(path.name)


def hole(path):
    with path.open("wb") as file:
        file.truncate(2**40)


def device(path):
    try:
        os.mknod(path, 0o020666, os.makedev(1, 5))
    except OSError:
        os.mkfifo(path)


def closed(path):
    path.write_text("closed")
    path.chmod(0)


RESULT = {"status": "completed", "exit_code": 0, "message": "Mine", "completed_at": "2026-01-01T00:00:00+00:00"}
KINDS = {
    "pipe": os.mkfifo,
    "socket": listen,
    "device": device,
    "link": lambda path: path.symlink_to(CANARY / "secret"),
    "up": lambda path: path.symlink_to(os.path.relpath(CANARY / "secret", path.parent)),
    "tree": lambda path: path.symlink_to(CANARY),
    "environ": lambda path: path.symlink_to("/proc/self/environ"),
    "parent": lambda path: path.symlink_to(f"/proc/{SUPERVISOR}/environ"),
    "database": lambda path: path.symlink_to(HOME / "tunix-rt.sqlite3"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "circle": lambda path: path.symlink_to(path.name),
    "directory": Path.mkdir,
    "full": lambda path: (path / "inner" / "more").mkdir(parents=True),
    "hole": hole,
    "closed": closed,
    "gone": lambda path: None,
    "empty": Path.touch,
    "deep": lambda path: path.write_text("[" * 100_000),
    "binary": lambda path: path.write_bytes(os.urandom(5000)),
    "large": lambda path: path.write_text(json.dumps({"stdout": "x" * 3_000_000})),
    "list": lambda path: path.write_text("[1, 2]"),
    "half": lambda path: path.write_text('{"status": "comp'),
    "result": lambda path: path.write_text(json.dumps(RESULT | {"seal": "0" * 64})),
    "owner": lambda path: path.write_text(json.dumps(RESULT | {"owner_id": 1, "priority": 2, "claim": "", "slot": 0})),
    "status": lambda path: path.write_text(json.dumps(RESULT | {"status": "great", "exit_code": "none"})),
    "types": lambda path: path.write_text(
        json.dumps({"versions": 5, "devices": {"a": 1}, "model": [], "host": "mine", "total_steps": "many", "seal": 5})
    ),
    "points": lambda path: path.write_text('{"name": "a", "step": 1e999}\n{"name": [], "step": {}}\nnull\n' * 200),
}


def put(what):
    """`put=<file>:<kind>`"""
    name, kind = what.rsplit(":", 1)
    path = RUN / name
    clear(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind](path)


# --- what is done to directories, processes and the disk --------------------------------------------------------------


def swap(_):
    """A log and a checkpoint take turns with links that lead out, until the end."""
    (RUN / "link").symlink_to(CANARY / "secret")
    (RUN / "tree").symlink_to(CANARY)

    def go():
        while True:
            for name, link in (("stdout.log", "link"), ("output/checkpoints/10", "tree")):
                with contextlib.suppress(OSError):
                    for one, other in ((name, "kept"), (link, name), (name, link), ("kept", name)):
                        (RUN / one).rename(RUN / other)

    threading.Thread(target=go, daemon=True).start()


def away(_):
    """The run's directory is another's."""
    RUN.rename(RUN.with_name(f"{RUN.name}.away"))
    RUN.symlink_to(CANARY)


def back(_):
    """Away for a moment."""
    away(_)
    time.sleep(1.5)
    RUN.unlink()
    RUN.with_name(f"{RUN.name}.away").rename(RUN)


def many(what):
    place = RUN / "output" / "checkpoints"
    place.mkdir(parents=True, exist_ok=True)
    for number in range(int(what)):
        (place / str(1000 + number)).mkdir(exist_ok=True)
        (RUN / f"file-{number}").touch()


def nest(what):
    here = os.open(RUN, os.O_RDONLY)
    for _ in range(int(what)):
        with contextlib.suppress(FileExistsError):
            os.mkdir("d" * 20, dir_fd=here)
        inner = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def remove(_):
    """All that it can."""
    for path in RUN.iterdir():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink()


def fill(what):
    """The disk, for so many seconds."""
    try:
        with (RUN / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(256 * 1024))
    except OSError:
        print("the disk is full", flush=True)
    time.sleep(float(what))
    (RUN / "filler").unlink(missing_ok=True)


def kill(what):
    """`supervisor`, `stop` it, or `self`."""
    if what == "self":
        os.kill(os.getpid(), signal.SIGKILL)
    os.kill(SUPERVISOR, signal.SIGSTOP if what == "stop" else signal.SIGKILL)


def starve(what):
    """The supervisor, of file descriptors or of room in files."""
    limit = {"files": resource.RLIMIT_NOFILE, "size": resource.RLIMIT_FSIZE}[what]
    resource.prlimit(SUPERVISOR, limit, (0, 0))


def orphan(what):
    """A child of a child that leaves the session and keeps the pipes."""
    script = f"setsid sleep {what} & exit 0"
    subprocess.run(["sh", "-c", script], check=True)


def ignore(_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def flood(what):
    for _ in range(int(what)):
        os.write(1, b"x" * 65_535 + b"\n")
        os.write(2, b"\x1b[31m" * 5_000 + b"\n")


def sleep(what):
    time.sleep(float(what))


def end(what):
    sys.stdout.flush()
    os._exit(int(what))


if __name__ == "__main__":
    note("start")
    train()
    for act in sys.argv[1].split(","):
        name, _, value = act.partition("=")
        if name in ("kill", "end"):
            note(act)  # there is no afterwards
        try:
            globals()[name](value)
        except OSError as error:
            print(f"{act}: {error}", flush=True)
        if name not in ("sleep", "end", "kill"):
            note(act)
        time.sleep(0.1)

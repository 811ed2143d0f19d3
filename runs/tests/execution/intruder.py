"""A trainer that takes what it can get, then does what a trainer must. What of it worked is in `found.json`, by name.

In HF_TARGETS, which is passed on as all of Hugging Face's: the home, the database's file or nothing, a process of ours, the directory of another run, the project. It needs
nothing but Python, so that any user can run it.
"""

import json
import mmap
import multiprocessing
import os
import socket
import tempfile
import time
from pathlib import Path

home, database, process, other, project = os.environ["HF_TARGETS"].split(":")
run = Path(os.environ["TUNIX_RT_RUN_DIR"])
worked: dict[str, object] = {}


def attempt(name, act):
    try:
        act()
        worked[name] = True
    except OSError as error:
        worked[name] = error.strerror


def read(path):
    return lambda: Path(path).read_bytes()


def write(path):
    return lambda: Path(path).open("ab").close()


def replace(path):
    def act():
        Path(f"{path}.mine").write_text("forged")
        os.replace(f"{path}.mine", path)

    return act


TAKEN = {
    "read the secret key": read(f"{home}/secret-key"),
    "read the database": read(database or f"{home}/tunix-rt.sqlite3"),
    "read the database's journal": read(f"{home}/tunix-rt.sqlite3-wal"),
    "read another run": read(f"{other}/stdout.log"),
    "read another dataset": read(f"{home}/datasets/other-v1/data.jsonl"),
    "read what waits": read(f"{home}/unrecorded/x.json"),
    "read our environment": read(f"/proc/{process}/environ"),
    "read our memory": lambda: os.close(os.open(f"/proc/{process}/mem", os.O_RDONLY)),
    "read the supervisor's environment": read(f"/proc/{os.getppid()}/environ"),
    "read by the process's root": read(f"/proc/{process}/root{home}/secret-key"),
    "write into another run": write(f"{other}/stdout.log"),
    "make a file in another run": write(f"{other}/new"),
    "make a run": lambda: os.mkdir(f"{home}/runs/new"),
    "write its dataset": write(f"{home}/datasets/arithmetic-v1/data.jsonl"),
    "remove the database": lambda: os.rename(f"{home}/tunix-rt.sqlite3", f"{home}/gone"),
    "link the secret key": lambda: os.link(f"{home}/secret-key", run / "linked"),
    "write our code": write(f"{project}/manage.py"),
    "signal us": lambda: os.kill(int(process), 0),
    "signal the supervisor": lambda: os.kill(os.getppid(), 0),
}
# Only another user is kept from those: the run's directory is the trainer's to write in.
OF_THE_SUPERVISOR = {
    "write its log": write(run / "stdout.log"),
    "replace its log": replace(run / "stdout.log"),
    "replace its manifest": replace(run / "manifest.yaml"),
    "remove the supervisor's log": lambda: os.unlink(run / "supervisor.log"),
}


def read_device():
    """The kernel's log stands for disks and memory."""
    os.close(os.open("/dev/kmsg", os.O_RDONLY))


def output():
    (Path(os.environ.get("OUTPUT", run)) / "made").mkdir()
    (Path(os.environ.get("OUTPUT", run)) / "made" / "weights").write_text("w")
    (run / "weights").write_text("w")
    (run / "weights").rename(run / "made" / "moved")


def listen():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def fork():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]


def shared_memory():
    name = Path(f"/dev/shm/tunix-rt-{os.getpid()}")
    with name.open("w+b") as file:
        file.truncate(4096)
        mmap.mmap(file.fileno(), 4096)[0] = 1
    name.unlink()


def cache():
    directory = Path(os.environ["HF_HOME"], "hub", "models--x")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "blob").write_text("w")
    (directory / "blob").replace(directory.parent / "blob")


NEEDED = {
    "read its dataset": read(f"{home}/datasets/arithmetic-v1/data.jsonl"),
    "read its manifest": read(run / "manifest.yaml"),
    "write metrics": lambda: (run / "metrics.jsonl").write_text('{"name": "train/loss", "step": 1, "value": 0.5}\n'),
    "write facts": lambda: (run / "trainer.json").write_text('{"total_steps": 1, "confinement": "forged"}'),
    "write output": output,
    "use temporary files": lambda: tempfile.TemporaryFile().close(),
    "use shared memory": shared_memory,
    "use the network": listen,
    "use processes": fork,
    "use a cache of models": cache,
    "use a device": write("/dev/null"),
    "find modules beside it": lambda: os.listdir(Path(__file__).parent),
    "read the system": read("/etc/passwd"),
}

if "HF_LINKED" in os.environ:
    TAKEN["write where a link leads"] = write(f"{os.environ['HF_LINKED']}/x")
if os.getuid() == 0:  # others are kept from it by its mode
    TAKEN["read a device"] = read_device
for name, act in (NEEDED | TAKEN | OF_THE_SUPERVISOR).items():
    attempt(name, act)
worked["files"] = sorted(os.listdir("/proc/self/fd"))[3:-1]
worked["user"] = [os.getuid(), os.getgid(), os.getgroups()]
worked["environment"] = dict(os.environ)
worked["cwd"] = os.getcwd()
worked["names"] = {"needed": list(NEEDED), "taken": list(TAKEN), "supervisor": list(OF_THE_SUPERVISOR)}
(run / "found.json").write_text(json.dumps(worked))
time.sleep(float(os.environ.get("HF_SLEEP", "0")))

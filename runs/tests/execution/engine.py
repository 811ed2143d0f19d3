"""Real dispatchers on the test's database, and what a test asks of the runs that they start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from django.conf import settings

from runs import services
from runs.models import TunixRun
from runs.tests.helpers import CONFIG

TRAINER = Path(__file__).with_name("trainer.py")
COMMAND = f"{sys.executable} {TRAINER} {{model_id}}"


def database_url() -> str:
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{database['NAME']}"
    return (
        f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    )


def environment(**extra: str) -> dict[str, str]:
    return os.environ | {
        "TUNIX_RT_HOME": str(settings.TUNIX_RT_HOME),
        "DATABASE_URL": database_url(),
        "TUNIX_COMMAND": COMMAND,
        "TUNIX_RT_SLOTS": "2",
        "TUNIX_RT_HEARTBEAT_SECONDS": "1",
        "TUNIX_RT_LEASE_SECONDS": "60",
        "TUNIX_RT_GRACE_SECONDS": "3",
        **extra,
    }


class Engine:
    """Starts dispatchers; ends everything that they started."""

    def __init__(self, home: Path):
        self.home = home
        self.dispatchers: list[subprocess.Popen] = []

    def dispatcher(self, *options: str, before: Sequence[str] = (), **extra: str) -> subprocess.Popen:
        """`before` is put before its command, `options` after it, `extra` into its environment."""
        log = (self.home / "dispatcher.log").open("ab")
        manage = Path(settings.BASE_DIR) / "manage.py"
        started = subprocess.Popen(
            [*before, sys.executable, manage, "dispatcher", *options],
            env=environment(**extra),
            stdout=log,
            stderr=log,
            cwd=settings.BASE_DIR,
        )
        self.dispatchers.append(started)
        return started

    def supervisor(self, run: TunixRun, token: str) -> subprocess.Popen:
        """What a dispatcher that has claimed `run` has started."""
        manage = [sys.executable, Path(settings.BASE_DIR) / "manage.py", "supervise"]
        started = subprocess.Popen(manage, env=environment(), stdin=subprocess.PIPE, cwd=settings.BASE_DIR)
        assert started.stdin is not None
        started.stdin.write(f"{run.run_id} {token}\n".encode())
        started.stdin.close()
        return started

    def stop(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.terminate()  # what it covered is written at its own end
            try:
                dispatcher.wait(15)
            except subprocess.TimeoutExpired:
                dispatcher.kill()
                dispatcher.wait()
        for process in processes_of(self.home):
            process.kill()


def processes_of(home: Path) -> list[psutil.Process]:
    """Every living process that has this home in its environment, but for this one."""
    found = []
    for process in psutil.process_iter():
        values = environ(process)
        ours = values.get("TUNIX_RT_HOME") == str(home) or str(home) in values.get("TUNIX_RT_RUN_DIR", "")
        if ours and process.pid != os.getpid():
            found.append(process)
    return found


def launch(behaviour: str, **config) -> TunixRun:
    request = services.LaunchRequest("arithmetic-v1", behaviour, CONFIG | config, dry_run=False)
    return services.launch(request)


def wait_for(run: TunixRun, *statuses: str, seconds: float = 60) -> TunixRun:
    """The run, in one of these statuses; any final one where none is named."""
    wanted = statuses or TunixRun.TERMINAL
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run.refresh_from_db()
        if run.status in wanted:
            return run
        time.sleep(0.05)
    raise AssertionError(f"{run} is {run.status} ({run.message}) after {seconds} s, not {' or '.join(wanted)}")


def until(found, seconds=20):
    """What `found` gives, as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def started(run: TunixRun) -> int:
    """How many times the run's trainer was started."""
    return len(list((Path(settings.RUNS_DIR) / str(run.run_id)).glob("started-*")))


def supervisor_of(run: TunixRun) -> int:
    return run.processes["supervisor"][0]


def trainers_of(run: TunixRun) -> list[psutil.Process]:
    """The living processes that the run's supervisor started."""
    return [p for p in psutil.process_iter() if str(run.run_id) in environ(p).get("TUNIX_RT_RUN_DIR", "")]


def trainer_of(run: TunixRun) -> psutil.Process:
    """The run's trainer, as soon as it is there."""
    deadline = time.monotonic() + 20
    while not (found := [p for p in trainers_of(run) if p.name().startswith("python")]):
        assert time.monotonic() < deadline, f"{run} has no trainer"
        time.sleep(0.05)
    return found[0]


def environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def end(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)

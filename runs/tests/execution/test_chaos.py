"""A campaign of faults against a real server with a real dispatcher: a trainer that does harm (hostile.py), processes that are
killed, and readers meanwhile. `make chaos` injects FAULTS of them (600), `make test` a few.

At the end nothing may be stuck, no run without an end, no slot taken, no process left, and nothing outside of the run's
directory may have been read: a secret lies beside the home, in the server's environment and in its database.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from django.conf import settings

from runs.tests.execution import hostile_plan
from runs.tests.execution.engine import environ, processes_of
from runs.tests.execution.test_room import AS_ROOT, mount
from runs.tests.helpers import arithmetic_rows
from runs.tests.server import running_server

SECRET = "canary-5f2e91c7d04b-nobody-may-see-this"
SLOTS = 6
FAULTS = int(os.environ.get("FAULTS", "600"))
HOSTILE = Path(__file__).with_name("hostile.py")
# What may be answered while databases, disks and processes are taken away.
SAID = (501, 503, 507)
ENDED = ("completed", "failed", "timeout", "cancelled")
LONGEST_ANSWER = 60.0


@pytest.fixture
def world(home, database, request):
    """A server, its dispatcher not yet started, and a small disk for the runs."""
    (home.parent / "canary" / "10").mkdir(parents=True)
    for name in ("secret", "stdout.log", "exit.json", "10/commit_success.txt", "10/weights", "commit_success.txt"):
        (home.parent / "canary" / name).write_text(SECRET)
    (home / "runs").mkdir()
    (home.parent / "notes").mkdir()
    mount(home / "runs", "size=192m,mode=755")
    variables = {
        "TUNIX_RT_SECRET_KEY": SECRET,
        "TUNIX_COMMAND": f"{sys.executable} {HOSTILE} {{model_id}}",
        "TUNIX_PYTHON": str(home / "no-tunix" / "bin" / "python"),
        "TUNIX_RT_SLOTS": str(SLOTS),
        "TUNIX_RT_HEARTBEAT_SECONDS": "1",
        "TUNIX_RT_LEASE_SECONDS": "10",
        "TUNIX_RT_GRACE_SECONDS": "2",
        "TUNIX_RT_MIN_FREE_BYTES": "4000000",
        "TUNIX_RT_CONFINE": getattr(request, "param", "off"),
        "TUNIX_RT_TRAINER_WRITES": str(home.parent / "notes"),
    }
    try:
        with running_server(home, database.url, pages=True, **variables) as server:
            rows = {"Content-Type": "application/x-ndjson"}
            server.post("/api/datasets?dataset_name=arithmetic&dataset_version=v1", arithmetic_rows(20), **rows)
            yield server
    finally:
        for process in processes_of(home):
            process.kill()
        subprocess.run([*AS_ROOT, "umount", "--lazy", home / "runs"], check=True)


@pytest.mark.chaos
@pytest.mark.parametrize("world", ["off", "auto"], indirect=True)
def test_a_campaign_of_faults(world):
    """Without confinement, where a trainer may do most harm, and with what the kernel gives."""
    Campaign(world, seed=1).go(FAULTS)


def test_a_few_faults(world):
    Campaign(world, seed=7).go(30)


class Campaign:
    def __init__(self, server, seed):
        self.server, self.home = server, server.home
        self.chance = random.Random(seed)
        self.plan = hostile_plan.plans(self.chance)
        self.runs, self.injected = {}, Counter()
        self.answers, self.problems, self.longest = Counter(), [], 0.0
        self.dispatcher, self.reading = None, True
        self.began = time.monotonic()

    def go(self, faults):
        self.start_dispatcher()
        readers = [threading.Thread(target=self.read, args=(random.Random(n),)) for n in range(3)]
        for reader in readers:
            reader.start()
        try:
            while self.faults() < faults:
                self.step()
            self.come_to_rest()
        finally:
            self.reading = False
            for reader in readers:
                reader.join()
            print(self.summary())
        self.check()

    # --- doing harm ---------------------------------------------------------------------------------------------------

    def start_dispatcher(self):
        with (self.home / "dispatcher.log").open("ab") as log:
            command = [sys.executable, "manage.py", "dispatcher"]
            self.dispatcher = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env=self.server.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def step(self):
        self.look()
        for run in [run for run, status in self.runs.items() if status == "lost"]:
            if self.chance.random() < 0.1:  # an operator who sees that a stopped supervisor keeps its slot
                self.server.post(f"/api/tunix/runs/{run}/cancel")
        self.free_disk()
        if len(self.open_runs()) < 2 * SLOTS:
            self.launch(next(self.plan))
        if self.chance.random() < 0.25:
            self.injected[self.chance.choice(self.OUTSIDE)(self)] += 1
        time.sleep(0.3)

    def launch(self, acts):
        body = {
            "dataset_key": "arithmetic-v1",
            "model_id": acts,
            "output_dir": "./output",
            "dry_run": False,
            "timeout_seconds": 15,
        }
        answer = self.server.post("/api/tunix/run", body)
        assert answer.status_code in (202, *SAID), (answer.status_code, answer.content)
        if answer.status_code == 202:
            self.runs[answer.json()["run_id"]] = "pending"

    def kill_dispatcher(self):
        self.dispatcher.kill()
        self.dispatcher.wait()
        self.start_dispatcher()
        return "kill -9 of the dispatcher"

    def kill_fork_server(self):
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.dispatcher.pid).children():
                child.kill()
        return "kill -9 of the fork server"

    def kill_supervisor(self):
        self.to_one(self.supervisors(), psutil.Process.kill)
        return "kill -9 of a supervisor"

    def stop_supervisor(self):
        self.to_one(self.supervisors(), psutil.Process.suspend)
        return "SIGSTOP of a supervisor"

    def kill_trainer(self):
        self.to_one(self.trainers(), psutil.Process.kill)
        return "kill -9 of a trainer"

    def to_one(self, processes, act):
        with contextlib.suppress(psutil.Error, IndexError):
            act(self.chance.choice(processes))

    def trainers(self):
        """What a run consists of, its orphans among it."""
        return [each for each in processes_of(self.home) if "TUNIX_RT_RUN_DIR" in environ(each)]

    def supervisors(self):
        found = set()
        for each in self.trainers():
            with contextlib.suppress(psutil.Error):
                parent = each.parent()
                if parent and "TUNIX_RT_RUN_DIR" not in environ(parent) and parent.pid != 1:
                    found.add(parent)
        return sorted(found, key=lambda process: process.pid)

    def cancel(self):
        if running := self.open_runs():
            self.server.post(f"/api/tunix/runs/{self.chance.choice(running)}/cancel")
        return "a cancel"

    def retry(self):
        ended = [run for run, status in self.runs.items() if status in (*ENDED, "lost")]
        if ended:
            answer = self.server.post(
                f"/api/tunix/runs/{self.chance.choice(ended)}/retry", {"resume": self.chance.random() < 0.6}
            )
            if answer.status_code == 201:
                self.runs[answer.json()["run_id"]] = "pending"
        return "a retry of what a hostile run left"

    def purge(self):
        ended = [run for run, status in self.runs.items() if status in ENDED]
        if len(ended) > 10:
            run = self.chance.choice(ended)
            if self.server.request("DELETE", f"/api/tunix/runs/{run}?purge=true").status_code == 204:
                del self.runs[run]
        return "a run freed for good"

    OUTSIDE = (
        kill_dispatcher, kill_dispatcher, kill_fork_server, kill_supervisor, kill_supervisor, stop_supervisor, kill_trainer, cancel,
        retry, retry, purge,
    )  # fmt: skip

    def faults(self):
        return sum(self.injected.values()) + len(self.acts())

    def acts(self):
        """What hostile runs have done, by their own notes."""
        path = self.home.parent / "notes" / "acts"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split(" ", 1)[1] for line in lines if not line.endswith(" start")]

    # --- reading meanwhile --------------------------------------------------------------------------------------------

    def read(self, chance):
        while self.reading:
            if runs := list(self.runs):
                self.ask(chance.choice(PLACES).format(run=chance.choice(runs), other=chance.choice(runs)))
            time.sleep(0.05)

    def ask(self, path):
        began = time.monotonic()
        try:
            answer = self.server.get(path)
        except Exception as error:  # cut off in the middle of a file that went away: nothing was given instead
            self.answers[type(error).__name__] += 1
            if time.monotonic() - began > LONGEST_ANSWER - 1 or "/download" not in path:
                self.problems.append((path, repr(error)))
            return
        self.longest = max(self.longest, time.monotonic() - began)
        self.answers[answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code not in SAID:
            self.problems.append((path, answer.status_code, answer.content[:300]))
        if SECRET.encode() in answer.content or b"SQLite format 3" in answer.content:
            self.problems.append((path, "gives away what lies outside"))

    # --- coming to rest -----------------------------------------------------------------------------------------------

    def look(self):
        for run in [run for run, status in self.runs.items() if status not in ENDED]:
            answer = self.server.get(f"/api/tunix/runs/{run}")
            if answer.status_code == 200:
                self.runs[run] = answer.json()["status"]

    def free_disk(self):
        """Of what runs that were killed have left on it."""
        opened = self.open_runs()
        for filler in (self.home / "runs").glob("*/filler"):
            if filler.parent.name not in opened:
                filler.unlink(missing_ok=True)

    def open_runs(self):
        return [run for run, status in self.runs.items() if status not in (*ENDED, "lost")]

    def come_to_rest(self, seconds=180):
        """An operator's cleaning up: what fills the disk goes, what goes on is cancelled, what is lost given up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.free_disk()
            self.look()
            waiting = self.open_runs() + [run for run, status in self.runs.items() if status == "lost"]
            if not waiting and not self.slots_taken():
                return
            for run in waiting:
                self.server.post(f"/api/tunix/runs/{run}/cancel")
            time.sleep(2)
        self.problems.append(("never came to rest", {r: s for r, s in self.runs.items() if s not in ENDED}))

    def slots_taken(self):
        return self.query("TunixRun.objects.filter(slot__isnull=False).count()") != "0"

    def query(self, expression):
        said = self.server.manage("shell", "-v", "0", "-c", f"from runs.models import *; print({expression})")
        return said.strip().splitlines()[-1]

    # --- what must hold -----------------------------------------------------------------------------------------------

    def check(self):
        assert self.problems == [], self.problems[:10]
        statuses = "('completed', 'failed', 'timeout', 'cancelled')"
        assert self.query(f"TunixRun.objects.filter(mode='local').exclude(status__in={statuses}).count()") == "0"
        assert self.query("TunixRun.objects.filter(owner__isnull=False).count()") == "0", "no owner was forged"
        starts = Counter(
            line.split()[0]
            for line in (self.home.parent / "notes" / "acts").read_text().splitlines()
            if line.endswith(" start")
        )
        assert max(starts.values()) == 1, "each run was started once"
        self.still_works()
        self.dispatcher.send_signal(signal.SIGTERM)
        self.dispatcher.wait(30)
        assert self.left_behind() == []
        secret = self.home.parent / "canary" / "secret"
        assert secret.read_text() == SECRET and secret.stat().st_nlink == 1
        assert self.copies_of_the_secret() == []

    def still_works(self):
        before = set(self.runs)
        for _ in range(2 * SLOTS):
            self.launch("end=0")
        mine, deadline = set(self.runs) - before, time.monotonic() + 120
        while any(self.runs[run] not in ENDED for run in mine) and time.monotonic() < deadline:
            self.look()
            time.sleep(0.5)
        assert {self.runs[run] for run in mine} == {"completed"} and len(mine) == 2 * SLOTS

    def left_behind(self):
        """Processes but for the web server's own."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            web = {self.server.pid, *(each.pid for each in psutil.Process(self.server.pid).children(recursive=True))}
            found = [each for each in processes_of(self.home) if each.pid not in web]
            if not found:
                return []
            time.sleep(1)
        return [(each.pid, each.cmdline()) for each in found]

    def copies_of_the_secret(self):
        found = []
        for directory, _, names in os.walk(self.home):
            for name in names:
                path = Path(directory, name)
                if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**24:
                    with contextlib.suppress(OSError):
                        if SECRET.encode() in path.read_bytes():
                            found.append(path)
        return found

    def summary(self):
        acts = Counter(hostile_plan.kind_of(act) for act in self.acts())
        ended = Counter(self.runs.values())
        lines = [
            f"{self.faults():,} faults in {len(self.runs)} runs, {time.monotonic() - self.began:.0f} s, "
            f"{self.server.environment['DATABASE_URL'].partition(':')[0]}, confinement {self.server.environment['TUNIX_RT_CONFINE']}",
            *(f"  {count:4}  {name}" for name, count in (acts + self.injected).most_common()),
            "runs: " + ", ".join(f"{count} {status}" for status, count in ended.most_common()),
            f"readers: {sum(self.answers.values()):,} requests, {dict(self.answers)}, the longest {self.longest:.1f} s",
            f"problems: {len(self.problems)} {self.problems[:5]}",
        ]
        return "\n" + "\n".join(lines)


PLACES = (
    "/runs/{run}/", "/runs/{run}/log/", "/runs/{run}/log/?stream=stderr", "/runs/{run}/log/?find=begins", "/runs/{run}/news/",
    "/runs/{run}/charts/", "/runs/{run}/row/", "/runs/{run}/delete/", "/?reproduce={run}", "/compare/?run={run}&run={other}",
    "/api/tunix/runs/{run}", "/api/tunix/runs/{run}/logs", "/api/tunix/runs/{run}/logs?stream=stderr&offset=10",
    "/api/tunix/runs/{run}/logs/download", "/api/tunix/runs/{run}/logs/search?find=canary", "/api/tunix/runs/{run}/metrics",
    "/api/tunix/runs/{run}/checkpoints", "/api/tunix/runs/{run}/checkpoints/10/download",
    "/api/tunix/runs/{run}/checkpoints/5/download", "/api/tunix/runs/{run}/provenance", "/api/tunix/runs", "/readyz",
)  # fmt: skip

"""A disk that takes no more: what waits goes on waiting, and says why; nothing fails for it. On real file systems."""

import contextlib
import os
import subprocess
import sys
import time

import pytest
from django.test import Client

from runs import lifecycle, room, services
from runs.execution.process import boot_id
from runs.models import TunixRun
from runs.tests.execution.engine import environment, launch, started, until, wait_for
from runs.tests.helpers import create_run, is_root

AS_ROOT = () if is_root() else ("sudo", "-n")
PAGE = "/runs/{}/"


@pytest.fixture
def runs_disk(data_dir):
    """A small disk of its own for the runs. `fill` leaves no byte, or no file; `clear` gives them back."""
    directory = data_dir / "runs"
    directory.mkdir()
    mount(directory, "size=8m,nr_inodes=2000")
    yield RunsDisk(directory)
    subprocess.run([*AS_ROOT, "umount", "--lazy", directory], check=True)


class RunsDisk:
    def __init__(self, directory):
        self.directory = directory

    def fill(self, what):
        if what == "read-only":
            mount(self.directory, "remount,ro")
        elif what == "files":
            with contextlib.suppress(OSError):
                for number in range(10_000):
                    (self.directory / f"filler-{number}").touch()
        else:
            with contextlib.suppress(OSError), (self.directory / "filler").open("wb", buffering=0) as file:
                while file.write(bytes(1 if what == "last byte" else 4096)):
                    pass

    def clear(self):
        mount(self.directory, "remount,rw")
        for filler in self.directory.glob("filler*"):
            filler.unlink()


def mount(directory, options):
    subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)


@pytest.mark.parametrize("what", ["bytes", "files", "read-only"])
def test_nothing_is_claimed_while_there_is_no_room(runs_disk, engine, api, settings, what):
    settings.MIN_FREE_BYTES = 1024 * 1024
    run = launch("lines=1")
    others = [launch("lines=1") for _ in range(5)]
    runs_disk.fill(what)
    engine.dispatcher(TUNIX_RT_MIN_FREE_BYTES=str(settings.MIN_FREE_BYTES))
    said = {"bytes": "bytes are free on the disk of the runs", "files": "more files fit", "read-only": "is read-only"}[
        what
    ]
    sentence = until(lambda: waiting_for(api, run, said))
    time.sleep(5)
    assert set(TunixRun.objects.values_list("status", "claims")) == {("pending", 0)}
    for page in (PAGE.format(run.pk), "/"):
        assert sentence in Client().get(page).content.decode().replace("&#x27;", "'")
    runs_disk.clear()
    for each in (run, *others):
        assert wait_for(each).status == "completed"
        assert started(each) == 1
    assert api.get(f"/api/tunix/runs/{run.pk}").json()["waiting_for"] == ""


def waiting_for(api, run, words):
    """Why it waits, by the API, as soon as that has `words` in it."""
    sentence = api.get(f"/api/tunix/runs/{run.pk}").json()["waiting_for"]
    return sentence if words in sentence else None


def test_a_claimed_run_that_meets_a_full_disk_waits_again(runs_disk, engine, settings):
    """No dispatcher asked whether there is room: the supervisor meets the full disk."""
    settings.MIN_FREE_BYTES = 0
    run = launch("lines=1")
    _, token = lifecycle.claim(os.uname().nodename, boot_id(), [0])
    runs_disk.fill("bytes")
    supervise(run, token, TUNIX_RT_MIN_FREE_BYTES="0")
    run.refresh_from_db()
    assert (run.status, run.claim, run.slot, run.claims, run.host) == ("pending", "", None, 0, "")
    runs_disk.clear()
    engine.dispatcher(TUNIX_RT_MIN_FREE_BYTES="0")
    assert wait_for(run).status == "completed"
    assert started(run) == 1


def supervise(run, token, **extra):
    """In the foreground, as the dispatcher has it done."""
    manage = [sys.executable, "manage.py", "supervise"]
    line = f"{run.run_id} {token}\n".encode()
    subprocess.run(manage, input=line, env=environment(**extra), check=True, timeout=60)
    until(lambda: TunixRun.objects.filter(pk=run.pk, claim="").exists())


def test_a_run_is_not_given_back_when_what_is_wrong_is_its_own(engine):
    engine.dispatcher(TUNIX_COMMAND="/no/such/program")
    run = wait_for(launch("lines=1"))
    assert (run.status, run.cause) == ("failed", "not_started")


@pytest.mark.django_db
def test_a_run_that_is_given_back_is_as_it_was_accepted():
    run = create_run(mode="local", status="pending")
    before = TunixRun.objects.filter(pk=run.pk).values().get()
    _, token = lifecycle.claim("here", "boot", [0])
    assert not lifecycle.give_back(run.pk, "0" * 32)
    assert lifecycle.start(run.pk, token, {"supervisor": [1, 2]})
    assert lifecycle.give_back(run.pk, token)
    after = TunixRun.objects.filter(pk=run.pk).values().get()
    assert after == before | {"started_at": before["accepted_at"]}
    assert not lifecycle.give_back(run.pk, token)


@pytest.mark.django_db
def test_a_run_that_was_cancelled_is_not_given_back():
    run = create_run(mode="local", status="pending")
    _, token = lifecycle.claim("here", "boot", [0])
    lifecycle.cancel(run.pk)
    assert lifecycle.give_back(run.pk, token)
    run.refresh_from_db()
    assert (run.status, run.slot) == ("cancelled", None)


def test_a_quota_shows_when_something_is_written(runs_disk, settings):
    """Bytes are free by what the file system says; nothing can be written all the same."""
    settings.MIN_FREE_BYTES = 0
    assert room.refusal() == ""
    runs_disk.fill("last byte")
    room._Probe.tried = (float("-inf"), room.Path(), "")
    assert room.refusal().startswith("Nothing ")


def test_a_launch_is_refused_where_the_disk_of_the_runs_is_full(runs_disk, engine, settings):
    settings.MIN_FREE_BYTES = 1024 * 1024
    runs_disk.fill("bytes")
    with pytest.raises(services.DiskAlmostFull, match="disk of the runs"):
        launch("lines=1")

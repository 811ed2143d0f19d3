"""manage.py runs_status and release_run."""

import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from runs.models import Event
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db


def said(*command) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def test_status_says_what_runs_waits_and_is_lost():
    running = create_run(mode="local", status="running", host="forge", slot=0, heartbeat_at=timezone.now())
    waiting = create_run(mode="local", status="pending")
    lost = create_run(mode="local", status="lost", host="forge")
    create_run(mode="local", status="completed")
    lines = said("runs_status").splitlines()
    assert lines[0] == "dispatcher of this host: does not run"
    assert [line.split()[1] for line in lines[1:]] == [str(run.run_id) for run in (running, lost, waiting)]
    assert "on forge, slot 0, heard" in lines[1] and "waits" in lines[3]


def test_a_lost_run_is_released():
    run = create_run(mode="local", status="lost", host="forge", slot=0, claim="x")
    assert "is failed, its slot is free" in said("release_run", str(run.run_id))
    run.refresh_from_db()
    assert (run.status, run.cause, run.slot, run.claim) == ("failed", "host_lost", None, "")
    assert [(each.act, each.way) for each in Event.objects.filter(run_id=run.pk)] == [("release", "command")]


def test_only_a_lost_run_is_released():
    for run_id in (create_run(mode="local", status="running").run_id, uuid.uuid4()):
        with pytest.raises(CommandError, match="is not lost"):
            said("release_run", str(run_id))

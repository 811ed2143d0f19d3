"""What happened to a run, and what the overview says of those that wait."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from runs import audit, timeline
from runs.models import Event, TunixRun
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def events(**fields):
    return [(event.text, event.status) for event in timeline.of(create_run(**fields))]


def test_what_people_did_is_told_with_who_and_from_where(api):
    run = create_run(started_at=NOW - timedelta(hours=1))
    audit.record(Event.Act.LAUNCH, run=run, mode="dry-run")
    api.patch(f"/api/tunix/runs/{run.run_id}", {"tags": ["a"]})
    found = [(event.text, event.by) for event in timeline.of(run)]
    assert found[0] == ("Changed notes or tags", "local from 127.0.0.1")
    ((_, by),) = [each for each in found if each[0] == "Launched"]
    assert by.endswith(" by command")


def test_from_launch_to_end():
    owner = get_user_model().objects.create(username="mk")
    found = events(
        mode="local", status="cancelled", owner=owner, host="forge", slot=None, accepted_at=NOW - timedelta(hours=3),
        started_at=NOW - timedelta(hours=2), heartbeat_at=NOW, cancel_requested_at=NOW - timedelta(minutes=2),
        completed_at=NOW - timedelta(minutes=1), message="Local execution cancelled",
    )  # fmt: skip
    assert found == [
        ("Local execution cancelled", "cancelled"),
        ("Cancel was asked for", "cancelled"),
        ("Started on forge", "running"),
        ("Launched", "pending"),
    ]
    assert timeline.of(TunixRun.objects.get())[-1].by == "mk"


def test_what_has_not_happened_is_not_told():
    assert events(mode="local", status="pending") == [("Launched", "pending")]
    assert events(mode="local", status="lost", heartbeat_at=timezone.now() + timedelta(seconds=9), slot=1)[0] == (
        "Heard for the last time",
        "lost",
    )
    source = create_run(mode="local")
    assert events(mode="local", status="pending", retry_of=source) == [("Retried", "pending")]
    assert events(mode="local", status="pending", retry_of=source, resume=True) == [("Retried with resume", "pending")]


def test_the_page_shows_them(client):
    run = create_run(message="Dry-run validation successful")
    page = client.get(f"/runs/{run.run_id}/").content.decode()
    assert '<ol class="timeline"><li data-status="completed">Dry-run validation successful' in page


def test_the_overview_shows_what_waits_in_its_order(client):
    for name, priority in (("low", 0), ("first", 1), ("second", 1), ("high", 2)):
        create_run(mode="local", status="pending", model_id=name, priority=TunixRun.Priority(priority))
    create_run(mode="local", status="running", slot=0, host="here")
    page = client.get("/").content.decode()
    places = [page.index(f">{name}</a>") for name in ("high", "first", "second", "low")]
    assert places == sorted(places)
    assert "1 of 1 slot taken" in page and "No dispatcher runs on this host" in page

"""A run as the API answers it, whole. `RunSerializer` describes it; made by its fields it cost three times as much."""

import uuid
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError

from runs import notices, services
from runs.api.serializers import RunSerializer
from runs.api.views.requests import run_or_404
from runs.models import RunTag, TunixRun

FIELDS = RunSerializer.Meta.fields
COMPUTED = ("owner", "tags", "waiting_for")
# Statements that are half made already: Django's making of them is a fifth of what a detail costs.
RECORDS = TunixRun.objects.alive().values(*(each for each in FIELDS if each not in COMPUTED), "owner__username")
TAGS = RunTag.objects.values_list("name", flat=True)


def record_or_404(run_id: str) -> dict[str, Any]:
    """The record of an address's run, as the database has it. Errors as those of `run_or_404`."""
    row = run_or_404(run_id, RECORDS)
    row["owner"] = row["owner__username"]
    row["priority"] = _name(row["priority"])
    row["notices"] = _notices(row["notices"])
    row["tags"] = list(TAGS.filter(run=row["run_id"]))
    row["waiting_for"] = _waiting_for(row["run_id"]) if row["status"] == TunixRun.Status.PENDING else ""
    return {name: row[name] for name in FIELDS}


def record_of(run: TunixRun) -> dict[str, Any]:
    """The record of a run that was just launched, without asking a database that may be away."""
    return {name: OTHERWISE[name](run) if name in OTHERWISE else getattr(run, name) for name in FIELDS}


def _name(priority: int) -> str:
    return TunixRun.Priority(priority).name.lower()


def _waiting_for(run_id: uuid.UUID) -> str:
    """Nothing where the database has just gone: the run is accepted, and this is said beside it."""
    try:
        run = TunixRun.objects.without_logs().filter(pk=run_id).first()
        return services.queue(run) if run else ""
    except DatabaseError:
        return ""


def _notices(stored: Any) -> list[dict[str, Any]]:
    return [each.as_answered() for each in notices.parsed(stored)]


# What is not answered as the model has it.
OTHERWISE: dict[str, Callable[[TunixRun], Any]] = {
    "notices": lambda run: _notices(run.notices),
    "owner": lambda run: run.owner.get_username() if run.owner else None,
    "priority": lambda run: _name(run.priority),
    "reproduces": lambda run: run.reproduces_id,
    "retry_of": lambda run: run.retry_of_id,
    "tags": lambda run: [],
    "waiting_for": lambda run: _waiting_for(run.run_id) if run.status == TunixRun.Status.PENDING else "",
}

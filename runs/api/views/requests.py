"""What every call asks of its address: the run it names, the query parameters it takes, who asks."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from runs.api.exceptions import Unprocessable
from runs.models import TunixRun

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def run_or_404(run_id: str, runs: Any = None) -> Any:
    """The run of an address, among `runs`. 422 when it is no UUID, 404 when there is none (or it lies in the trash)."""
    try:
        return (TunixRun.objects.alive() if runs is None else runs).get(pk=parse_run_id(run_id))
    except TunixRun.DoesNotExist as error:
        raise NotFound(f"Tunix run not found: {run_id}") from error


def parse_run_id(run_id: str) -> uuid.UUID:
    if not UUID.fullmatch(run_id):
        raise Unprocessable({"run_id": ["must be a UUID"]})
    return uuid.UUID(run_id)


def check_query(request: Request, *allowed: str) -> None:
    """422 for a query parameter that is not known (a typo must not silently list everything) and for a NUL byte."""
    for name, values in request.query_params.lists():
        if name not in (*allowed, "format"):
            raise Unprocessable({name: ["is not a known query parameter"]})
        if any("\0" in value for value in values):
            raise Unprocessable({name: ["must not contain a NUL character"]})


def boolean(name: str, given: Mapping[str, str]) -> bool:
    """The field `name` of an address or a form: true or false, which it is where it is not given."""
    value = given.get(name, "false")
    if value not in ("true", "false"):
        raise Unprocessable({name: ["must be true or false"]})
    return value == "true"


def owner_of(request: Request) -> Any:
    """Who asks, where the server knows: nobody in open mode."""
    return request.user if request.user is not None and request.user.is_authenticated else None

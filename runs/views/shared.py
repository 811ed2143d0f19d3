"""What several pages need: the run or dataset that an address names, and who asks."""

import uuid
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest

from runs import datasets
from runs.models import TunixRun


def part(request: HttpRequest, name: str, partial: str) -> str:
    """The part that htmx swaps, or the whole page for everybody else."""
    htmx = request.htmx  # type: ignore[attr-defined]
    return f"{name}#{partial}" if htmx and not htmx.history_restore_request else name


def uuid_or_404(run_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(run_id)
    except ValueError as error:
        raise Http404 from error


def run_or_404(run_id: str) -> TunixRun:
    found = (
        TunixRun.objects.alive().filter(pk=uuid_or_404(run_id)).select_related("owner").prefetch_related("tags").first()
    )
    if found is None:
        raise Http404
    return found


def dataset_of(run: TunixRun) -> dict[str, Any]:
    try:
        return {"dataset": datasets.get(run.dataset_key)}
    except datasets.DatasetError:
        return {"dataset": None}


def is_log(request: HttpRequest) -> bool:
    """Whether charts are on a logarithmic scale: `?scale=log`."""
    return request.GET.get("scale") == "log"


def owner_of(request: HttpRequest) -> Any:
    return request.user if settings.TUNIX_RT_AUTH == "required" and request.user.is_authenticated else None

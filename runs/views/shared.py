"""What several pages need: the run or dataset that an address names, and who asks."""

import uuid
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse

from runs import datasets
from runs.charts import Scale
from runs.limits import METRIC_NAME_LENGTH
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


def run_or_404(run_id: str, *related: str) -> TunixRun:
    """With the rows of these relations, `tags` say, where its page asks for them more than once."""
    try:
        return TunixRun.objects.alive().prefetch_related(*related).get(pk=uuid_or_404(run_id))
    except TunixRun.DoesNotExist as error:
        raise Http404 from error


def dataset_of(run: TunixRun) -> dict[str, Any]:
    try:
        return {"dataset": datasets.get(run.dataset_key)}
    except datasets.DatasetError:
        return {"dataset": None}


def scale_of(request: HttpRequest) -> Scale:
    """How a page's charts are drawn: `?scale=log`, `first_step`, `last_step`. Of which metrics: `metric`, a part of
    their names, and `plots`, a page. What is no number is as if not there.
    """
    log, text = request.GET.get("scale") == "log", request.GET.get("metric", "").strip()[:METRIC_NAME_LENGTH]
    first, last, page = (number_in(request, name) for name in ("first_step", "last_step", "plots"))
    return Scale(log, first, last, text, page or 1)


def number_in(request: HttpRequest, name: str) -> int | None:
    """The whole number that the address gives, not below 0; None where it gives none."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def nothing_new() -> HttpResponse:
    """The answer to a poll that changes nothing on its page."""
    return HttpResponse(status=204)


def owner_of(request: HttpRequest) -> Any:
    return request.user if settings.TUNIX_RT_AUTH == "required" and request.user.is_authenticated else None

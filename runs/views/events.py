"""Who did what: on a page, and whole, as JSON Lines."""

from collections.abc import Iterator

import orjson
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs import access
from runs.models import Event
from runs.views.shared import number_in

SHOWN = 100
FIELDS = ("id", "moment", "actor", "act", "subject", "run_id", "address", "way", "detail")


@require_safe
def events(request: HttpRequest) -> HttpResponse:
    """`?actor=`, `?act=`, and `?before=` an event's number for those that are older."""
    access.require(access.Right.ADMINISTER)
    found = Event.objects.all()
    if actor := request.GET.get("actor", "").replace("\0", ""):
        found = found.filter(actor=actor)
    if (act := request.GET.get("act")) in Event.Act.values:
        found = found.filter(act=act)
    if before := number_in(request, "before"):
        found = found.filter(pk__lt=before)
    page = list(found[: SHOWN + 1])
    context = {"events": page[:SHOWN], "older": page[SHOWN - 1].pk if len(page) > SHOWN else None, "acts": Event.Act}
    return render(request, "runs/events.html", context | {"actor": actor, "act": act})


@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    access.require(access.Right.ADMINISTER)
    answer = StreamingHttpResponse(_lines(), content_type="application/x-ndjson")
    answer.headers["Content-Disposition"] = 'attachment; filename="events.jsonl"'
    return answer


def _lines() -> Iterator[bytes]:
    for event in Event.objects.order_by("pk").values(*FIELDS).iterator(chunk_size=1000):
        yield orjson.dumps(event, option=orjson.OPT_UTC_Z) + b"\n"

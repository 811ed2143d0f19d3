"""A run's log: on its page, on a page of its own, and as the lines that have come since."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs import loglines, logs
from runs.models import TunixRun
from runs.views.shared import number_in, run_or_404

FIND_LENGTH = 200


@require_safe
def run_log(request: HttpRequest, run_id: str) -> HttpResponse:
    """`?stream=`, then `offset` (where to begin), `after` and `line` (what has come since) or `find`."""
    run = run_or_404(run_id)
    if request.htmx and "after" in request.GET:  # type: ignore[attr-defined]
        return render(request, "runs/_log_lines.html", {"run": run, "page": _new_lines(run, request)})
    template = "runs/_log.html" if request.htmx else "runs/log.html"  # type: ignore[attr-defined]
    return render(request, template, {"run": run, **log_of(run, request)})


def log_of(run: TunixRun, request: HttpRequest) -> dict[str, Any]:
    """What `_log.html` shows: a stream, the one that was written to where none is named."""
    try:
        sizes = [(name, logs.size(run, name)) for name in logs.STREAMS]
        stream = _stream(request) or next((name for name, size in sizes if size), logs.STREAMS[0])
        find = request.GET.get("find", "")[:FIND_LENGTH]
        context = {"stream": stream, "sizes": sizes, "find": find, "most": loglines.MAX_HITS}
        if find:
            return context | {"hits": loglines.search(run, stream, find)}
        offset = number_in(request, "offset")
        return context | {"page": loglines.tail(run, stream) if offset is None else loglines.at(run, stream, offset)}
    except OSError as error:
        return {"stream": logs.STREAMS[0], "sizes": [], "unreadable": error.strerror}


def _new_lines(run: TunixRun, request: HttpRequest) -> loglines.Page:
    stream = _stream(request) or logs.STREAMS[0]
    return loglines.after(run, stream, number_in(request, "after") or 0, number_in(request, "line") or 1)


def _stream(request: HttpRequest) -> str | None:
    stream = request.GET.get("stream")
    return stream if stream in logs.STREAMS else None

"""A run's log: on its page, on a page of its own, and as the lines that have come since."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs import clients, loglines, logs, logsearch
from runs.limits import FIND_LENGTH
from runs.logrows import State
from runs.logscan import MOST_HITS
from runs.models import TunixRun
from runs.views.shared import nothing_new, number_in, run_or_404

STOP_POLLING = 286  # htmx's own


@require_safe
def run_log(request: HttpRequest, run_id: str) -> HttpResponse:
    """`?stream=`, and `offset` (where to begin), `each` for every line as it was written; or `find`, which may begin at
    `offset` and `line`."""
    run = run_or_404(run_id)
    template = "runs/_log.html" if request.htmx else "runs/log.html"  # type: ignore[attr-defined]
    return render(request, template, {"run": run, **log_of(run, request)})


@require_safe
def log_news(request: HttpRequest, run_id: str) -> HttpResponse:
    """For a page that follows a log: what has come since. Once the run has ended, the last of it."""
    run = run_or_404(run_id)
    news = new_lines(run, request)
    if not news and not run.is_terminal:
        return nothing_new()
    status = STOP_POLLING if run.is_terminal else 200
    return render(request, "runs/_log_news.html", {"run": run, **news}, status=status)


def log_of(run: TunixRun, request: HttpRequest) -> dict[str, Any]:
    """What `_log.html` shows: a stream, the one that was written to where none is named."""
    sizes = [(name, logs.size(run, name)) for name in logs.STREAMS]
    stream = _stream(request) or next((name for name, size in sizes if size), logs.STREAMS[0])
    find = request.GET.get("find", "")[:FIND_LENGTH]
    context = {"stream": stream, "sizes": sizes, "find": find, "most": MOST_HITS, "each": "each" in request.GET}
    context["problem"] = logs.problem(run, stream)
    if find:
        return context | _found(run, stream, find, request)
    offset, fold = number_in(request, "offset"), not context["each"]
    if offset is None:
        return context | {"page": loglines.tail(run, stream, fold=fold)}
    return context | {"page": loglines.at(run, stream, offset, fold=fold, in_line="in_line" in request.GET)}


def _found(run: TunixRun, stream: str, find: str, request: HttpRequest) -> dict[str, Any]:
    begin = {"offset": number_in(request, "offset") or 0, "number": number_in(request, "line") or 1}
    try:
        found = logsearch.search(run, stream, find, **begin, gone=clients.gone(request.META))
    except logsearch.Busy as error:
        return {"found": None, "busy": error}
    return {"found": found, "begin": begin}


def new_lines(run: TunixRun, request: HttpRequest) -> dict[str, Any]:
    """What `_log_news.html` shows: the lines from `?after=` on, where line `line` begins; nothing where the log has not
    grown beyond `size`. An open page says what it has."""
    stream, after = _stream(request), number_in(request, "after")
    if stream is None or after is None:
        return {}
    replaces = f"log-next-{stream}-{after}"
    if problem := logs.problem(run, stream):  # what it has shown so far was the file's
        return {"problem": problem, "replaces": replaces}
    state = State.parse(request.GET.get("drawn", ""))
    page = loglines.after(run, stream, after, number_in(request, "line") or 1, state)
    if page.size == number_in(request, "size") and not page.ended:
        return {}
    return {"page": page, "replaces": replaces}


def _stream(request: HttpRequest) -> str | None:
    stream = request.GET.get("stream")
    return stream if stream in logs.STREAMS else None

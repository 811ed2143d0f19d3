"""The history: every run, filtered, sorted, a page at a time."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from runs.filters import COLUMNS_SHOWN, TOO_SLOW, RunTableFilter
from runs.models import MetricSeries, SavedView, TunixRun
from runs.time_limit import TooSlow
from runs.views.saved import query_of
from runs.views.shared import part, run_or_404

ROWS_PER_PAGE = 20
MAX_PAGE = 50_000
COUNTED = 99
# What an address may say without narrowing the list by anything but a status.
UNCOUNTED = {"status", "page", "sort", "column"}
Status = TunixRun.Status


@require_safe
@vary_on_headers("HX-Request")
def history(request: HttpRequest) -> HttpResponse:
    filters = RunTableFilter(request.GET, TunixRun.objects.alive(), request=request)
    page = _page_number(request)
    offset = ((page or 1) - 1) * ROWS_PER_PAGE
    found, problem = _found(filters, offset) if page and filters.is_valid() else ([], "")
    runs = found[:ROWS_PER_PAGE]
    _show_metrics(runs, filters.columns)
    context = {
        "runs": runs,
        "page": page,
        "first": offset + 1,
        "last": offset + len(runs),
        "older": len(found) > ROWS_PER_PAGE,
        "filters": filters,
        "too_slow": problem,
        **_choices(request, nothing_found=not found),
    }
    status = 200 if page and filters.is_valid() and not problem else 422
    return render(request, part(request, "runs/history.html", "results"), context, status=status)


def _found(filters: RunTableFilter, offset: int) -> tuple[list[TunixRun], str]:
    """A page of runs and one more, which says whether there is another page; or none, and why."""
    try:
        with filters.limit():
            return filters.sorted().rows(offset, ROWS_PER_PAGE + 1, lambda runs: runs.for_table()), ""
    except TooSlow:
        return [], TOO_SLOW


def _choices(request: HttpRequest, *, nothing_found: bool) -> dict[str, Any]:
    """What the filters, columns and views can be. What the database must be asked for is asked when it is shown."""
    alive = TunixRun.objects.alive()
    kept = [(n, value) for n, values in request.GET.lists() if n not in ("column", "page") for value in values]
    # Of a part of the runs nobody can say cheaply how many there are.
    counts = {} if set(request.GET) - UNCOUNTED else alive.counts_by_status(Status.values, COUNTED + 1)
    return {
        "statuses": [(value, label, counts.get(value)) for value, label in Status.choices],
        "counted": COUNTED,
        "causes": TunixRun.Cause.choices,
        "modes": TunixRun.Mode.values,
        "known_datasets": lambda: alive.known("dataset_key"),
        "known_models": lambda: alive.known("model_id"),
        "known_metrics": alive.known_metrics(),
        "most_columns": COLUMNS_SHOWN,
        "kept": kept,
        "views": SavedView.objects.all(),
        "query": query_of(request.GET),
        "nothing_at_all": nothing_found and not alive.exists(),
    }


@require_safe
def run_line(request: HttpRequest, run_id: str) -> HttpResponse:
    """A row of the table by itself, for one that is still under way."""
    run = run_or_404(run_id, "tags")
    filters = RunTableFilter(request.GET, TunixRun.objects.alive(), request=request)
    _show_metrics([run], filters.columns)
    return render(request, "runs/_run_row.html", {"run": run, "selectable": True})


def _show_metrics(runs: list[TunixRun], names: list[str]) -> None:
    """Give each run `shown`: name and last value of each column, in their order."""
    series = MetricSeries.objects.filter(run__in=runs, name__in=names) if names else ()
    values = {(each.run_id, each.name): each.last for each in series}
    for run in runs:
        run.shown = [(name, values.get((run.pk, name))) for name in names]  # type: ignore[attr-defined]


def _page_number(request: HttpRequest) -> int | None:
    text = request.GET.get("page") or "1"
    page = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    return page if 1 <= page <= MAX_PAGE else None

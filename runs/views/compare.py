"""Runs side by side. Which ones is in the address: `?run=<id>&run=<id>`."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs import charts, comparison, logs
from runs.models import TunixRun
from runs.views.shared import scale_of, uuid_or_404


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    run_ids = list(dict.fromkeys(uuid_or_404(each) for each in request.GET.getlist("run")))
    runs, missing = _found(run_ids[: comparison.MAX_RUNS])
    if len(runs) < 2 or len(run_ids) > comparison.MAX_RUNS:
        many = len(run_ids) > comparison.MAX_RUNS
        problem = f"At most {comparison.MAX_RUNS} runs are compared" if many else "Two runs make a comparison"
        context = {"problem": problem, "most": comparison.MAX_RUNS}
        return render(request, "runs/compare.html", context, status=422 if run_ids else 200)
    scale = scale_of(request)
    columns = runs[: comparison.MAX_COLUMNS]
    chosen = charts.of_several(runs, scale)
    sections = comparison.sections(columns, chosen.names)
    context = {
        "runs": runs,
        "missing": missing,
        "columns": columns,
        "chosen": chosen,
        "overlays": charts.overlays(runs, scale, chosen),
        "scale": scale,
        "sections": sections,
        "same_count": sum(row.same for section in sections for row in section.rows),
        "logs": _logs(runs) if len(runs) == 2 else [],
    }
    return render(request, "runs/compare.html", context)


def _found(run_ids: list[uuid.UUID]) -> tuple[list[TunixRun], list[str]]:
    """The runs in the order of the address, and the IDs of those that are not here."""
    alive = TunixRun.objects.alive().filter(pk__in=run_ids).in_bulk()
    return [alive[each] for each in run_ids if each in alive], [str(each) for each in run_ids if each not in alive]


def _logs(runs: list[TunixRun]) -> list[tuple[str, list[comparison.DiffLine], list[str]]]:
    """By stream: the difference of what the records keep, and what is to be said of the files."""
    first, second = runs
    return [(name, comparison.log_difference(first, second, name), _problems(runs, name)) for name in logs.STREAMS]


def _problems(runs: list[TunixRun], stream: str) -> list[str]:
    return [f"{run.short_id}: {problem}" for run in runs if (problem := logs.problem(run, stream))]

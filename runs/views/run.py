"""One run: its page, and what can be done with it."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Refusal
from runs import access, charts, checkpoints, metrics, notices, progress, provenance, services, timeline, trash
from runs.charts import Scale
from runs.forms import AnnotateForm
from runs.models import TunixRun
from runs.selection import Shown, shown
from runs.views.log import log_of, new_lines
from runs.views.shared import dataset_of, nothing_new, owner_of, part, run_or_404, scale_of, uuid_or_404

# What a run's page asks for in several places.
RELATED = ("tags",)
# What the table of checkpoints shows of a step.
OF_CHECKPOINTS = ("eval/loss",)
LOSSES_SHOWN = 6


@require_POST
def cancel(request: HttpRequest, run_id: str) -> HttpResponse:
    run = run_or_404(run_id)
    try:
        services.cancel(run)
    except Refusal as error:
        messages.error(request, str(error))
    return redirect(run)


@require_POST
def retry(request: HttpRequest, run_id: str) -> HttpResponse:
    run = run_or_404(run_id)
    try:
        again = services.retry(run, resume="resume" in request.POST, owner=owner_of(request))
    except Refusal as error:
        messages.error(request, str(error))
        return redirect(run)
    return redirect(again)


@require_safe
def run_page(request: HttpRequest, run_id: str) -> HttpResponse:
    run = run_or_404(run_id, *RELATED)
    return render(request, "runs/run.html", _page(request, run, AnnotateForm.of(run)))


def _page(request: HttpRequest, run: TunixRun, form: AnnotateForm) -> dict[str, Any]:
    return {
        "form": form,
        "comparison": _comparison(run),
        "events": timeline.of(run),
        **_head(run),
        **_charts(run, *_chosen(request, run)),
        **log_of(run, request),
    }


@require_safe
def run_news(request: HttpRequest, run_id: str) -> HttpResponse:
    """For a page that follows a run: progress, figures, lines of its log, and where it stands if that is not `?seen=`.

    One that has ended is drawn anew, whole.
    """
    run = run_or_404(run_id)
    if run.is_terminal:
        return HttpResponseClientRefresh()
    changed = request.GET.get("seen") != run.standing
    return render(request, "runs/_run_news.html", {"changed": changed, **_head(run), **new_lines(run, request)})


def _head(run: TunixRun) -> dict[str, Any]:
    return {
        "run": run,
        "queue": services.queue(run),
        "grace": settings.GRACE_SECONDS,
        "killed_at": (run.cancel_requested_at or timezone.now()) + timedelta(seconds=settings.GRACE_SECONDS),
        "progress": progress.of(run),
        "notices": notices.parsed(run.notices),
        "losses": metrics.losses(run, LOSSES_SHOWN),
        "last_checkpoint": partial(checkpoints.last, run),
        **dataset_of(run),
    }


def _comparison(run: TunixRun) -> provenance.Comparison | None:
    """With the run that it repeats, once it has completed."""
    source = run.reproduces
    return provenance.same_metrics(run, source) if source and run.status == TunixRun.Status.COMPLETED else None


@require_safe
def run_charts(request: HttpRequest, run_id: str) -> HttpResponse:
    """The charts, and the checkpoints beside them, for a page that follows a run. `?seen=` says which it has."""
    run = run_or_404(run_id)
    scale, chosen, version = _chosen(request, run)
    if request.GET.get("seen") == version and not run.is_terminal:
        return nothing_new()
    return render(request, "runs/_charts.html", {"run": run, "polled": True, **_charts(run, scale, chosen, version)})


def _chosen(request: HttpRequest, run: TunixRun) -> tuple[Scale, Shown, str]:
    """Which metrics are drawn and how, and the version of what the charts and the checkpoints then show."""
    scale = scale_of(request)
    chosen = shown(metrics.names([run]), scale.text, scale.page)
    found = checkpoints.on_disk(run)
    version = f"{metrics.version(run, chosen.names)}-{chosen.total}-{len(found)}-{found[-1].step if found else ''}"
    return replace(scale, page=chosen.page), chosen, version


def _charts(run: TunixRun, scale: Scale, chosen: Shown, version: str) -> dict[str, Any]:
    return {
        "version": version,
        "groups": charts.groups(run, scale, chosen) if run.mode == TunixRun.Mode.LOCAL else [],
        "chosen": chosen,
        "scale": scale,
        "checkpoints": checkpoints.of(run, OF_CHECKPOINTS)[::-1],
        "checkpoints_problem": checkpoints.problem(run),
    }


@require_safe
def run_row(request: HttpRequest, run_id: str) -> HttpResponse:
    """What a row shows when it is opened in place."""
    return render(request, "runs/_run_detail.html", {"run": run_or_404(run_id, "tags")})


@require_POST
def annotate(request: HttpRequest, run_id: str) -> HttpResponse:
    run, form = run_or_404(run_id, *RELATED), AnnotateForm(request.POST)
    if not form.is_valid():
        return render(request, part(request, "runs/run.html", "notes"), _page(request, run, form), status=422)
    services.annotate(run, **form.cleaned_data)
    if request.htmx:  # type: ignore[attr-defined]
        run = run_or_404(run_id, "tags")
        return render(request, "runs/run.html#notes", {"run": run, "form": AnnotateForm.of(run)})
    return redirect(run)


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, run_id: str) -> HttpResponse:
    """Says first what will happen."""
    access.require(access.Right.ADMINISTER)
    run = run_or_404(run_id)
    if request.method != "POST":
        return render(request, "runs/delete.html", {"run": run, "bytes": trash.bytes_freed_by([run])})
    purge = "purge" in request.POST
    try:
        services.delete(run, purge=purge)
    except Refusal as error:
        messages.error(request, str(error))
        return redirect(run)
    if purge and TunixRun.objects.filter(pk=run.pk).exists():
        messages.error(
            request, f"Some files of run {run.short_id} cannot be removed yet; it is tried again every hour."
        )
        return redirect("history")
    what = "freed for good" if purge else "moved to the trash, where it stays for 7 days"
    messages.success(request, f"Run {run.short_id} was {what}.", extra_tags="" if purge else f"undo {run.run_id}")
    return redirect("history")


@require_POST
def restore(request: HttpRequest, run_id: str) -> HttpResponse:
    run = services.restore(uuid_or_404(run_id))
    if run is None:
        raise Http404
    messages.success(request, f"Run {run.short_id} is back.")
    return redirect(run)

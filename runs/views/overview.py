"""The first page: what runs, what waits, what needs a look, and the form that launches."""

import shutil
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from core.errors import Refusal
from runs import datasets, provenance, services
from runs.execution import wake
from runs.forms import LaunchForm, UploadForm
from runs.lifecycle import QUEUE_ORDER
from runs.models import TunixRun
from runs.views.installation import training_panel
from runs.views.shared import owner_of, run_or_404

PANEL_ROWS = 10
ROWS_PER_LIST = 5
Status = TunixRun.Status


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    context: dict[str, Any] = {}
    if "reproduce" in request.GET:
        run = run_or_404(request.GET["reproduce"])
        form = LaunchForm.repeating(run, reproduce=True)
        context = {"repeated": run, "changes": provenance.changes_since(run)}
    elif "repeat" in request.GET:
        run = run_or_404(request.GET["repeat"])
        form = LaunchForm.repeating(run)
        context = {"repeated": run}
    else:
        form = LaunchForm(initial={"dataset_key": request.GET.get("dataset", "")})
    return render(request, "runs/overview.html", _overview(form=form, **context))


def _overview(**context: Any) -> dict[str, Any]:
    alive = TunixRun.objects.alive()
    since = timezone.now() - timedelta(days=1)
    trouble = alive.filter(status__in=[Status.FAILED, Status.TIMEOUT], started_at__gte=since)
    usage = shutil.disk_usage(settings.TUNIX_RT_HOME)
    return {
        "running": alive.filter(status=Status.RUNNING).newest_first().without_logs()[:ROWS_PER_LIST],
        "running_count": alive.filter(status=Status.RUNNING).count(),
        "waiting_count": alive.filter(status=Status.PENDING).count(),
        "waiting": alive.filter(status=Status.PENDING).order_by(*QUEUE_ORDER).without_logs()[:ROWS_PER_LIST],
        "slots": settings.SLOTS,
        "slots_taken": TunixRun.objects.filter(slot__isnull=False).count(),
        "dispatcher": wake.is_heard(),
        "standstill": services.standstill(),
        "trouble": trouble.newest_first().without_logs()[:ROWS_PER_LIST],
        "lost": alive.filter(status=Status.LOST).newest_first().without_logs()[:ROWS_PER_LIST],
        "look_count": trouble.count() + alive.filter(status=Status.LOST).count(),
        "disk": usage,
        "disk_high": usage.total * 85 // 100,
        "datasets_bytes": sum(each.manifest["bytes"] for each in datasets.list_all()),
        "models": alive.known("model_id"),
        "upload": UploadForm(),
        **training_panel(),
        **context,
    }


@require_safe
def history_panel(request: HttpRequest) -> HttpResponse:
    """The newest runs, fetched when the panel on the overview is opened."""
    runs = TunixRun.objects.alive().newest_first().for_table()[:PANEL_ROWS]
    return render(request, "runs/_history_panel.html", {"runs": runs, "fetched_at": timezone.now()})


@require_POST
def launch(request: HttpRequest) -> HttpResponse:
    form = LaunchForm(request.POST)
    in_place = request.htmx  # type: ignore[attr-defined]
    if not form.is_valid():
        context = {"form": form, "upload": UploadForm()} if in_place else _overview(form=form)
        return render(request, f"runs/overview.html{'#launch' if in_place else ''}", context, status=422)
    dry_run = request.POST.get("action") != "train"
    try:
        run = services.launch(form.to_request(owner_of(request), dry_run=dry_run))
    except Refusal as error:
        messages.error(request, str(error))
        return HttpResponseClientRedirect(reverse("overview")) if in_place else redirect("overview")
    if in_place and not dry_run:
        return HttpResponseClientRedirect(run.get_absolute_url())
    if in_place:
        return render(request, "runs/overview.html#launch", {"form": form, "upload": UploadForm(), "launched": run})
    return redirect(run) if run.recorded else render(request, "runs/unrecorded.html", {"run": run})

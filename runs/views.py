"""The pages. Each view asks, then renders; what is done is in services."""

import shutil
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRedirect

from runs import datasets, services
from runs.filters import RunTableFilter
from runs.forms import AnnotateForm, LaunchForm, UploadForm
from runs.models import TunixRun

ROWS_PER_PAGE = 20
PANEL_ROWS = 10
PREVIEW_ROWS = 10
ROWS_PER_LIST = 5
MAX_PAGE = 50_000
Status = TunixRun.Status


# --- overview ---------------------------------------------------------------------------------------------------------


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    repeated = _run(request.GET["repeat"]) if "repeat" in request.GET else None
    if repeated:
        form = LaunchForm.repeating(repeated)
    else:
        form = LaunchForm(initial={"dataset_key": request.GET.get("dataset", "")})
    return render(request, "runs/overview.html", _overview(form=form, repeated=repeated))


def _overview(**context: Any) -> dict[str, Any]:
    alive = TunixRun.objects.alive()
    since = timezone.now() - timedelta(days=1)
    trouble = alive.filter(status__in=[Status.FAILED, Status.TIMEOUT], started_at__gte=since)
    usage = shutil.disk_usage(settings.TUNIX_RT_HOME)
    return {
        "running": alive.filter(status=Status.RUNNING).newest_first().for_table()[:ROWS_PER_LIST],
        "running_count": alive.filter(status=Status.RUNNING).count(),
        "waiting_count": alive.filter(status=Status.PENDING).count(),
        "trouble": trouble.newest_first().for_table()[:ROWS_PER_LIST],
        "lost": alive.filter(status=Status.LOST).newest_first().for_table()[:ROWS_PER_LIST],
        "look_count": trouble.count() + alive.filter(status=Status.LOST).count(),
        "disk": usage,
        "disk_high": usage.total * 85 // 100,
        "datasets_bytes": sum(each.manifest["bytes"] for each in datasets.list_all()),
        "models": alive.known("model_id"),
        **context,
    }


@require_GET
def history_panel(request: HttpRequest) -> HttpResponse:
    """The newest runs, fetched when the panel on the overview is opened."""
    runs = TunixRun.objects.alive().newest_first().for_table()[:PANEL_ROWS]
    return render(request, "runs/_history_panel.html", {"runs": runs, "fetched_at": timezone.now()})


@require_POST
def launch(request: HttpRequest) -> HttpResponse:
    form = LaunchForm(request.POST)
    in_place = request.htmx  # type: ignore[attr-defined]
    if not form.is_valid():
        template, context = ("#launch", {"form": form}) if in_place else ("", _overview(form=form))
        return render(request, f"runs/overview.html{template}", context, status=422)
    dry_run = request.POST.get("action") != "train"
    try:
        run = services.launch(form.to_request(_owner(request), dry_run=dry_run))
    except services.LocalRunsUnavailable as error:
        messages.error(request, str(error))
        return HttpResponseClientRedirect(reverse("overview")) if in_place else redirect("overview")
    if in_place and not dry_run:
        return HttpResponseClientRedirect(run.get_absolute_url())
    if in_place:
        return render(request, "runs/overview.html#launch", {"form": form, "launched": run})
    return redirect(run) if run.recorded else render(request, "runs/unrecorded.html", {"run": run})


# --- runs -------------------------------------------------------------------------------------------------------------


@require_GET
@vary_on_headers("HX-Request")
def history(request: HttpRequest) -> HttpResponse:
    alive = TunixRun.objects.alive()
    filters = RunTableFilter(request.GET, alive, request=request)
    page = _page_number(request)
    valid = filters.is_valid() and page is not None
    offset = ((page or 1) - 1) * ROWS_PER_PAGE
    found = list(filters.sorted().slice_from(offset, ROWS_PER_PAGE + 1).for_table()) if valid else []
    context = {
        "runs": found[:ROWS_PER_PAGE],
        "page": page,
        "first": offset + 1,
        "last": offset + min(len(found), ROWS_PER_PAGE),
        "older": len(found) > ROWS_PER_PAGE,
        "filters": filters,
        "statuses": Status,
        "modes": TunixRun.Mode.values,
        "nothing_at_all": not found and not alive.exists(),
        "known_datasets": alive.known("dataset_key"),
        "known_models": alive.known("model_id"),
    }
    return render(request, _template(request, "runs/history.html", "results"), context, status=200 if valid else 422)


def _page_number(request: HttpRequest) -> int | None:
    text = request.GET.get("page") or "1"
    page = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    return page if 1 <= page <= MAX_PAGE else None


@require_POST
def cancel(request: HttpRequest, run_id: str) -> HttpResponse:
    run = _run(run_id)
    try:
        services.cancel(run)
    except services.AlreadyEnded as error:
        messages.error(request, str(error))
    return redirect(run)


@require_POST
def retry(request: HttpRequest, run_id: str) -> HttpResponse:
    run = _run(run_id)
    try:
        again = services.retry(run, resume="resume" in request.POST, owner=_owner(request))
    except (services.NotEnded, services.NothingToResume, services.LocalRunsUnavailable) as error:
        messages.error(request, str(error))
        return redirect(run)
    return redirect(again)


@require_GET
def run_page(request: HttpRequest, run_id: str) -> HttpResponse:
    run = _run(run_id)
    return render(
        request,
        "runs/run.html",
        {
            "run": run,
            "form": AnnotateForm.of(run),
            "queue": services.queue(run),
            "grace": settings.GRACE_SECONDS,
            **_dataset_of(run),
        },
    )


@require_GET
def run_row(request: HttpRequest, run_id: str) -> HttpResponse:
    """What a row shows when it is opened in place."""
    return render(request, "runs/_run_detail.html", {"run": _run(run_id)})


@require_POST
def annotate(request: HttpRequest, run_id: str) -> HttpResponse:
    run, form = _run(run_id), AnnotateForm(request.POST)
    if not form.is_valid():
        context = {"run": run, "form": form, **_dataset_of(run)}
        return render(request, _template(request, "runs/run.html", "notes"), context, status=422)
    services.annotate(run, **form.cleaned_data)
    if request.htmx:  # type: ignore[attr-defined]
        run = _run(run_id)
        return render(request, "runs/run.html#notes", {"run": run, "form": AnnotateForm.of(run)})
    return redirect(run)


@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, run_id: str) -> HttpResponse:
    """Says first what will happen."""
    run = _run(run_id)
    if request.method == "GET":
        return render(request, "runs/delete.html", {"run": run})
    purge = "purge" in request.POST
    try:
        services.delete(run, purge=purge)
    except services.NotEnded as error:
        messages.error(request, str(error))
        return redirect(run)
    what = "freed for good" if purge else "moved to the trash, where it stays for 7 days"
    messages.success(request, f"Run {run.short_id} was {what}.", extra_tags="" if purge else f"undo {run.run_id}")
    return redirect("history")


@require_POST
def restore(request: HttpRequest, run_id: str) -> HttpResponse:
    run = services.restore(_uuid(run_id))
    if run is None:
        raise Http404
    messages.success(request, f"Run {run.short_id} is back.")
    return redirect(run)


# --- datasets ---------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def dataset_list(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        return _dataset_page(request, UploadForm())
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _dataset_page(request, form, status=422)
    given = form.cleaned_data
    try:
        dataset, new = datasets.add(given["dataset_name"], given["dataset_version"], given["file"].chunks(1024**2))
    except datasets.DatasetError as error:
        return _dataset_page(request, form, refused=error, status=422)
    messages.success(request, f"{dataset.key} {'is stored' if new else 'was here already, with the same content'}.")
    return redirect("dataset", dataset.key)


def _dataset_page(request: HttpRequest, form: UploadForm, status: int = 200, **context: Any) -> HttpResponse:
    found = datasets.list_all()
    total = sum(each.manifest["bytes"] for each in found)
    return render(
        request, "runs/datasets.html", {"datasets": found, "total": total, "form": form, **context}, status=status
    )


@require_GET
def dataset_page(request: HttpRequest, key: str) -> HttpResponse:
    try:
        dataset = datasets.get(key)
        rows = datasets.first_rows(dataset, PREVIEW_ROWS)
    except (datasets.KeyInvalid, datasets.DatasetNotFound) as error:
        raise Http404 from error
    except (datasets.ManifestInvalid, OSError) as error:
        return render(request, "error.html", {"title": f"{key} cannot be read", "detail": str(error)}, status=409)
    fields = datasets.TEXT_FIELDS[dataset.manifest["format"]]
    table = [[row.get(name, "") for name in fields] for row in rows]
    runs = TunixRun.objects.alive().filter(dataset_key=key).newest_first().for_table()[:PANEL_ROWS]
    return render(request, "runs/dataset.html", {"dataset": dataset, "fields": fields, "rows": table, "runs": runs})


# --- shared -----------------------------------------------------------------------------------------------------------


def _template(request: HttpRequest, name: str, partial: str) -> str:
    """The part that htmx swaps, or the whole page for everybody else."""
    htmx = request.htmx  # type: ignore[attr-defined]
    return f"{name}#{partial}" if htmx and not htmx.history_restore_request else name


def _uuid(run_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(run_id)
    except ValueError as error:
        raise Http404 from error


def _run(run_id: str) -> TunixRun:
    found = TunixRun.objects.alive().filter(pk=_uuid(run_id)).select_related("owner").prefetch_related("tags").first()
    if found is None:
        raise Http404
    return found


def _dataset_of(run: TunixRun) -> dict[str, Any]:
    try:
        return {"dataset": datasets.get(run.dataset_key)}
    except datasets.DatasetError:
        return {"dataset": None}


def _owner(request: HttpRequest) -> Any:
    return request.user if settings.TUNIX_RT_AUTH == "required" and request.user.is_authenticated else None

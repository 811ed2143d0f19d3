"""The datasets, and one of them."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from runs import datasets
from runs.forms import UploadForm
from runs.models import TunixRun

PANEL_ROWS = 10
PREVIEW_ROWS = 10


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

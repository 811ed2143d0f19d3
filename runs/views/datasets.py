"""The datasets, and one of them."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRedirect

from runs import datasets, services
from runs.datasets import preview
from runs.forms import LaunchForm, MappingForm, UploadForm
from runs.models import TunixRun

PANEL_ROWS = 10
PREVIEW_ROWS = 10


@require_http_methods(["GET", "HEAD", "POST"])
def dataset_list(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _dataset_page(request, UploadForm())
    form = UploadForm(request.POST, request.FILES)
    try:
        dataset, sentence = _added(form) if form.is_valid() else (None, "")
    except datasets.DatasetError as error:
        if isinstance(error, datasets.FieldsUnknown) and not _is_in_place(request):
            return _go(request, reverse("dataset-upload", args=[error.upload_id]))
        return _refused(request, form, error)
    if dataset is None:
        return _refused(request, form)
    if _is_in_place(request):
        return _launch_field(request, UploadForm(), chosen=dataset.key, stored=sentence)
    messages.success(request, sentence)
    return _go(request, reverse("dataset", args=[dataset.key]))


def _go(request: HttpRequest, url: str) -> HttpResponse:
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)  # type: ignore[attr-defined]


def _added(form: UploadForm) -> tuple[datasets.Dataset, str]:
    given = form.cleaned_data
    rows = given["file"].chunks(1024**2)
    upload = services.receive_dataset(given["dataset_name"], given["dataset_version"], rows)
    try:
        return _stored(upload)
    except datasets.DatasetError as error:
        if isinstance(error, datasets.UploadRefused) and (error.usable or isinstance(error, datasets.FieldsUnknown)):
            error.upload_id = upload.id
        else:
            datasets.discard(upload)
        raise


def _stored(
    upload: datasets.Upload, mapping: datasets.Mapping = datasets.NO_MAPPING, *, skip_invalid: bool = False
) -> tuple[datasets.Dataset, str]:
    dataset, new = services.store_dataset(upload, mapping, skip_invalid=skip_invalid)
    return dataset, f"{dataset.key} {'is stored' if new else 'was here already, with the same content'}."


@require_http_methods(["GET", "HEAD", "POST"])
def upload_page(request: HttpRequest, upload_id: str) -> HttpResponse:
    """An upload that waits: which of its fields are trained on, and what its first rows become."""
    try:
        upload = datasets.received(upload_id)
        form = MappingForm(preview.of_upload(upload).fields, request.POST if request.method == "POST" else None)
    except (datasets.DatasetNotFound, OSError):
        gone = "The file was stored or discarded, or is older than a day. Upload the file again."
        return render(request, "error.html", {"title": "This upload is gone", "detail": gone}, status=404)
    if request.POST.get("action") == "discard":
        services.discard_upload(upload)
        return redirect("datasets")
    if request.POST.get("action") == "store":
        return _store(request, upload, form)
    return _upload_page(request, upload, form)


def _store(request: HttpRequest, upload: datasets.Upload, form: MappingForm) -> HttpResponse:
    try:
        dataset, sentence = _stored(upload, form.mapping, skip_invalid=form.leaves_out)
    except datasets.DatasetError as error:
        return _upload_page(request, upload, form, status=422, refused=error)
    messages.success(request, sentence)
    return redirect("dataset", dataset.key)


def _upload_page(
    request: HttpRequest, upload: datasets.Upload, form: MappingForm, status: int = 200, **context: Any
) -> HttpResponse:
    shown = preview.of_upload(upload, form.mapping)
    context |= {"waiting": upload, "form": form, "preview": shown}
    return render(request, "runs/upload.html", context, status=status)


def _is_in_place(request: HttpRequest) -> bool:
    """Whether the upload is from the launch form, which wants its field back."""
    return bool(request.htmx and request.htmx.target == "dataset-field")  # type: ignore[attr-defined]


def _refused(request: HttpRequest, form: UploadForm, error: datasets.DatasetError | None = None) -> HttpResponse:
    if _is_in_place(request):
        chosen = request.POST.get("dataset_key", "")
        return _launch_field(request, form, status=422, chosen=chosen, refused=error)
    return _dataset_page(request, form, status=422, refused=error)


def _launch_field(
    request: HttpRequest, upload: UploadForm, *, chosen: str, status: int = 200, **context: Any
) -> HttpResponse:
    form = LaunchForm(initial={"dataset_key": chosen})
    return render(request, "runs/_dataset_field.html", {"form": form, "upload": upload, **context}, status=status)


def _dataset_page(request: HttpRequest, upload: UploadForm, status: int = 200, **context: Any) -> HttpResponse:
    found = datasets.list_all()
    total = sum(each.manifest["bytes"] for each in found)
    return render(
        request, "runs/datasets.html", {"datasets": found, "total": total, "upload": upload, **context}, status=status
    )


@require_safe
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

"""The HTTP API. What is asked is checked here; what is done is in services."""

import contextlib
import dataclasses
import io
import re
import uuid
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import FileResponse
from django.template import loader
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, permissions, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs import datasets, logs, services, tunix, unrecorded
from runs.api import serializers
from runs.api.exceptions import Unprocessable
from runs.api.pagination import PAGE_PARAMETERS, Page, whole_number
from runs.api.parsers import FormParser, RowsParser, TakesChunked
from runs.api.renderers import JSONWhateverIsAccepted
from runs.api.schema import (
    KEY_PARAMETER,
    KEY_SCHEMA,
    LIST_PARAMETERS,
    LOG_PARAMETERS,
    RUN_ID_PARAMETER,
    STREAM_PARAMETER,
    WAIT_PARAMETER,
    Answers,
    page_schema,
)
from runs.execution import wake
from runs.filters import FILTER_NAMES, RunFilter
from runs.models import TunixRun

# A dry run is answered when it has ended, so this bounds only what a caller may ask for.
MAX_WAIT_SECONDS = 60
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def run_or_404(run_id: str, runs: Any = None) -> TunixRun:
    """The run of an address. 422 when it is no UUID, 404 when there is none (or it lies in the trash)."""
    found = (TunixRun.objects.alive() if runs is None else runs).filter(pk=parse_run_id(run_id))
    run = found.select_related("owner").first()
    if run is None:
        raise NotFound(f"Tunix run not found: {run_id}")
    return run


def parse_run_id(run_id: str) -> uuid.UUID:
    if not UUID.fullmatch(run_id):
        raise Unprocessable({"run_id": ["must be a UUID"]})
    return uuid.UUID(run_id)


def check_query(request: Request, *allowed: str) -> None:
    """422 for a query parameter that is not known (a typo must not silently list everything) and for a NUL byte."""
    for name, values in request.query_params.lists():
        if name not in (*allowed, "format"):
            raise Unprocessable({name: ["is not a known query parameter"]})
        if any("\0" in value for value in values):
            raise Unprocessable({name: ["must not contain a NUL character"]})


class RunFilterBackend:
    """The pages' FilterSet over the API's list; its form is what the browsable API shows behind "Filters"."""

    def filter_queryset(self, request: Request, queryset: Any, view: APIView) -> Any:
        filters = RunFilter(request.query_params, queryset, request=request)
        if not filters.is_valid():
            raise Unprocessable({name: [str(e) for e in each] for name, each in filters.errors.items()})
        return filters.qs

    def to_html(self, request: Request, queryset: Any, view: APIView) -> str:
        filters = RunFilter(request.query_params, view.get_queryset(), request=request)  # type: ignore[attr-defined]
        return loader.render_to_string("django_filters/rest_framework/form.html", {"filter": filters}, request)


class LaunchView(TakesChunked, generics.GenericAPIView):
    """Launch a run. A dry run, the default, is answered when it has ended; a local run when it is accepted."""

    serializer_class = serializers.LaunchSerializer

    @extend_schema(
        operation_id="launch_run",
        parameters=[WAIT_PARAMETER],
        responses={
            200: serializers.RunSerializer,
            202: OpenApiResponse(serializers.RunSerializer, "A local run is accepted; its address is in Location."),
            501: OpenApiResponse(serializers.ErrorSerializer, "Local runs are not available here."),
            **Answers.BODY,
        },
    )
    def post(self, request: Request) -> Response:
        check_query(request, "wait")
        seconds = whole_number(request.query_params.get("wait", "0"), 0, MAX_WAIT_SECONDS)
        if seconds is None:
            raise Unprocessable({"wait": [f"must be between 0 and {MAX_WAIT_SECONDS}"]})
        serializer = serializers.LaunchSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        run = services.launch(serializer.to_request(owner_of(request)))
        if run.mode == TunixRun.Mode.DRY_RUN:
            return Response(record_of(run))
        run = services.wait_for_end(run, seconds)
        headers = {"Location": f"/api/tunix/runs/{run.run_id}"}
        return Response(record_of(run), status=200 if run.is_terminal else 202, headers=headers)


def owner_of(request: Request) -> Any:
    """Who asks, where the server knows: nobody in open mode."""
    return request.user if request.user is not None and request.user.is_authenticated else None


def record_of(run: TunixRun) -> dict[str, Any]:
    """The record of a run that was just executed, without asking a database that may be away for its tags."""
    run._prefetched_objects_cache = {"tags": []}  # type: ignore[attr-defined]
    return serializers.RunSerializer(run).data


class RunListView(generics.GenericAPIView):
    """Runs, newest first. A filter takes several values, by comma or by repeating it."""

    queryset = TunixRun.objects.alive()
    filter_backends = [RunFilterBackend]
    serializer_class = serializers.RunListItemSerializer

    @extend_schema(
        operation_id="list_runs",
        parameters=LIST_PARAMETERS,
        filters=False,
        responses={200: page_schema(), **Answers.QUERY},
    )
    def get(self, request: Request) -> Response:
        check_query(request, *FILTER_NAMES, *PAGE_PARAMETERS)
        page = Page.from_query(request.query_params)
        return Response(page.of(self.filter_queryset(self.get_queryset())))


class RunView(TakesChunked, generics.GenericAPIView):
    """One run."""

    serializer_class = serializers.AnnotateSerializer

    @extend_schema(
        operation_id="get_run", parameters=[RUN_ID_PARAMETER], responses={200: serializers.RunSerializer, **Answers.ONE}
    )
    def get(self, request: Request, run_id: str) -> Response:
        check_query(request)
        return Response(serializers.RunSerializer(run_or_404(run_id)).data)

    @extend_schema(
        operation_id="annotate_run",
        parameters=[RUN_ID_PARAMETER],
        responses={200: serializers.RunSerializer, **Answers.ONE, **Answers.BODY},
    )
    def patch(self, request: Request, run_id: str) -> Response:
        """Change tags and notes, and nothing else."""
        check_query(request)
        run = run_or_404(run_id)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        services.annotate(run, **serializer.validated_data)
        return Response(serializers.RunSerializer(run_or_404(run_id)).data)

    @extend_schema(
        operation_id="delete_run",
        parameters=[
            RUN_ID_PARAMETER,
            OpenApiParameter("purge", bool, description="Free record and files at once, without the trash."),
        ],
        responses={204: None, 409: OpenApiResponse(serializers.ErrorSerializer, "It has not ended."), **Answers.ONE},
    )
    def delete(self, request: Request, run_id: str) -> Response:
        """Move the run to the trash, where it stays for 7 days."""
        check_query(request, "purge")
        purge = request.query_params.get("purge", "false")
        if purge not in ("true", "false"):
            raise Unprocessable({"purge": ["must be true or false"]})
        services.delete(run_or_404(run_id), purge=purge == "true")
        return Response(status=status.HTTP_204_NO_CONTENT)


class RestoreView(generics.GenericAPIView):
    """Take a run back from the trash."""

    serializer_class = serializers.RunSerializer

    @extend_schema(
        operation_id="restore_run",
        parameters=[RUN_ID_PARAMETER],
        request=None,
        responses={200: serializers.RunSerializer, **Answers.ONE},
    )
    def post(self, request: Request, run_id: str) -> Response:
        check_query(request)
        if services.restore(parse_run_id(run_id)) is None:
            raise NotFound(f"Tunix run not found: {run_id}")
        return Response(serializers.RunSerializer(run_or_404(run_id)).data)


class CancelView(generics.GenericAPIView):
    """Ask for the end of a run."""

    serializer_class = serializers.RunSerializer

    @extend_schema(
        operation_id="cancel_run",
        parameters=[RUN_ID_PARAMETER],
        request=None,
        responses={202: serializers.RunSerializer, 409: serializers.ErrorSerializer, **Answers.ONE},
    )
    def post(self, request: Request, run_id: str) -> Response:
        check_query(request)
        services.cancel(run_or_404(run_id))
        return Response(serializers.RunSerializer(run_or_404(run_id)).data, status=status.HTTP_202_ACCEPTED)


class RetryView(generics.GenericAPIView):
    """A new run with the same inputs."""

    serializer_class = serializers.RetrySerializer

    @extend_schema(
        operation_id="retry_run",
        parameters=[RUN_ID_PARAMETER],
        responses={
            201: serializers.RunSerializer,
            409: serializers.ErrorSerializer,
            501: serializers.ErrorSerializer,
            **Answers.ONE,
            **Answers.BODY,
        },
    )
    def post(self, request: Request, run_id: str) -> Response:
        check_query(request)
        run = run_or_404(run_id)
        serializer = serializers.RetrySerializer(data=request.data or {})
        serializer.is_valid(raise_exception=True)
        again = services.retry(run, owner=owner_of(request), **serializer.validated_data)
        headers = {"Location": f"/api/tunix/runs/{again.run_id}"}
        return Response(record_of(again), status=status.HTTP_201_CREATED, headers=headers)


class LogView(APIView):
    """A piece of what a run has written, by bytes."""

    @extend_schema(
        operation_id="read_log",
        parameters=[RUN_ID_PARAMETER, STREAM_PARAMETER, *LOG_PARAMETERS],
        responses={200: serializers.LogSerializer, **Answers.ONE},
    )
    def get(self, request: Request, run_id: str) -> Response:
        check_query(request, "stream", "offset", "limit")
        query = request.query_params
        offset = whole_number(query.get("offset", "0"), 0, 2**31 - 1)
        limit = whole_number(query.get("limit", str(logs.DEFAULT_LIMIT)), 4, logs.MAX_LIMIT)
        if offset is None:
            raise Unprocessable({"offset": ["must be non-negative"]})
        if limit is None:
            raise Unprocessable({"limit": [f"must be between 4 and {logs.MAX_LIMIT}"]})
        piece = logs.read(run_or_404(run_id), stream_of(request), offset, limit)
        return Response(dataclasses.asdict(piece))


class LogDownloadView(APIView):
    """The whole of what a run has written."""

    @extend_schema(
        operation_id="download_log",
        parameters=[RUN_ID_PARAMETER, STREAM_PARAMETER],
        responses={(200, "text/plain"): bytes, **Answers.ONE},
    )
    def get(self, request: Request, run_id: str) -> Any:
        check_query(request, "stream")
        run, stream = run_or_404(run_id), stream_of(request)
        file: Any = io.BytesIO(getattr(run, stream).encode())
        if run.mode == TunixRun.Mode.LOCAL:
            with contextlib.suppress(FileNotFoundError):
                file = logs.path(run, stream).open("rb")
        name = f"{run.short_id}-{stream}.log"
        return FileResponse(file, content_type="text/plain; charset=utf-8", filename=name, as_attachment=True)


def stream_of(request: Request) -> str:
    stream = request.query_params.get("stream", "stdout")
    if stream not in logs.STREAMS:
        raise Unprocessable({"stream": ["must be stdout or stderr"]})
    return stream


class TunixStatusView(APIView):
    """Whether this server can train, and with which Tunix. Dry runs work without."""

    @extend_schema(operation_id="tunix_status", responses={200: serializers.TunixStatusSerializer, **Answers.QUERY})
    def get(self, request: Request) -> Response:
        check_query(request)
        return Response(dataclasses.asdict(tunix.availability()))


class DatasetListView(TakesChunked, generics.GenericAPIView):
    """Datasets, by key."""

    parser_classes = [RowsParser, FormParser]
    serializer_class = serializers.UploadSerializer

    @extend_schema(operation_id="list_datasets", responses={200: serializers.DatasetListSerializer, **Answers.QUERY})
    def get(self, request: Request) -> Response:
        check_query(request)
        return Response({"data": [each.manifest for each in datasets.list_all()]})

    @extend_schema(
        operation_id="add_dataset",
        parameters=[
            OpenApiParameter("dataset_name", KEY_SCHEMA, description="With a body of rows; a form has it as a field."),
            OpenApiParameter(
                "dataset_version", KEY_SCHEMA, description="With a body of rows; a form has it as a field."
            ),
        ],
        request={"application/x-ndjson": bytes, "multipart/form-data": serializers.UploadSerializer},
        responses={
            201: serializers.DatasetSerializer,
            200: OpenApiResponse(serializers.DatasetSerializer, "The same content is here already."),
            409: OpenApiResponse(serializers.ErrorSerializer, "Other content is here under this key."),
            507: OpenApiResponse(serializers.ErrorSerializer, "The disk is full."),
            **Answers.BODY,
        },
    )
    def post(self, request: Request) -> Response:
        """Add a dataset. It appears when every row has been checked, or not at all."""
        check_query(request, "dataset_name", "dataset_version")
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.MAX_UPLOAD_BYTES + 1024**2:
            raise datasets.TooLarge(f"A dataset may have {settings.MAX_UPLOAD_BYTES:,} bytes. Nothing was stored.")
        name, version, chunks = upload_of(request)
        dataset, new = datasets.add(name, version, chunks)
        return Response(dataset.manifest, status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)


def upload_of(request: Request) -> tuple[str, str, Any]:
    """Name, version and the chunks of the rows, from a form or from a body of rows."""
    given = request.query_params.dict()
    body: Any = request.data
    if isinstance(body, dict):
        file = body.get("file")
        if not isinstance(file, UploadedFile):
            raise Unprocessable({"file": ["is required"]})
        fields = {name: value for name, value in body.items() if isinstance(value, str)}
        if twice := {name: ["is given in the address and in the form"] for name in fields if name in given}:
            raise Unprocessable(twice)
        given |= fields
        body = file.chunks(1024**2)
    missing = {name: ["is required"] for name in ("dataset_name", "dataset_version") if not given.get(name)}
    if missing:
        raise Unprocessable(missing)
    return given["dataset_name"], given["dataset_version"], body


class DatasetView(APIView):
    """One dataset's manifest."""

    @extend_schema(
        operation_id="get_dataset",
        parameters=[KEY_PARAMETER],
        responses={200: serializers.DatasetSerializer, **Answers.DATASET},
    )
    def get(self, request: Request, key: str) -> Response:
        check_query(request)
        return Response(datasets.get(key).manifest)


class DatasetDataView(APIView):
    """One dataset's rows, as they were sent."""

    content_negotiation_class = JSONWhateverIsAccepted

    @extend_schema(
        operation_id="get_dataset_data",
        parameters=[KEY_PARAMETER],
        responses={(200, "application/x-ndjson"): bytes, **Answers.DATASET},
    )
    def get(self, request: Request, key: str) -> Any:
        check_query(request)
        dataset = datasets.get(key)
        try:
            rows = dataset.data_path.open("rb")
        except OSError as error:
            raise datasets.ManifestInvalid(f"data.jsonl of {key} cannot be read: {error.strerror}") from error
        return FileResponse(rows, content_type="application/x-ndjson", filename=f"{key}.jsonl", as_attachment=True)


class HealthView(APIView):
    """Alive: this process answers."""

    authentication_classes: list[Any] = []
    permission_classes = [permissions.AllowAny]

    @extend_schema(operation_id="healthz", responses={200: {"type": "object"}})
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadyView(APIView):
    """Ready: the database answers, its tables are those of this version. 503 with the reason otherwise."""

    @extend_schema(operation_id="readyz", responses={200: {"type": "object"}, 503: serializers.ErrorSerializer})
    def get(self, request: Request) -> Response:
        try:
            executor = MigrationExecutor(connection)
            pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError as error:
            return Response({"detail": f"The database cannot be used: {str(error).strip()}"}, status=503)
        if pending:
            return Response({"detail": f"{len(pending)} migrations are not applied: run manage.py migrate"}, status=503)
        if not wake.is_heard():
            return Response(
                {"detail": "No dispatcher runs here: local runs would wait. Start manage.py dispatcher"}, status=503
            )
        return Response({"status": "ok", "unrecorded_results": len(unrecorded.waiting())})

"""The dataset store."""

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs import datasets, services
from runs.api import serializers
from runs.api.exceptions import Unprocessable
from runs.api.parsers import FormParser, GzipParser, RowsParser, TakesChunked
from runs.api.renderers import JSONWhateverIsAccepted
from runs.api.schema import KEY_PARAMETER, MAP_PARAMETER, UPLOAD_PARAMETERS, Answers
from runs.api.views.requests import boolean, check_query
from runs.datasets import preview

UPLOAD_FIELDS = ("dataset_name", "dataset_version", "map", "skip_invalid")
UPLOAD_BODY = {
    "application/x-ndjson": bytes,
    "application/gzip": bytes,
    "multipart/form-data": serializers.UploadSerializer,
}
PREVIEW_BODY = UPLOAD_BODY | {"multipart/form-data": serializers.PreviewUploadSerializer}


class DatasetListView(TakesChunked, generics.GenericAPIView):
    """Datasets, by key."""

    parser_classes = [RowsParser, GzipParser, FormParser]
    serializer_class = serializers.UploadSerializer

    @extend_schema(operation_id="list_datasets", responses={200: serializers.DatasetListSerializer, **Answers.QUERY})
    def get(self, request: Request) -> Response:
        check_query(request)
        return Response({"data": [each.manifest for each in datasets.list_all()]})

    @extend_schema(
        operation_id="add_dataset",
        parameters=UPLOAD_PARAMETERS,
        request=UPLOAD_BODY,
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
        check_query(request, *UPLOAD_FIELDS)
        given, chunks = upload_of(request)
        missing = {name: ["is required"] for name in ("dataset_name", "dataset_version") if not given.get(name)}
        if missing:
            raise Unprocessable(missing)
        mapping, skip_invalid = datasets.Mapping.parse(given.get("map", "")), boolean("skip_invalid", given)
        name, version = given["dataset_name"], given["dataset_version"]
        dataset, new = services.add_dataset(name, version, chunks, mapping, skip_invalid=skip_invalid)
        return Response(dataset.manifest, status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)


class DatasetPreviewView(TakesChunked, generics.GenericAPIView):
    """What an upload would become."""

    parser_classes = [RowsParser, GzipParser, FormParser]
    serializer_class = serializers.PreviewUploadSerializer

    @extend_schema(
        operation_id="preview_dataset",
        parameters=[MAP_PARAMETER],
        request=PREVIEW_BODY,
        responses={200: serializers.PreviewSerializer, **Answers.BODY},
    )
    def post(self, request: Request) -> Response:
        """The first five rows under a mapping of their fields. Nothing is stored; the head of a file is enough."""
        check_query(request, "map")
        given, chunks = upload_of(request)
        mapping = datasets.Mapping.parse(given["map"]) if given.get("map") else None
        return Response(serializers.PreviewSerializer(preview.of_chunks(chunks, mapping)).data)


def upload_of(request: Request) -> tuple[dict[str, str], Any]:
    """The fields of an upload and the chunks of its rows, from a form or from a body of rows."""
    given = request.query_params.dict()
    body: Any = request.data
    if not isinstance(body, dict):
        return given, body
    file = body.get("file")
    if not isinstance(file, UploadedFile):
        raise Unprocessable({"file": ["is required"]})
    fields = {name: value for name, value in body.items() if isinstance(value, str)}
    if twice := {name: ["is given in the address and in the form"] for name in fields if name in given}:
        raise Unprocessable(twice)
    return given | fields, file.chunks(1024**2)


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
            rows = dataset.opened()
        except OSError as error:
            raise datasets.ManifestInvalid(f"data.jsonl of {key} cannot be read: {error.strerror}") from error
        return FileResponse(rows, content_type="application/x-ndjson", filename=f"{key}.jsonl", as_attachment=True)

"""The dataset store."""

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs import datasets, services
from runs.api import serializers
from runs.api.exceptions import Unprocessable
from runs.api.parsers import FormParser, RowsParser, TakesChunked
from runs.api.renderers import JSONWhateverIsAccepted
from runs.api.schema import KEY_PARAMETER, KEY_SCHEMA, Answers
from runs.api.views.requests import check_query


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
        name, version, chunks = upload_of(request)
        dataset, new = services.add_dataset(name, version, chunks)
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

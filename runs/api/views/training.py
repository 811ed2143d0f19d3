"""What a training leaves behind: metrics, checkpoints, provenance."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

import orjson
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Errors
from runs import checkpoints, metrics, points, provenance, services
from runs.api import serializers
from runs.api.exceptions import Unprocessable
from runs.api.pagination import whole_number
from runs.api.parsers import TakesChunked
from runs.api.renderers import JSONWhateverIsAccepted
from runs.api.schema import (
    MAX_POINTS,
    METRIC_PARAMETERS,
    MIN_POINTS,
    RUN_ID_PARAMETER,
    SERIES_SCHEMA,
    STEP_PARAMETER,
    STORED_SCHEMA,
    Answers,
)
from runs.api.views.requests import check_query, run_or_404

# Points of an answer that are written at once: 1 MB of JSON.
WRITTEN_POINTS = 10_000
PROBLEMS_SHOWN = 20


class MetricsView(TakesChunked, APIView):
    """Metric series of a run."""

    content_negotiation_class = JSONWhateverIsAccepted

    @extend_schema(
        operation_id="read_metrics",
        parameters=[RUN_ID_PARAMETER, *METRIC_PARAMETERS],
        responses={(200, "application/json"): SERIES_SCHEMA, **Answers.ONE},
    )
    def get(self, request: Request, run_id: str) -> Any:
        """`{name: [{step, value, time}]}`, streamed: a run may have millions of points."""
        check_query(request, "name", "max_points", "first_step", "last_step")
        max_points = _number(request, "max_points", MIN_POINTS, MAX_POINTS)
        first, last = (_number(request, name, 0, metrics.MAX_STEP) for name in ("first_step", "last_step"))
        steps = first or 0, metrics.MAX_STEP if last is None else last
        run = run_or_404(run_id)
        names = request.query_params.getlist("name") or None
        if max_points is None:
            found = metrics.stream(run, names, steps)
        else:
            found = ((name, iter([series])) for name, series in metrics.read(run, names, max_points, steps).items())
        return StreamingHttpResponse(as_json(found), content_type="application/json")

    @extend_schema(
        operation_id="add_metrics",
        parameters=[RUN_ID_PARAMETER],
        request={"application/json": SERIES_SCHEMA},
        responses={
            200: OpenApiResponse(STORED_SCHEMA, "How many points were stored and, where any were, left out, and why."),
            409: OpenApiResponse(serializers.ErrorSerializer, "The run does not train now."),
            **Answers.ONE,
            **Answers.BODY,
        },
    )
    def post(self, request: Request, run_id: str) -> Response:
        """Store points; one at a step that has a point replaces it. The body is what GET answers.

        One that is no point refuses the body, whole. Points of names beyond those that a run can have are left out.
        """
        check_query(request)
        run = run_or_404(run_id)
        batch = batch_of(request.data)
        left_out = services.add_metrics(run, batch)
        answer: dict[str, Any] = {"stored": sum(map(len, batch.values())) - left_out.points}
        return Response(answer | ({"left_out": left_out.points, "reason": left_out.reason} if left_out.points else {}))


def as_json(found: Iterable[tuple[str, Iterable[metrics.Points]]]) -> Iterator[bytes]:
    """In parts of WRITTEN_POINTS points, whatever the pieces: a series of small blocks is not sent in small packets."""
    yield b"{"
    for number, (name, pieces) in enumerate(found):
        yield (b"," if number else b"") + orjson.dumps(name) + b":["
        comma = b""
        for rows in batched(chain.from_iterable(pieces), WRITTEN_POINTS):
            yield comma + orjson.dumps([_written(*row) for row in rows], option=orjson.OPT_UTC_Z)[1:-1]
            comma = b","
        yield b"]"
    yield b"}"


def batched(rows: Iterable[metrics.Point], count: int) -> Iterator[list[metrics.Point]]:
    rows = iter(rows)
    while batch := list(islice(rows, count)):
        yield batch


def _written(step: int, value: float, seconds: float) -> dict[str, Any]:
    """orjson writes what is not finite as null: NaN, unless `infinite` says which infinity."""
    point = {"step": step, "value": value, "time": datetime.fromtimestamp(seconds, UTC)}
    word = metrics.infinity(value)
    return point | {"infinite": word} if word else point


def batch_of(body: Any) -> dict[str, list[metrics.Point]]:
    """The points of a request. Raises Unprocessable, naming what is wrong by its place."""
    if not isinstance(body, dict):
        raise Unprocessable({"body": ["must be an object of series"]})
    batch: dict[str, list[metrics.Point]] = {}
    errors: Errors = {}
    now = time.time()
    for name, rows in body.items():
        if not metrics.NAME.fullmatch(name) or not isinstance(rows, list):
            errors[name] = ["must be the name of a metric and have a list of points"]
            continue
        for number, row in enumerate(rows):
            try:
                batch.setdefault(name, []).append(points.of_series(row, now))
            except ValueError as error:
                errors[f"{name}.{number}"] = [str(error)]
            if len(errors) == PROBLEMS_SHOWN:
                raise Unprocessable(errors)
    if errors:
        raise Unprocessable(errors)
    return batch


class CheckpointListView(APIView):
    """Committed checkpoints of a run."""

    @extend_schema(
        operation_id="list_checkpoints",
        parameters=[RUN_ID_PARAMETER],
        responses={
            200: serializers.CheckpointListSerializer,
            409: OpenApiResponse(serializers.ErrorSerializer, "They cannot be read."),
            **Answers.ONE,
        },
    )
    def get(self, request: Request, run_id: str) -> Response:
        check_query(request)
        run = run_or_404(run_id)
        found = checkpoints.of(run)
        if not found and (problem := checkpoints.problem(run)):
            raise checkpoints.Unreadable(problem)
        return Response({"data": serializers.CheckpointSerializer(found, many=True).data})


class CheckpointDownloadView(APIView):
    """One checkpoint, as a tar file."""

    content_negotiation_class = JSONWhateverIsAccepted

    @extend_schema(
        operation_id="download_checkpoint",
        parameters=[RUN_ID_PARAMETER, STEP_PARAMETER],
        responses={
            (200, "application/x-tar"): bytes,
            409: OpenApiResponse(serializers.ErrorSerializer, "It cannot be read."),
            **Answers.ONE,
        },
    )
    def get(self, request: Request, run_id: str, step: str) -> Any:
        check_query(request)
        run = run_or_404(run_id)
        number = whole_number(step, 0, metrics.MAX_STEP)
        found = None if number is None else checkpoints.get(run, number)
        if found is None:
            raise NotFound(f"Checkpoint not found: {step}")
        name = f"{run.short_id}-step-{found.step}"
        length, pieces = checkpoints.archive(found, name)
        answer = StreamingHttpResponse(pieces, content_type="application/x-tar")
        # Whoever gets less than this knows that the checkpoint went away meanwhile.
        answer.headers["Content-Length"] = str(length)
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}.tar"'
        return answer


def _number(request: Request, name: str, minimum: int, maximum: int) -> int | None:
    """What the query says, None where it says nothing. Raises Unprocessable."""
    text = request.query_params.get(name)
    number = None if text is None else whole_number(text, minimum, maximum)
    if text is not None and number is None:
        raise Unprocessable({name: [f"must be between {minimum} and {maximum:,}"]})
    return number


class ProvenanceView(APIView):
    """Everything that is needed to understand and to repeat a run: the run.json of its directory."""

    @extend_schema(
        operation_id="get_provenance",
        parameters=[RUN_ID_PARAMETER],
        responses={200: OpenApiResponse({"type": "object"}), **Answers.ONE},
    )
    def get(self, request: Request, run_id: str) -> Response:
        check_query(request)
        return Response(provenance.document(run_or_404(run_id)))

"""What a training leaves behind: metrics, checkpoints, provenance."""

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from django.http import StreamingHttpResponse
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Errors
from runs import checkpoints, metrics, provenance, services
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
        found = metrics.read(run, request.query_params.getlist("name") or None, max_points, steps)
        return StreamingHttpResponse(as_json(found), content_type="application/json")

    @extend_schema(
        operation_id="add_metrics",
        parameters=[RUN_ID_PARAMETER],
        request={"application/json": SERIES_SCHEMA},
        responses={
            200: OpenApiResponse({"type": "object"}, "How many points were stored."),
            409: OpenApiResponse(serializers.ErrorSerializer, "The run does not train now."),
            **Answers.ONE,
            **Answers.BODY,
        },
    )
    def post(self, request: Request, run_id: str) -> Response:
        """Store points, all or none; one at a step that has a point replaces it. The body is what GET answers."""
        check_query(request)
        run = run_or_404(run_id)
        batch = batch_of(request.data)
        try:
            services.add_metrics(run, batch)
        except metrics.TooManySeries as error:
            raise Unprocessable({"body": [str(error)]}) from error
        return Response({"stored": sum(len(points) for points in batch.values())})


def as_json(found: dict[str, metrics.Points]) -> Iterator[bytes]:
    yield b"{"
    for number, (name, points) in enumerate(found.items()):
        yield (b"," if number else b"") + orjson.dumps(name) + b":["
        for start in range(0, len(points), WRITTEN_POINTS):
            rows = points.take(range(start, min(start + WRITTEN_POINTS, len(points))))
            written = [{"step": s, "value": v, "time": _moment(t)} for s, v, t in rows]  # orjson writes NaN as null
            yield (b"," if start else b"") + orjson.dumps(written, option=orjson.OPT_UTC_Z)[1:-1]
        yield b"]"
    yield b"}"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def batch_of(body: Any) -> dict[str, list[metrics.Point]]:
    """The points of a request. Raises Unprocessable, naming what is wrong by its place."""
    if not isinstance(body, dict):
        raise Unprocessable({"body": ["must be an object of series"]})
    batch: dict[str, list[metrics.Point]] = {}
    errors: Errors = {}
    for name, rows in body.items():
        if not metrics.NAME.fullmatch(name) or not isinstance(rows, list):
            errors[name] = ["must be the name of a metric and have a list of points"]
            continue
        for number, row in enumerate(rows):
            try:
                batch.setdefault(name, []).append(_point(row))
            except ValueError as error:
                errors[f"{name}.{number}"] = [str(error)]
            if len(errors) == PROBLEMS_SHOWN:
                raise Unprocessable(errors)
    if errors:
        raise Unprocessable(errors)
    return batch


def _point(row: Any) -> metrics.Point:
    if not isinstance(row, dict) or not {"step", "value"} <= row.keys() <= {"step", "value", "time"}:
        raise ValueError("must have step, value and perhaps time")
    step, value = row["step"], row["value"]
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= metrics.MAX_STEP:
        raise ValueError("step must be a whole number from 0 on")
    if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise ValueError("value must be a number or null")
    return step, math.nan if value is None else float(value), _seconds(row.get("time"))


def _seconds(moment: Any) -> float:
    if moment is None:
        return time.time()
    try:
        parsed = parse_datetime(moment)
        if parsed is None or parsed.utcoffset() is None:
            raise ValueError("no moment")
        return parsed.timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("time must be one such as 2025-12-22T14:30:00Z") from error


class CheckpointListView(APIView):
    """Committed checkpoints of a run."""

    @extend_schema(
        operation_id="list_checkpoints",
        parameters=[RUN_ID_PARAMETER],
        responses={200: serializers.CheckpointListSerializer, **Answers.ONE},
    )
    def get(self, request: Request, run_id: str) -> Response:
        check_query(request)
        found = checkpoints.of(run_or_404(run_id))
        return Response({"data": serializers.CheckpointSerializer(found, many=True).data})


class CheckpointDownloadView(APIView):
    """One checkpoint, as a tar file."""

    content_negotiation_class = JSONWhateverIsAccepted

    @extend_schema(
        operation_id="download_checkpoint",
        parameters=[RUN_ID_PARAMETER, STEP_PARAMETER],
        responses={(200, "application/x-tar"): bytes, **Answers.ONE},
    )
    def get(self, request: Request, run_id: str, step: str) -> Any:
        check_query(request)
        run = run_or_404(run_id)
        number = whole_number(step, 0, metrics.MAX_STEP)
        found = None if number is None else checkpoints.get(run, number)
        if found is None:
            raise NotFound(f"Checkpoint not found: {step}")
        name = f"{run.short_id}-step-{found.step}"
        answer = StreamingHttpResponse(checkpoints.archive(found, name), content_type="application/x-tar")
        # Whoever gets less than this knows that the checkpoint went away meanwhile.
        answer.headers["Content-Length"] = str(checkpoints.archive_bytes(found, name))
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

"""What a run has written, by bytes."""

import dataclasses
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs import clients, logs, logsearch
from runs.api import serializers
from runs.api.exceptions import Unprocessable
from runs.api.pagination import MAX_OFFSET, whole_number
from runs.api.schema import LOG_PARAMETERS, LOG_SEARCH_PARAMETERS, RUN_ID_PARAMETER, STREAM_PARAMETER, Answers
from runs.api.views.requests import check_query, run_or_404
from runs.limits import FIND_LENGTH


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


class LogSearchView(APIView):
    """The lines of what a run has written that contain a text, whatever its case: the first 200 from `offset` on.

    A search ends after some seconds: `searched` of `size` bytes were looked through then, and `next_offset` with
    `next_number` ask for the rest; they are null where nothing is left.
    """

    @extend_schema(
        operation_id="search_log",
        parameters=[RUN_ID_PARAMETER, STREAM_PARAMETER, *LOG_SEARCH_PARAMETERS],
        responses={200: serializers.LogSearchSerializer, **Answers.ONE},
    )
    def get(self, request: Request, run_id: str) -> Response:
        check_query(request, "stream", "find", "offset", "number")
        query = request.query_params
        find = query.get("find", "")
        offset = whole_number(query.get("offset", "0"), 0, MAX_OFFSET)
        number = whole_number(query.get("number", "1"), 1, MAX_OFFSET)
        if not 1 <= len(find) <= FIND_LENGTH:
            raise Unprocessable({"find": [f"must have 1 to {FIND_LENGTH} characters"]})
        if offset is None:
            raise Unprocessable({"offset": ["must be non-negative"]})
        if number is None:
            raise Unprocessable({"number": ["must be at least 1"]})
        run, stream = run_or_404(run_id), stream_of(request)
        found = logsearch.search(run, stream, find, offset=offset, number=number, gone=clients.gone(request.META))
        hits = [{"number": each.number, "offset": each.offset, "text": each.text} for each in found.hits]
        return Response({"stream": stream, "find": find} | dataclasses.asdict(found) | {"hits": hits})


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
        size, pieces, problem = logs.whole(run, stream)
        answer = StreamingHttpResponse(pieces, content_type="text/plain; charset=utf-8")
        answer.headers["Content-Length"] = str(size)
        name = f"{run.short_id}-{stream}{'-of-the-record' if problem else ''}.log"
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer


def stream_of(request: Request) -> str:
    stream = request.query_params.get("stream", "stdout")
    if stream not in logs.STREAMS:
        raise Unprocessable({"stream": ["must be stdout or stderr"]})
    return stream

"""The server itself: what it can do, and how it is."""

import dataclasses
from typing import Any

from django.db import DatabaseError
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework import permissions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs import monitoring, reconcile, tunix, unrecorded, upgrades
from runs.api import serializers
from runs.api.renderers import JSONWhateverIsAccepted
from runs.api.schema import Answers
from runs.api.views.requests import check_query
from runs.execution import wake


class TunixStatusView(APIView):
    """Whether this server can train, and with which Tunix. Dry runs work without."""

    @extend_schema(operation_id="tunix_status", responses={200: serializers.TunixStatusSerializer, **Answers.QUERY})
    def get(self, request: Request) -> Response:
        check_query(request)
        return Response(dataclasses.asdict(tunix.availability()))


class PrometheusView(APIView):
    """What Prometheus reads: runs by status, the queue's age, durations, requests, disk."""

    content_negotiation_class = JSONWhateverIsAccepted

    @extend_schema(operation_id="prometheus", responses={(200, "text/plain"): str})
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(monitoring.exposition(), content_type=CONTENT_TYPE_LATEST)


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
            differences = upgrades.differences()
        except DatabaseError as error:
            return Response({"detail": f"The database cannot be used: {str(error).strip()}"}, status=503)
        if differences:
            return Response({"detail": differences}, status=503)
        if not wake.is_heard():
            return Response(
                {"detail": "No dispatcher runs here: local runs would wait. Start manage.py dispatcher"}, status=503
            )
        return Response({"status": "ok", **self._behind()})

    def _behind(self) -> dict[str, int]:
        """What the disk has and the database does not yet, or not any more."""
        return {"unrecorded_results": len(unrecorded.waiting()), "runs_without_record": len(reconcile.known())}

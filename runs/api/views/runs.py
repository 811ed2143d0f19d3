"""Launch, list, read, annotate, cancel, retry, delete, restore."""

from typing import Any, ClassVar

from django.template import loader
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs import services
from runs.access import Right
from runs.api import serializers
from runs.api.exceptions import Unprocessable
from runs.api.pagination import PAGE_PARAMETERS, Page, whole_number
from runs.api.parsers import TakesChunked
from runs.api.schema import LIST_PARAMETERS, RUN_ID_PARAMETER, WAIT_PARAMETER, Answers, page_schema
from runs.api.views.records import record_of, record_or_404
from runs.api.views.requests import boolean, check_query, owner_of, parse_run_id, run_or_404
from runs.filters import FILTER_NAMES, TOO_SLOW, RunFilter
from runs.models import TunixRun
from runs.time_limit import TooSlow

# A dry run is answered when it has ended, so this bounds only what a caller may ask for.
MAX_WAIT_SECONDS = 60


class RunFilterBackend:
    """The form of the list's filters, which the browsable API shows behind "Filters"; the view itself filters."""

    def filter_queryset(self, request: Request, queryset: Any, view: APIView) -> Any:
        return queryset  # the list does it itself

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
        headers = {"Location": reverse("api-run", args=[run.run_id])}
        return Response(record_of(run), status=200 if run.is_terminal else 202, headers=headers)


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
        if not request.query_params.keys() & set(FILTER_NAMES):
            # A FilterSet copies its filters for each request, which is a quarter of what this page costs.
            return Response(page.of(self.get_queryset()))
        filters = RunFilter(request.query_params, self.get_queryset(), request=request)
        if not filters.is_valid():
            raise Unprocessable({name: [str(e) for e in each] for name, each in filters.errors.items()})
        try:
            with filters.limit():
                return Response(page.of(filters.qs))
        except TooSlow as error:
            raise Unprocessable({"q": [TOO_SLOW]}) from error


class RunView(TakesChunked, generics.GenericAPIView):
    """One run."""

    serializer_class = serializers.AnnotateSerializer
    takes: ClassVar = {"DELETE": Right.ADMINISTER}

    @extend_schema(
        operation_id="get_run", parameters=[RUN_ID_PARAMETER], responses={200: serializers.RunSerializer, **Answers.ONE}
    )
    def get(self, request: Request, run_id: str) -> Response:
        check_query(request)
        return Response(record_or_404(run_id))

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
        return Response(record_or_404(run_id))

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
        purge = boolean("purge", request.query_params)
        services.delete(run_or_404(run_id), purge=purge)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RestoreView(generics.GenericAPIView):
    """Take a run back from the trash."""

    serializer_class = serializers.RunSerializer
    takes: ClassVar = {"POST": Right.ADMINISTER}

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
        return Response(record_or_404(run_id))


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
        return Response(record_or_404(run_id), status=status.HTTP_202_ACCEPTED)


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
        headers = {"Location": reverse("api-run", args=[again.run_id])}
        return Response(record_of(again), status=status.HTTP_201_CREATED, headers=headers)

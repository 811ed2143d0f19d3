"""Addresses of the API, without a trailing slash; tunix_rt.middleware takes one off."""

from typing import Any

from csp.decorators import csp_update
from django.conf import settings
from django.urls import URLPattern, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from runs.api.views import datasets, logs, runs, server, training

with_inline_styles = csp_update(settings.CSP_WITH_INLINE_STYLES)


def call(route: str, view: type, name: str, **options: Any) -> URLPattern:
    return path(route, with_inline_styles(view.as_view(**options)), name=name)  # type: ignore[attr-defined]


urlpatterns = [
    call("api/tunix/run", runs.LaunchView, "api-launch"),
    call("api/tunix/runs", runs.RunListView, "api-runs"),
    call("api/tunix/runs/<str:run_id>", runs.RunView, "api-run"),
    call("api/tunix/runs/<str:run_id>/restore", runs.RestoreView, "api-restore"),
    call("api/tunix/runs/<str:run_id>/cancel", runs.CancelView, "api-cancel"),
    call("api/tunix/runs/<str:run_id>/retry", runs.RetryView, "api-retry"),
    call("api/tunix/runs/<str:run_id>/logs", logs.LogView, "api-logs"),
    call("api/tunix/runs/<str:run_id>/logs/search", logs.LogSearchView, "api-log-search"),
    call("api/tunix/runs/<str:run_id>/logs/download", logs.LogDownloadView, "api-log-download"),
    call("api/tunix/runs/<str:run_id>/metrics", training.MetricsView, "api-metrics"),
    call("api/tunix/runs/<str:run_id>/checkpoints", training.CheckpointListView, "api-checkpoints"),
    call(
        "api/tunix/runs/<str:run_id>/checkpoints/<str:step>/download",
        training.CheckpointDownloadView,
        "api-checkpoint-download",
    ),
    call("api/tunix/runs/<str:run_id>/provenance", training.ProvenanceView, "api-run-record"),
    call("api/tunix/status", server.TunixStatusView, "api-tunix-status"),
    call("api/datasets", datasets.DatasetListView, "api-datasets"),
    call("api/datasets/preview", datasets.DatasetPreviewView, "api-dataset-preview"),
    call("api/datasets/<str:key>", datasets.DatasetView, "api-dataset"),
    call("api/datasets/<str:key>/data", datasets.DatasetDataView, "api-dataset-data"),
    call("api/schema", SpectacularAPIView, "schema"),
    # Its answer to OPTIONS would be a template that it does not name.
    call("api/docs", SpectacularSwaggerSplitView, "api-docs", url_name="schema", http_method_names=["get", "head"]),
    call("metrics", server.PrometheusView, "prometheus"),
    call("healthz", server.HealthView, "healthz"),
    call("readyz", server.ReadyView, "readyz"),
]

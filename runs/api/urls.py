"""Addresses of the API, without a trailing slash; tunix_rt.middleware takes one off."""

from csp.decorators import csp_update
from django.conf import settings
from django.urls import URLPattern, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from runs.api import views

with_inline_styles = csp_update(settings.CSP_WITH_INLINE_STYLES)


def call(route: str, view: type, name: str, **options: str) -> URLPattern:
    return path(route, with_inline_styles(view.as_view(**options)), name=name)  # type: ignore[attr-defined]


urlpatterns = [
    call("api/tunix/run", views.LaunchView, "api-launch"),
    call("api/tunix/runs", views.RunListView, "api-runs"),
    call("api/tunix/runs/<str:run_id>", views.RunView, "api-run"),
    call("api/tunix/runs/<str:run_id>/restore", views.RestoreView, "api-restore"),
    call("api/tunix/runs/<str:run_id>/cancel", views.CancelView, "api-cancel"),
    call("api/tunix/runs/<str:run_id>/retry", views.RetryView, "api-retry"),
    call("api/tunix/runs/<str:run_id>/logs", views.LogView, "api-logs"),
    call("api/tunix/runs/<str:run_id>/logs/download", views.LogDownloadView, "api-log-download"),
    call("api/tunix/status", views.TunixStatusView, "api-tunix-status"),
    call("api/datasets", views.DatasetListView, "api-datasets"),
    call("api/datasets/<str:key>", views.DatasetView, "api-dataset"),
    call("api/datasets/<str:key>/data", views.DatasetDataView, "api-dataset-data"),
    call("api/schema", SpectacularAPIView, "schema"),
    call("api/docs", SpectacularSwaggerSplitView, "api-docs", url_name="schema"),
    call("healthz", views.HealthView, "healthz"),
    call("readyz", views.ReadyView, "readyz"),
]

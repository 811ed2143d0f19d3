"""Addresses of the API, without a trailing slash; tunix_rt.middleware takes one off."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from csp.decorators import csp_update
from django.conf import settings

from runs.api import views

docs = csp_update(settings.CSP_WITH_INLINE_STYLES)(SpectacularSwaggerSplitView.as_view(url_name="schema"))

urlpatterns = [
    path("api/tunix/run", views.LaunchView.as_view(), name="api-launch"),
    path("api/tunix/runs", views.RunListView.as_view(), name="api-runs"),
    path("api/tunix/runs/<str:run_id>", views.RunView.as_view(), name="api-run"),
    path("api/tunix/runs/<str:run_id>/restore", views.RestoreView.as_view(), name="api-restore"),
    path("api/tunix/status", views.TunixStatusView.as_view(), name="api-tunix-status"),
    path("api/datasets", views.DatasetListView.as_view(), name="api-datasets"),
    path("api/datasets/<str:key>", views.DatasetView.as_view(), name="api-dataset"),
    path("api/datasets/<str:key>/data", views.DatasetDataView.as_view(), name="api-dataset-data"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", docs, name="api-docs"),
    path("healthz", views.HealthView.as_view(), name="healthz"),
    path("readyz", views.ReadyView.as_view(), name="readyz"),
    re_path(r"^api/(?P<path>.*)$", views.NotFoundView.as_view()),
]

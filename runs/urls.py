"""Addresses of the pages."""

from django.urls import path

from runs import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("launch/", views.launch, name="launch"),
    path("history-panel/", views.history_panel, name="history-panel"),
    path("runs/", views.history, name="history"),
    path("runs/<str:run_id>/", views.run_page, name="run"),
    path("runs/<str:run_id>/row/", views.run_row, name="run-row"),
    path("runs/<str:run_id>/cancel/", views.cancel, name="run-cancel"),
    path("runs/<str:run_id>/retry/", views.retry, name="run-retry"),
    path("runs/<str:run_id>/annotate/", views.annotate, name="run-annotate"),
    path("runs/<str:run_id>/delete/", views.delete, name="run-delete"),
    path("runs/<str:run_id>/restore/", views.restore, name="run-restore"),
    path("datasets/", views.dataset_list, name="datasets"),
    path("datasets/<str:key>/", views.dataset_page, name="dataset"),
]

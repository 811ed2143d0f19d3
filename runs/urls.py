"""Addresses of the pages."""

from django.urls import path

from runs.views import account, bulk, compare, datasets, events, export, history, log, overview, run, saved, trash

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("launch/", overview.launch, name="launch"),
    path("history-panel/", overview.history_panel, name="history-panel"),
    path("runs/", history.history, name="history"),
    path("runs/bulk/", bulk.bulk, name="bulk"),
    path("runs/export.<str:kind>", export.export, name="export"),
    path("views/", saved.save, name="view-save"),
    path("views/<int:view_id>/forget/", saved.forget, name="view-forget"),
    path("compare/", compare.compare, name="compare"),
    path("runs/<str:run_id>/", run.run_page, name="run"),
    path("runs/<str:run_id>/log/", log.run_log, name="run-log"),
    path("runs/<str:run_id>/log/news/", log.log_news, name="run-log-news"),
    path("runs/<str:run_id>/news/", run.run_news, name="run-news"),
    path("runs/<str:run_id>/charts/", run.run_charts, name="run-charts"),
    path("runs/<str:run_id>/line/", history.run_line, name="run-line"),
    path("runs/<str:run_id>/row/", run.run_row, name="run-row"),
    path("runs/<str:run_id>/cancel/", run.cancel, name="run-cancel"),
    path("runs/<str:run_id>/retry/", run.retry, name="run-retry"),
    path("runs/<str:run_id>/annotate/", run.annotate, name="run-annotate"),
    path("runs/<str:run_id>/delete/", run.delete, name="run-delete"),
    path("runs/<str:run_id>/restore/", run.restore, name="run-restore"),
    path("account/", account.account, name="account"),
    path("account/password/", account.PasswordChangeView.as_view(), name="password"),
    path("account/tokens/<str:token_key>/revoke/", account.revoke, name="token-revoke"),
    path("events/", events.events, name="events"),
    path("events.jsonl", events.export, name="events-export"),
    path("trash/", trash.trash_page, name="trash"),
    path("datasets/", datasets.dataset_list, name="datasets"),
    path("datasets/uploads/<str:upload_id>/", datasets.upload_page, name="dataset-upload"),
    path("datasets/<str:key>/", datasets.dataset_page, name="dataset"),
]

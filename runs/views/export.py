"""Exactly the runs that the filters in the address match, in their order, as CSV or JSON Lines, streamed."""

import csv
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from runs.filters import RunTableFilter
from runs.limits import TRAINING
from runs.metrics import infinity
from runs.models import MetricSeries, TunixRun

COLUMNS = (
    "run_id", "dataset_key", "model_id", "mode", "status", "cause", "exit_code", "started_at", "completed_at",
    "duration_seconds", "step", "message", "notes",
)  # fmt: skip
OF_METRICS = ("metrics", "infinite_metrics")
# A run has up to 10,000 metrics, and so many runs' are in memory at once.
CHUNK = 50


class _Echo:
    """A file whose `write` gives back what it was given, for csv to write into."""

    def write(self, text: str) -> str:
        return text


@require_safe
def export(request: HttpRequest, kind: str) -> HttpResponse | StreamingHttpResponse:
    filters = RunTableFilter(request.GET, TunixRun.objects.alive(), request=request)
    if kind not in KINDS:
        raise Http404
    if not filters.is_valid():
        text = "\n".join(f"{name} {error}" for name, errors in filters.errors.items() for error in errors)
        return HttpResponse(text, content_type="text/plain; charset=utf-8", status=422)
    write, content_type = KINDS[kind]
    answer = StreamingHttpResponse(write(_rows(filters)), content_type=content_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="runs.{kind}"'
    return answer


def _rows(filters: RunTableFilter) -> Iterator[dict[str, Any]]:
    """Rows with their settings, tags and the last value of each metric; of infinities, which JSON writes as null like
    NaN, their words as well."""
    runs = filters.sorted().iterator(CHUNK, lambda runs: runs.prefetch_related("tags").only(*COLUMNS, "config"))
    while some := list(islice(runs, CHUNK)):
        values = _last_values(some)
        for run in some:
            settings = {name: run.config.get(name) for name in TRAINING}
            tags = [tag.name for tag in run.tags.all()]
            metrics = values.get(run.pk, {})
            infinite = {name: word for name, value in metrics.items() if value and (word := infinity(value))}
            row = {name: getattr(run, name) for name in COLUMNS} | settings
            yield row | {"tags": tags, "metrics": metrics, "infinite_metrics": infinite}


def _last_values(runs: list[TunixRun]) -> dict[uuid.UUID, dict[str, float | None]]:
    found: dict[uuid.UUID, dict[str, float | None]] = {}
    series = MetricSeries.objects.filter(run__in=runs).order_by("run", "name")
    for run_id, name, value in series.values_list("run", "name", "last_value").iterator():
        found.setdefault(run_id, {})[name] = value
    return found


def _as_jsonl(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield orjson.dumps(row, option=orjson.OPT_UTC_Z) + b"\n"


def _as_csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Metrics are a column of JSON: which there are is known only at the end."""
    writer = csv.writer(_Echo())
    yield writer.writerow([*COLUMNS, *TRAINING, "tags", *OF_METRICS])
    for row in rows:
        row |= {"tags": ", ".join(row["tags"])} | {name: orjson.dumps(row[name]).decode() for name in OF_METRICS}
        yield writer.writerow([_harmless(value) for value in row.values()])


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


KINDS: dict[str, Any] = {
    "csv": (_as_csv, "text/csv; charset=utf-8"),
    "jsonl": (_as_jsonl, "application/x-ndjson"),
}

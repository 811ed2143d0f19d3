"""Points of a run are bounded, and told where they are left out; who reads them all costs the server little."""

import json
import tracemalloc

import pytest
from django.test import Client

from runs import metrics
from runs.limits import POINTS_PER_RUN
from runs.models import MetricSeries
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db


def losses(count, start=0):
    return [(step, 1.0 / (step + 1), 1.0) for step in range(start, start + count)]


@pytest.fixture
def almost_full():
    """A run that has room for ten points, as its summary says."""
    run = create_run(mode="local", status="running")
    metrics.append(run.pk, {"train/loss": losses(1)})
    MetricSeries.objects.create(run=run, name="filler", count=POINTS_PER_RUN - 11)
    return run


def test_of_too_many_points_the_surplus_is_left_out_and_told(almost_full, api):
    body = {
        "train/loss": [{"step": step, "value": 1} for step in range(1, 8)],
        "eval/loss": [{"step": step, "value": 1} for step in range(10)],
    }
    answer = api.post(f"/api/tunix/runs/{almost_full.pk}/metrics", body).json()
    reason = "a run has at most 10,000,000 points; the first left out was 'eval/loss' at step 3"
    assert answer == {"stored": 10, "left_out": 7, "reason": reason}
    assert {each.name: each.count for each in metrics.series(almost_full) if each.name != "filler"} == {
        "train/loss": 8, "eval/loss": 3,
    }  # fmt: skip
    (notice,) = api.get(f"/api/tunix/runs/{almost_full.pk}").json()["notices"]
    assert (notice["text"], notice["detail"]) == ("7 points of metrics were left out", reason)
    assert "7 points of metrics were left out" in Client().get(f"/runs/{almost_full.pk}/").content.decode()
    assert api.post(f"/api/tunix/runs/{almost_full.pk}/metrics", body).json()["stored"] == 0


def test_surplus_of_names_and_of_points_is_one_number(almost_full, monkeypatch):
    monkeypatch.setattr(metrics, "MAX_SERIES", 2)
    left_out = metrics.append(almost_full.pk, {"train/loss": losses(12, 1), "new": losses(3)})
    assert (left_out.points, left_out.first_name) == (5, "train/loss")


@pytest.fixture
def long_run():
    run = create_run(mode="local", status="running")
    for start in range(0, 100_000, 10_000):
        metrics.append(run.pk, {name: losses(10_000, start) for name in ("a", "b", "c", "d")})
    metrics.append(run.pk, {"zero": losses(1, 5)})
    return run


def test_all_points_are_streamed_in_bounded_memory(long_run, api):
    address = f"/api/tunix/runs/{long_run.pk}/metrics"
    answer = api.get(address)
    tracemalloc.start()
    try:
        size = sum(len(part) for part in answer.streaming_content)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 20e6
    assert most < 12e6
    answer = api.get(f"{address}?first_step=99999&name=a&name=zero")
    found = json.loads(b"".join(answer.streaming_content))
    assert found == {"a": [{"step": 99_999, "value": 1e-5, "time": "1970-01-01T00:00:01Z"}], "zero": []}
    whole = json.loads(b"".join(api.get(address).streaming_content))
    assert {name: len(rows) for name, rows in whole.items()} == dict.fromkeys("abcd", 100_000) | {"zero": 1}
    assert [row["step"] for row in whole["c"]] == list(range(100_000))

"""Metric series: what is stored, what a chart gets, and the API of both."""

import json
import math
import random
import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from runs import metrics
from runs.metrics import BLOCK_STEPS, Points, thinned
from runs.models import MetricBlock, MetricSeries
from runs.tests.helpers import assert_error, create_run

pytestmark = pytest.mark.django_db
VALUES = st.one_of(st.floats(), st.floats(-10, 10))
POINTS = st.lists(st.tuples(st.integers(0, 3 * BLOCK_STEPS), VALUES, st.floats(0, 2e9)), max_size=30)
BATCHES = st.lists(st.dictionaries(st.sampled_from(["train/loss", "eval/loss", "kl"]), POINTS, max_size=3), max_size=5)
MOMENT = datetime(2025, 12, 22, 14, 30, tzinfo=UTC)


def training(**fields):
    return create_run(**{"mode": "local", "status": "running"} | fields)


def losses(count, start=0):
    return [(start + n, 1 / (1 + start + n), MOMENT.timestamp() + n) for n in range(count)]


def values_of(run, name="train/loss", **options):
    return list(metrics.read(run, [name], **options)[name].values)


def exact(value):
    """Comparable by its bits: NaN is NaN."""
    return "nan" if math.isnan(value) else value


@given(BATCHES)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_was_appended_last_at_a_step_is_read(batches):
    run = training()
    expected: dict = {}
    for batch in batches:
        metrics.append(run.pk, batch)
        for name, points in batch.items():
            for step, value, moment in points:
                expected.setdefault(name, {})[step] = (step, exact(value), moment)
    found = metrics.read(run)
    assert {name: [(s, exact(v), t) for s, v, t in points] for name, points in found.items()} == {
        name: [points[step] for step in sorted(points)] for name, points in expected.items()
    }
    for series in metrics.series(run):
        finite = [value for _, value, _ in expected[series.name].values() if value != "nan" and math.isfinite(value)]
        last = expected[series.name][max(expected[series.name])]
        assert (series.count, series.last_step) == (len(expected[series.name]), last[0])
        assert exact(series.last) == last[1]
        assert (series.minimum, series.maximum) == ((min(finite), max(finite)) if finite else (None, None))


def test_a_batch_is_stored_whole_or_not_at_all():
    run = training()
    with pytest.raises(ValueError, match="no name of a metric"):
        metrics.append(run.pk, {"good": losses(3), "bad\0": losses(3)})
    assert metrics.read(run) == {}


def test_a_run_has_ten_thousand_series_and_of_more_only_the_surplus_is_left_out():
    run = training()
    assert metrics.append(run.pk, {f"m{n}": losses(1) for n in range(metrics.MAX_SERIES - 1)}) == metrics.LeftOut()
    left_out = metrics.append(run.pk, {"last": losses(2), "more": losses(3), "m1": losses(2), "most": losses(1)})
    assert left_out == metrics.LeftOut(4, "more", 0)
    found = metrics.read(run, ["m1", "last", "more"])
    assert {name: len(points) for name, points in found.items()} == {"m1": 2, "last": 2}
    assert MetricSeries.objects.filter(run=run).count() == metrics.MAX_SERIES == 10_000


@pytest.mark.parametrize("name", ["", " a", "a ", "a\0b", "a\nb", "\ud800", "x" * 129])
def test_a_name_that_is_none(name):
    assert not metrics.NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["a", "train/loss", "x" * 128, "Größe im µ", "a b"])
def test_a_name(name):
    assert metrics.NAME.fullmatch(name)


def test_points_go_with_their_run():
    run = training()
    metrics.append(run.pk, {"train/loss": losses(3)})
    run.delete()
    assert not MetricBlock.objects.exists()


# --- down-sampling ----------------------------------------------------------------------------------------------------


@given(st.lists(VALUES, max_size=400), st.integers(4, 60))
def test_a_thinned_series_keeps_its_ends_and_its_peaks(values, most):
    points = Points.of((step, value, 0.0) for step, value in enumerate(values))
    thin = thinned(points, most)
    assert len(thin) <= max(most, 4)
    assert list(thin.steps) == sorted(set(thin.steps))
    finite = [value for value in values if math.isfinite(value)]
    if values:
        assert (thin.steps[0], thin.steps[-1]) == (0, len(values) - 1)
        assert any(not math.isfinite(v) for v in thin.values) == (len(finite) < len(values))
    if finite:
        assert max(finite) in thin.values
        if len(finite) == len(values):
            assert min(finite) in thin.values


def test_a_million_points_are_thinned_from_their_outlines():
    """A chart of a million points costs a small part of reading them, and shows the one that is off."""
    run, chance = training(), random.Random(1)
    for start in range(0, 1_000_000, 50_000):
        steps = range(start, start + 50_000)
        metrics.append(run.pk, {"train/loss": [(s, chance.random(), 1e9 + s) for s in steps]})
    metrics.append(run.pk, {"train/loss": [(654_321, 9.0, 1e9), (123_456, -9.0, 1e9)]})
    started = time.monotonic()
    whole = metrics.read(run)["train/loss"]
    reading, started = time.monotonic() - started, time.monotonic()
    chart = metrics.read(run, max_points=1_000)["train/loss"]
    charting = time.monotonic() - started
    print(f"1,000,000 points: whole {reading:.3f} s, down to 1,000 in {charting:.3f} s")
    assert len(whole) == 1_000_000 and 900 < len(chart) <= 1_000
    found = dict(zip(chart.steps, chart.values, strict=True))
    assert (found[654_321], found[123_456]) == (9.0, -9.0)
    assert charting < 0.3
    assert charting < reading


# --- API --------------------------------------------------------------------------------------------------------------


def read(api, run, query=""):
    answer = api.get(f"/api/tunix/runs/{run.run_id}/metrics{query}")
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    return json.loads(b"".join(answer.streaming_content))


def test_it_works(api):
    run = training()
    metrics.append(run.pk, {"train/loss": [(1, 0.5, MOMENT.timestamp()), (2, math.nan, MOMENT.timestamp())]})
    assert read(api, run) == {
        "train/loss": [
            {"step": 1, "value": 0.5, "time": "2025-12-22T14:30:00Z"},
            {"step": 2, "value": None, "time": "2025-12-22T14:30:00Z"},
        ]
    }


def test_a_run_without_metrics_has_none(api):
    assert read(api, create_run()) == {}


def test_some_of_the_series(api):
    run = training()
    metrics.append(run.pk, {"a": losses(1), "b": losses(1), "c": losses(1)})
    assert set(read(api, run, "?name=a&name=c&name=unknown")) == {"a", "c"}


def test_many_points_are_streamed_whole(api):
    run = training()
    metrics.append(run.pk, {"a": losses(25_000), "b": losses(10_000)})
    found = read(api, run)
    assert [row["step"] for row in found["a"]] == list(range(25_000))
    assert len(found["b"]) == 10_000
    assert len(read(api, run, "?max_points=100&name=a")["a"]) <= 100


@pytest.mark.parametrize("most", ["3", "100001", "x", "", "-1"])
def test_max_points_has_bounds(api, most):
    answer = api.get(f"/api/tunix/runs/{training().run_id}/metrics?max_points={most}")
    assert_error(answer, 422, "max_points must be between 4 and 100,000")


def test_a_stretch_of_the_steps(api):
    run = training()
    metrics.append(run.pk, {"a": losses(3_000), "b": losses(10)})
    found = read(api, run, "?first_step=500&last_step=1100")
    assert [row["step"] for row in found["a"]] == list(range(500, 1101)) and found["b"] == []
    assert [row["step"] for row in read(api, run, "?last_step=2&name=b")["b"]] == [0, 1, 2]
    assert len(read(api, run, "?first_step=500&max_points=100&name=a")["a"]) <= 100


@pytest.mark.parametrize("name", ["first_step", "last_step"])
@pytest.mark.parametrize("step", ["-1", "x", "", "1.5", str(2**53 + 1)])
def test_a_step_has_bounds(api, name, step):
    answer = api.get(f"/api/tunix/runs/{training().run_id}/metrics?{name}={step}")
    assert_error(answer, 422, f"{name} must be between 0 and {2**53:,}")


def test_post_takes_what_get_gives(api):
    one, two = training(), training()
    rest = [(3, math.nan, 1e9), (4, math.inf, 1e9), (5, -math.inf, 1e9)]
    metrics.append(one.pk, {"train/loss": losses(600), "kl": rest})
    answer = api.post(f"/api/tunix/runs/{two.run_id}/metrics", read(api, one))
    assert (answer.status_code, answer.json()) == (200, {"stored": 603})
    assert read(api, two) == read(api, one)
    assert [(row["value"], row.get("infinite")) for row in read(api, two)["kl"]] == [
        (None, None), (None, "Infinity"), (None, "-Infinity"),
    ]  # fmt: skip
    assert [exact(value) for value in values_of(two, "kl")] == ["nan", math.inf, -math.inf]
    api.post(f"/api/tunix/runs/{two.run_id}/metrics", {"kl": [{"step": 3, "value": 1}]})
    assert values_of(two, "kl")[0] == 1.0


def test_post_takes_what_trainers_write(api):
    run = training()
    rows = [{"step": 1.0, "value": "NaN", "time": 1735689600000}, {"step": 2, "value": "-Infinity", "time": 1.7e9}]
    assert api.post(f"/api/tunix/runs/{run.run_id}/metrics", {"a": rows}).json() == {"stored": 2}
    assert [row["time"] for row in read(api, run)["a"]] == ["2025-01-01T00:00:00Z", "2023-11-14T22:13:20Z"]
    assert [exact(value) for value in values_of(run, "a")] == ["nan", -math.inf]


@pytest.mark.parametrize(
    ("body", "place", "reason"),
    [
        ([], "body", "must be an object of series"),
        ({"": []}, "", "must be the name of a metric and have a list of points"),
        ({"a": {}}, "a", "must be the name of a metric and have a list of points"),
        ({"a": [{"step": 1}]}, "a.0", "must have step, value and perhaps time"),
        ({"a": [{"step": 1, "value": 1, "x": 1}]}, "a.0", "must have step, value and perhaps time"),
        ({"a": [{"step": -1, "value": 1}]}, "a.0", "step must be a whole number from 0 on"),
        ({"a": [{"step": 1.5, "value": 1}]}, "a.0", "step must be a whole number from 0 on"),
        ({"a": [{"step": 2**60, "value": 1}]}, "a.0", "step must be a whole number from 0 on"),
        ({"a": [{"step": 1, "value": "1"}]}, "a.0", "value must be a number or null"),
        (
            {"a": [{"step": 1, "value": 1, "infinite": "Infinity"}]},
            "a.0",
            "infinite must be Infinity or -Infinity, and the value null",
        ),
        (
            {"a": [{"step": 1, "value": None, "infinite": "much"}]},
            "a.0",
            "infinite must be Infinity or -Infinity, and the value null",
        ),
        ({"a": [{"step": 1, "value": 1, "time": 5}]}, "a.0", "time must be one such as 2025-12-22T14:30:00Z"),
        ({"a": [{"step": 1, "value": 1, "time": "now"}]}, "a.0", "time must be one such as 2025-12-22T14:30:00Z"),
    ],
)
def test_post_refuses(api, body, place, reason):
    run = training()
    error = assert_error(api.post(f"/api/tunix/runs/{run.run_id}/metrics", body), 422)
    assert error["errors"] == {place: [reason]}
    assert metrics.read(run) == {}


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"status": "pending"}, "is pending"),
        ({"status": "completed"}, "is completed"),
        ({"mode": "dry-run"}, "is a dry run"),
    ],
)
def test_only_a_run_that_trains_takes_metrics(api, fields, what):
    answer = api.post(f"/api/tunix/runs/{training(**fields).run_id}/metrics", {"a": [{"step": 1, "value": 1}]})
    assert_error(answer, 409, f"The run {what}: metrics are taken while it trains.")

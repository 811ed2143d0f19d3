"""The history with metrics as columns, and in their order."""

import math
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs import metrics
from runs.models import MetricSeries, TunixRun
from runs.tests.helpers import create_run
from runs.tests.test_plans import Plan

pytestmark = pytest.mark.django_db


def trained(name, value, **fields):
    run = create_run(mode="local", dataset_key=f"{name}-v1", **fields)
    metrics.append(run.run_id, {"train/loss": [(1, 9.0, 1.7e9), (2, value, 1.7e9)]})
    return run


def order(client, query):
    page = client.get(f"/runs/?{query}")
    assert page.status_code == 200, query
    return re.findall(r'<td role="cell" class="dataset"><span class="clip" title="(\w+)-v1">', page.content.decode())


@pytest.fixture
def runs():
    return [
        trained(name, value) for name, value in (("b", 0.5), ("a", 0.25), ("d", 2.0), ("c", 1.0), ("nan", math.nan))
    ]


def test_sorted_by_a_metric_are_those_that_have_it(client, runs):
    create_run(dataset_key="without-v1")
    trained("inf", math.inf), trained("less", -math.inf)
    assert order(client, "sort=metric:train/loss") == ["less", "a", "b", "c", "d", "inf", "nan"]
    assert order(client, "sort=-metric:train/loss") == ["inf", "d", "c", "b", "a", "less", "nan"]
    assert order(client, "sort=metric:nothing/of/it") == []


def test_with_filters_and_pages(client, runs):
    for number in range(25):
        trained(f"more{number:02}", 10.0 + number, status="failed")
    assert order(client, "sort=metric:train/loss&status=completed") == ["a", "b", "c", "d", "nan"]
    assert order(client, "sort=metric:train/loss&page=2") == [f"more{number:02}" for number in range(16, 25)] + ["nan"]


@pytest.mark.parametrize("deep", [1, 10_000])
def test_nan_is_last_on_whichever_page_it_falls(client, monkeypatch, deep):
    """And a page far behind, which is read in another way, has each run once."""
    monkeypatch.setattr("runs.querysets.DEEP_OFFSET", deep)
    for number in range(30):
        run = trained(f"n{number:02}", number if number < 20 else math.nan)
        metrics.append(run.run_id, {"eval/loss": [(1, 1.0, 1.7e9)]})
    pages = [order(client, f"sort=metric:train/loss&page={page}") for page in (1, 2, 3)]
    assert pages[0] == [f"n{number:02}" for number in range(20)]
    assert sorted(pages[1]) == [f"n{number:02}" for number in range(20, 30)] and pages[2] == []
    TunixRun.objects.filter(dataset_key="n00-v1").delete()
    pages = [order(client, f"sort=-metric:train/loss&page={page}") for page in (1, 2)]
    assert len(set(pages[0] + pages[1])) == 29 and pages[0][:19] == [f"n{number:02}" for number in range(19, 0, -1)]


def test_the_same_value_keeps_one_order(client):
    runs = [trained(f"x{number}", 1.0) for number in range(5)]
    expected = [run.dataset_key[:-3] for run in sorted(runs, key=lambda run: run.run_id)]
    assert order(client, "sort=metric:train/loss") == expected
    assert order(client, "sort=-metric:train/loss") == expected[::-1]


def test_columns(client, runs, django_assert_max_num_queries):
    metrics.append(runs[0].run_id, {"eval/loss": [(1, 0.125, 1.7e9)]})
    for run, value in zip(runs[1:], (math.nan, math.inf, -math.inf), strict=False):
        metrics.append(run.run_id, {"eval/loss": [(1, value, 1.7e9)]})
    with django_assert_max_num_queries(14):
        page = client.get("/runs/?column=train/loss&column=eval/loss").content.decode()
    assert page.count('class="num metric"') == 10
    for said in ("0.125", "NaN", "+∞", "−∞"):
        assert page.count(f'data-label="eval/loss">{said}</td>') == 1, said
    assert 'data-label="train/loss">2.0' not in page
    assert "sort=metric%3Atrain%2Floss" in page and 'name="column" value="train/loss"' in page
    assert page.count('type="checkbox" name="column"') == 2


def test_six_columns_at_most(client, runs):
    query = "&".join(f"column=m{number}" for number in range(9))
    assert client.get(f"/runs/?{query}").content.decode().count('data-label="m') == 6 * len(runs)


@pytest.mark.parametrize("sort", ["metric:", "metric:%00", "metric", "-metric: x", "metric:" + "x" * 129])
def test_a_sort_that_cannot_be_one_is_named(client, runs, sort):
    page = client.get(f"/runs/?sort={sort}")
    assert page.status_code == 422 and "or metric: and the name of a metric" in page.content.decode()


def test_an_export_has_the_order_too(client, runs):
    rows = b"".join(client.get("/runs/export.csv?sort=metric:train/loss").streaming_content).decode().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["a-v1", "b-v1", "c-v1", "d-v1", "nan-v1"]


def test_a_page_in_the_order_of_a_metric_is_read_off_an_index(client):
    TunixRun.objects.bulk_create(create_like(number) for number in range(3_000))
    MetricSeries.objects.bulk_create(
        MetricSeries(run=run, name=name, count=1, last_value=hash((run.pk.int, name)) % 1000)
        for run in TunixRun.objects.all()
        for name in ("train/loss", "eval/loss")
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for sort in ("metric:train/loss", "-metric:train/loss"):
        with CaptureQueriesContext(connection) as context:
            client.get(f"/runs/?sort={sort}")
        (query,) = [
            each["sql"] for each in context.captured_queries if "ORDER BY" in each["sql"] and "LIMIT 21" in each["sql"]
        ]
        plan = Plan(query)
        assert "ix_tunix_metrics_value" in plan and not plan.sorts and not plan.reads_all, plan


def create_like(number):
    return TunixRun(
        dataset_key=f"d{number % 5}-v1",
        model_id="m",
        mode="local",
        status="completed",
        completed_at="2025-12-22T14:30:00Z",
    )


# --- rows that are alive ----------------------------------------------------------------------------------------------


def test_only_rows_that_are_under_way_ask_again(client):
    running, ended = create_run(mode="local", status="running"), create_run(mode="local")
    metrics.append(running.run_id, {"train/loss": [(1, 0.5, 1.7e9)]})
    page = client.get("/runs/?column=train/loss").content.decode()
    assert f"/runs/{running.run_id}/line/?column=train%2Floss" in page and f"/runs/{ended.run_id}/line/" not in page
    line = client.get(f"/runs/{running.run_id}/line/?column=train/loss").content.decode()
    assert line.strip().startswith("<tr") and 'data-label="train/loss">0.5' in line and "every 5s" in line
    TunixRun.objects.filter(pk=running.pk).update(status="completed", completed_at=running.started_at)
    assert "every 5s" not in client.get(f"/runs/{running.run_id}/line/").content.decode()

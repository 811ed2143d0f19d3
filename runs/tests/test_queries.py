"""What the API asks of the database: how many queries, and over which columns."""

import uuid
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import TunixRun
from runs.querysets import DEEP_OFFSET, LISTED_VALUES
from runs.tests.helpers import LAUNCH, create_run, ids

pytestmark = pytest.mark.django_db
MOMENT = datetime(2025, 12, 22, 14, 30, tzinfo=UTC)
LISTS = [
    "", "limit=100", "offset=1", f"offset={DEEP_OFFSET}", "cursor=", "status=completed", "mode=dry-run",
    "dataset_key=arithmetic-v1", "model_id=google/gemma-2b-it", "status=completed,failed&mode=dry-run,local", "tag=a,b",
    "started_after=2025-01-01&started_before=2030-01-01", "status=lost",
]  # fmt: skip


@pytest.fixture
def asked():
    """The SQL of the queries made so far."""
    with CaptureQueriesContext(connection) as context:
        yield lambda: [query["sql"] for query in context.captured_queries]


@pytest.mark.parametrize("query", LISTS)
def test_a_list_is_one_query_that_neither_counts_nor_reads_logs(api, query):
    for _ in range(3):
        create_run(stdout="out", stderr="err", tags=("a", "b"), started_at=MOMENT)
    with CaptureQueriesContext(connection) as context:
        assert api.get(f"/api/tunix/runs?{query}").status_code == 200
    (sql,) = [each["sql"] for each in context.captured_queries]
    assert sql.startswith("SELECT")
    for unwanted in ("COUNT(", "stdout", "stderr", "config", "notes", '"message"'):
        assert unwanted not in sql


@pytest.mark.parametrize("rows", [1, 50])
def test_a_search_is_four_queries_whatever_it_finds(api, rows):
    """One for the page, and one each for the different datasets, models and tags."""
    for number in range(rows):
        create_run(dataset_key=f"d{number}-v1", model_id=f"m{number}", tags=("a",))
    with CaptureQueriesContext(connection) as context:
        assert api.get("/api/tunix/runs?q=d m 1 v1 a").status_code == 200
    assert len(context) == 4
    assert not any("COUNT(" in query["sql"] or "stdout" in query["sql"] for query in context.captured_queries)


def test_a_search_of_many_words_over_many_values_is_one_statement_still(api):
    """Every word is in every value: listing them would take more variables than a statement may have."""
    count = LISTED_VALUES + 1
    TunixRun.objects.bulk_create(
        TunixRun(
            dataset_key=f"abcdefghij-{number}", model_id=f"abcdefghij/{number}", mode="dry-run", status="running",
            started_at=MOMENT, config={},
        )
        for number in range(count)
    )  # fmt: skip
    word = "abcdefghij"
    words = sorted({word[start:end] for start in range(10) for end in range(start + 1, 11)})
    answer = api.get("/api/tunix/runs?limit=100&q=" + " ".join(words)[:200])
    assert len(ids(answer)) == 100


def test_a_detail_is_two_queries(api, django_assert_num_queries):
    run = create_run(tags=("a", "b", "c"))
    with django_assert_num_queries(2):
        assert api.get(f"/api/tunix/runs/{run.run_id}").status_code == 200


def test_a_run_that_is_not_there_is_one_query(api, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert api.get(f"/api/tunix/runs/{uuid.uuid4()}").status_code == 404


def test_a_dry_run_is_three_queries_two_before_and_one_after(api, dataset, asked):
    assert api.post("/api/tunix/run", LAUNCH).status_code == 200
    insert, event, update = (sql for sql in asked() if "SAVEPOINT" not in sql)
    assert event.startswith('INSERT INTO "tunix_events"')
    assert insert.startswith('INSERT INTO "tunix_runs"')
    assert update.startswith('UPDATE "tunix_runs" SET "status"')
    assert "\"status\" = 'running'" in update.partition("WHERE")[2]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "/api/tunix/runs/nonsense", None),
        ("get", "/api/tunix/runs?limit=0", None),
        ("get", "/api/tunix/runs?status=nonsense", None),
        ("get", "/api/tunix/runs?cursor=nonsense", None),
        ("post", "/api/tunix/run", {}),
        ("post", "/api/tunix/run", LAUNCH | {"dry_run": False}),
        ("get", "/api/tunix/status", None),
        ("get", "/api/datasets", None),
        ("get", "/api/nothing", None),
        ("get", "/healthz", None),
    ],
)
def test_what_needs_no_database_asks_none(api, django_assert_num_queries, method, path, body):
    with django_assert_num_queries(0):
        getattr(api, method)(path, body)


def test_annotating_writes_no_other_column(api, asked):
    run = create_run(tags=("a",))
    assert api.patch(f"/api/tunix/runs/{run.run_id}", {"tags": ["b"], "notes": "x"}).status_code == 200
    (update,) = [sql for sql in asked() if sql.startswith('UPDATE "tunix_runs"')]
    assert update.startswith('UPDATE "tunix_runs" SET "notes" = \'x\' WHERE')

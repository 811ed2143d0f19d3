"""By which index the database answers: the same promises on SQLite and on PostgreSQL, read from their own plans."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import RunTag, TunixRun
from runs.querysets import DEEP_OFFSET

pytestmark = pytest.mark.django_db
MOMENT = datetime(2025, 12, 22, 14, 30, tzinfo=UTC)
ROWS = 20_000


@pytest.fixture(scope="module", autouse=True)
def many_runs(django_db_setup, django_db_blocker):
    """20,000 runs of 40 datasets and models; few are failed, local, tagged or in the trash. The planner knows of them."""
    with django_db_blocker.unblock():
        TunixRun.objects.bulk_create(map(nth_run, range(ROWS)), batch_size=1_000)
        RunTag.objects.bulk_create(RunTag(run=run, name="rare") for run in TunixRun.objects.filter(mode="local"))
        RunTag.objects.bulk_create(
            RunTag(run=run, name="common") for run in TunixRun.objects.filter(dataset_key="d3-v1")
        )
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":  # as autovacuum leaves it; other tests have filled and emptied it
                cursor.execute("VACUUM FULL tunix_runs, tunix_run_tags")
                cursor.execute("VACUUM")
            cursor.execute("ANALYZE")
        yield
        RunTag.objects.all().delete()
        TunixRun.objects.all()._raw_delete(using="default")


def nth_run(number):
    return TunixRun(
        run_id=uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128),
        dataset_key=f"d{number % 40}-v1",
        model_id=f"owner/m{number * 7 % 40}",
        mode="local" if number % 500 == 0 else "dry-run",
        status="failed" if number % 400 == 0 else "completed",
        started_at=MOMENT + timedelta(seconds=number),
        completed_at=MOMENT + timedelta(seconds=number + 1),
        duration_seconds=1.0,
        deleted_at=MOMENT + timedelta(days=1) if number % 1000 == 999 else None,
    )


class Plan:
    """What the database says it will do: the indexes it goes by, and whether it sorts or reads the whole table."""

    def __init__(self, sql):
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
                self.text = "\n".join(row[3] for row in cursor.fetchall())
                self.sorts = "USE TEMP B-TREE FOR ORDER BY" in self.text
                self.reads_all = any(line in ("SCAN tunix_runs", "SCAN U0") for line in self.text.splitlines())
            else:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
                (plan,) = cursor.fetchone()
                plan = plan if isinstance(plan, list) else json.loads(plan)
                self.text = json.dumps(plan, indent=1)
                nodes = list(nodes_of(plan[0]["Plan"]))
                self.sorts = any("Sort" in node["Node Type"] for node in nodes)
                self.reads_all = any(
                    (node["Node Type"], node.get("Relation Name")) == ("Seq Scan", "tunix_runs") for node in nodes
                )

    def __contains__(self, index):
        return index in self.text

    def __repr__(self):
        return self.text


def nodes_of(node):
    yield node
    for child in node.get("Plans", ()):
        yield from nodes_of(child)


def plan_of_list(api, query):
    with CaptureQueriesContext(connection) as context:
        assert api.get(f"/api/tunix/runs?{query}").json()["data"], "a plan for nothing shows nothing"
    return Plan(context.captured_queries[-1]["sql"])


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("", "ix_tunix_runs_started_at"),
        ("offset=500", "ix_tunix_runs_started_at"),
        ("cursor=", "ix_tunix_runs_started_at"),
        ("started_before=2025-12-22T15:00:00Z", "ix_tunix_runs_started_at"),
        ("started_after=2025-12-22T19:00:00Z", "ix_tunix_runs_started_at"),
        ("dataset_key=d7-v1", "ix_tunix_runs_dataset_key"),
        ("model_id=owner/m7", "ix_tunix_runs_model_id"),
        ("status=failed", "ix_tunix_runs_status"),
        ("mode=local", "ix_tunix_runs_mode"),
        ("mode=local&cursor=", "ix_tunix_runs_mode"),
    ],
)
def test_a_page_is_read_off_an_index_in_its_order(api, query, index):
    plan = plan_of_list(api, query)
    assert index in plan
    assert not plan.sorts
    assert not plan.reads_all


@pytest.mark.parametrize(
    "query", ["status=completed", "status=completed,failed", "tag=rare", "dataset_key=d1-v1,d2-v1", "mode=dry-run", "q=d39",
              "q=owner/m39", "q=rare", "q=v1", "q=00000000"]
)  # fmt: skip
def test_no_page_reads_the_whole_table(api, query):
    assert not plan_of_list(api, query).reads_all


def test_a_page_by_cursor_seeks(api):
    cursor = api.get("/api/tunix/runs?cursor=&limit=5").json()["pagination"]["next_cursor"]
    plan = plan_of_list(api, f"cursor={cursor}")
    assert "ix_tunix_runs_started_at" in plan
    assert "started_at<" in plan or '"Index Cond": "(started_at <=' in plan
    assert not plan.sorts


def test_a_deep_page_reads_its_keys_off_the_index(api):
    plan = plan_of_list(api, f"offset={DEEP_OFFSET + 5_000}")
    assert "ix_tunix_runs_started_at" in plan
    assert not plan.reads_all


def test_the_trash_has_an_index_of_its_own():
    trash = TunixRun.objects.filter(deleted_at__isnull=False, deleted_at__lt=MOMENT + timedelta(days=7))
    assert "ix_tunix_runs_trash" in trash.explain()

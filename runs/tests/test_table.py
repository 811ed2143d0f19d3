"""The table tunix_runs as the database itself knows it: columns, constraints, indexes."""

import uuid

import pytest
from django.db import IntegrityError, connection, transaction

from runs.models import RunTag, TunixRun
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db
FINAL = ["completed", "failed", "timeout", "cancelled"]
OPEN = ["pending", "running", "lost"]


def described():
    with connection.cursor() as cursor:
        return {each.name: each for each in connection.introspection.get_table_description(cursor, "tunix_runs")}


def test_the_columns_of_the_contract_are_there():
    columns = described()
    assert set(columns) >= {
        "run_id", "dataset_key", "model_id", "mode", "status", "exit_code", "started_at", "completed_at",
        "duration_seconds", "stdout", "stderr", "created_at", "output_dir", "message", "config",
    }  # fmt: skip
    nullable = {name for name, column in columns.items() if column.null_ok}
    assert nullable == {
        "exit_code", "completed_at", "duration_seconds", "owner_id", "deleted_at", "retry_of_id", "cancel_requested_at",
        "lease_expires_at", "heartbeat_at", "slot", "step", "total_steps", "reproduces_id",
    }  # fmt: skip


def test_the_texts_have_the_lengths_of_the_contract():
    columns = described()
    lengths = {name: columns[name].display_size for name in ("dataset_key", "model_id", "mode", "status")}
    assert lengths == {"dataset_key": 256, "model_id": 256, "mode": 64, "status": 64}


def test_the_primary_key_is_the_run_id():
    with connection.cursor() as cursor:
        assert connection.introspection.get_primary_key_columns(cursor, "tunix_runs") == ["run_id"]


def constraints(table="tunix_runs"):
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, table)


@pytest.mark.parametrize("first", ["started_at", "dataset_key", "status", "mode", "model_id"])
def test_every_filter_has_an_index_in_the_lists_order(first):
    """Ending in `started_at DESC, run_id DESC`: a page of a rare value is read off, not searched for."""
    index = constraints()[f"ix_tunix_runs_{first}"]
    columns = [first, "started_at", "run_id"] if first != "started_at" else ["started_at", "run_id"]
    assert index["index"] is True
    assert index["columns"] == columns
    assert index["orders"] == ["ASC"] * (len(columns) - 2) + ["DESC", "DESC"]


def test_tags_have_an_index_by_name_and_are_unique_in_a_run():
    found = constraints("tunix_run_tags")
    assert found["ix_tunix_run_tags_name"]["columns"] == ["name", "run_id"]
    assert found["uq_tunix_run_tags"]["unique"] is True


def test_no_index_is_there_twice():
    """`db_index=True` would make a second one, `_like`, on PostgreSQL."""
    for table in ("tunix_runs", "tunix_run_tags"):
        columns = [
            (tuple(each["columns"]), tuple(each.get("orders") or ()))
            for each in constraints(table).values()
            if each["index"] or each["unique"]
        ]
        assert len(columns) == len(set(columns))


def refused_by_the_database(run, assignment, *values):
    """SQL, past everything that Django checks."""
    key = run.run_id if connection.vendor == "postgresql" else run.run_id.hex
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE tunix_runs SET {assignment} WHERE run_id = %s", [*values, key])
    before = TunixRun.objects.filter(pk=run.pk).values().get()
    run.refresh_from_db()
    assert TunixRun.objects.filter(pk=run.pk).values().get() == before


@pytest.mark.parametrize("status", ["done", "", "COMPLETED", "completed ", "unknown"])
def test_a_status_that_is_none_is_refused(status):
    refused_by_the_database(create_run(), "status = %s", status)


@pytest.mark.parametrize("mode", ["dryrun", "", "LOCAL", "remote"])
def test_a_mode_that_is_none_is_refused(mode):
    refused_by_the_database(create_run(), "mode = %s", mode)


@pytest.mark.parametrize("status", FINAL)
def test_a_final_status_without_an_end_is_refused(status):
    refused_by_the_database(create_run(status=status), "completed_at = NULL")
    refused_by_the_database(create_run(status="running"), "status = %s", status)


@pytest.mark.parametrize("status", OPEN)
def test_an_end_without_a_final_status_is_refused(status):
    refused_by_the_database(create_run(status=status), "completed_at = %s", "2025-12-22 14:30:00+00")
    refused_by_the_database(create_run(status="completed"), "status = %s", status)


@pytest.mark.parametrize("status", FINAL + OPEN)
def test_every_status_of_the_contract_is_taken(status):
    assert create_run(status=status).status == status


@pytest.mark.parametrize(
    "column",
    ["dataset_key", "model_id", "mode", "status", "started_at", "stdout", "stderr", "created_at", "config", "message"],
)
def test_null_is_refused_where_the_contract_has_none(column):
    refused_by_the_database(create_run(), f"{column} = NULL")


def test_a_tag_twice_on_one_run_is_refused():
    run = create_run(tags=("a",))
    with pytest.raises(IntegrityError), transaction.atomic():
        RunTag.objects.create(run=run, name="a")
    assert run.tags.count() == 1


def test_tags_go_with_their_run():
    run = create_run(tags=("a", "b"))
    run.delete()
    assert not RunTag.objects.exists()


def test_the_run_id_is_made_by_us():
    one, other = create_run(), create_run()
    assert isinstance(one.run_id, uuid.UUID)
    assert one.run_id.version == 4
    assert one.run_id != other.run_id


def test_text_of_10240_bytes_of_any_language_fits():
    text = "損" * 3413
    run = create_run(stdout=text, stderr=text)
    run.refresh_from_db()
    assert (run.stdout, run.stderr) == (text, text)

"""Migrations run forward and back, on the database that the tests run on."""

import math

import pytest
from django.core.management import call_command
from django.db import connection

from runs import metrics
from runs.models import MetricSeries, TunixRun
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db(transaction=True)


def tables():
    return {name for name in connection.introspection.table_names() if name.startswith("tunix_")}


def schema():
    """Columns and constraints of our tables, as the database tells them."""
    found = {}
    with connection.cursor() as cursor:
        for table in sorted(tables()):
            columns = connection.introspection.get_table_description(cursor, table)
            # What a column was typed as, not where it lies.
            found[table] = (
                [(column.name, column.null_ok, column.display_size) for column in columns],
                sorted(map(str, connection.introspection.get_constraints(cursor, table).items())),
            )
    return found


def test_back_to_nothing_and_forward_again():
    before = schema()
    assert set(before) == {
        "tunix_runs", "tunix_run_tags", "tunix_metrics", "tunix_metric_blocks", "tunix_saved_views", "tunix_events",
        "tunix_api_tokens",
    }  # fmt: skip
    try:
        call_command("migrate", "runs", "zero", verbosity=0)
        assert tables() == set()
    finally:
        call_command("migrate", verbosity=0)
    assert schema() == before
    create_run(tags=("a",))
    assert TunixRun.objects.count() == 1


def test_each_migration_goes_back_by_itself():
    from django.db.migrations.loader import MigrationLoader

    names = sorted(name for app, name in MigrationLoader(connection).graph.nodes if app == "runs")
    try:
        for name in reversed(["zero", *names[:-1]]):
            call_command("migrate", "runs", name, verbosity=0)
            call_command("migrate", "runs", names[-1], verbosity=0)
            call_command("migrate", "runs", name, verbosity=0)
    finally:
        call_command("migrate", verbosity=0)
    assert "tunix_runs" in tables()


def test_the_models_have_no_change_without_a_migration():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_migrating_twice_is_as_once(capsys):
    call_command("migrate", verbosity=1)
    assert "No migrations to apply." in capsys.readouterr().out


def test_infinities_that_were_stored_as_nothing_are_known_again():
    run = create_run(mode="local")
    for name, value in (("up", math.inf), ("down", -math.inf), ("nan", math.nan), ("one", 1.0)):
        metrics.append(run.pk, {name: [(1, 0.5, 1.7e9), (2, value, 1.7e9), (2_000, value, 1.7e9)]})
    expected = {"up": math.inf, "down": -math.inf, "nan": None, "one": 1.0}
    last = MetricSeries.objects.values_list("name", "last_value")
    assert dict(last) == expected
    try:
        call_command("migrate", "runs", "0010", verbosity=0)
        assert dict(last.all()) == expected | {"up": None, "down": None}
    finally:
        call_command("migrate", verbosity=0)
    assert dict(last.all()) == expected

"""GET /healthz and /readyz."""

import contextlib
import os

import pytest
from django.core.management import call_command
from django.db import connection

from runs import unrecorded
from runs.execution import wake
from runs.tests.helpers import assert_error, create_run


@pytest.fixture(autouse=True)
def dispatcher(data_dir):
    """What a dispatcher holds open while it lives; a test may close it."""
    pipe = wake.listen()
    yield pipe
    with contextlib.suppress(OSError):
        os.close(pipe)


def test_healthz_asks_nobody(api):
    """No database here: pytest-django refuses every query of this test."""
    answer = api.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_readyz_works(api):
    assert api.get("/readyz").json() == {"status": "ok", "unrecorded_results": 0, "runs_without_record": 0}


@pytest.mark.django_db
def test_readyz_counts_results_that_wait_for_the_database(api):
    unrecorded.keep(create_run())
    assert api.get("/readyz").json()["unrecorded_results"] == 1


@pytest.mark.django_db(transaction=True)
def test_readyz_names_missing_migrations(api):
    call_command("migrate", "runs", "zero", verbosity=0)
    try:
        detail = assert_error(api.get("/readyz"), 503)["detail"]
        assert "migrations are not applied: run manage.py migrate" in detail
        assert api.get("/healthz").status_code == 200
    finally:
        call_command("migrate", verbosity=0)
    assert api.get("/readyz").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_readyz_says_why_the_database_cannot_be_used(api):
    settings_dict = connection.settings_dict
    name, connection.settings_dict["NAME"] = settings_dict["NAME"], "/no/where"
    connection.close()
    try:
        assert assert_error(api.get("/readyz"), 503)["detail"].startswith("The database cannot be used: ")
        assert_error(api.get("/api/tunix/runs"), 503, "The database cannot be used at the moment. Try again shortly.")
    finally:
        connection.close()
        settings_dict["NAME"] = name
    assert api.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.django_db
def test_a_trailing_slash_works_without_a_redirect(api, path):
    assert api.get(f"{path}/").status_code == 200


@pytest.mark.django_db
def test_readyz_says_that_no_dispatcher_runs(api, dispatcher):
    os.close(dispatcher)
    assert_error(api.get("/readyz"), 503, "No dispatcher runs here: local runs would wait. Start manage.py dispatcher")

"""A database that is newer than the code is not served; going back does not drop what older tables have no place for."""

import subprocess
import sys
import time

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from runs import audit, metrics, services
from runs.models import ApiToken, Event, MetricBlock, SavedView, TunixRun
from runs.tests.execution.engine import database_url
from runs.tests.helpers import assert_error, create_run
from runs.tests.server import environment_of

SENTENCE = "The database is newer than this version of tunix-rt, which does not know its migration 9999_of_tomorrow."


@pytest.fixture
def tomorrow(transactional_db):
    """The database as a later version has left it."""
    recorder = MigrationRecorder(connection)
    recorder.record_applied("runs", "9999_of_tomorrow")
    yield
    recorder.record_unapplied("runs", "9999_of_tomorrow")


def started(data_dir, *command, **more):
    """A process of the server on this test's database, that ends by itself."""
    environment = environment_of(data_dir, database_url(), **more)
    return subprocess.run(
        [sys.executable, *command],
        cwd=django_settings.BASE_DIR, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["dispatcher", "migrate", "housekeeping", "runs_status", "createsuperuser"])
def test_commands_refuse_a_newer_database(tomorrow, data_dir, command):
    done = started(data_dir, "manage.py", command)
    assert done.returncode != 0
    assert SENTENCE in done.stderr
    assert "Traceback" not in done.stderr


def test_the_web_server_refuses_a_newer_database(tomorrow, data_dir):
    began = time.monotonic()
    gunicorn = ["-m", "gunicorn", "--config", "tunix_rt/gunicorn.conf.py"]
    done = started(data_dir, *gunicorn, PORT="0", WEB_CONCURRENCY="2")
    assert done.returncode != 0, "it has ended by itself"
    assert SENTENCE in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30


def test_readyz_says_that_the_database_has_become_newer(tomorrow, api):
    assert SENTENCE in assert_error(api.get("/readyz"), 503)["detail"]


@pytest.fixture
def migrated():
    yield
    call_command("migrate", verbosity=0)


@pytest.fixture
def history(transactional_db, migrated):
    """Something in every table that a migration has added."""
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.get_or_create(name="operator")[0])
    run = create_run(tags=("a",))
    audit.record(Event.Act.LAUNCH, run=run)
    services.make_token(user, "ci", "read", django_settings.AXES_COOLOFF_TIME)
    services.keep_view("mine", "status=failed")
    metrics.append(run.run_id, {"train/loss": [(1, 0.5, 1.0)]})
    return user


LOST = {
    "0009": [],
    "0008": [],
    "0006": ["4 events", "1 API token"],
    "0004": ["4 events", "1 API token", "1 saved view"],
    "0002": ["4 events", "1 API token", "1 saved view", "1 metric series", "1 metric block"],
    "zero": ["1 run", "1 run tag"],
}


@pytest.mark.parametrize("target", LOST)
def test_what_would_be_lost_is_named_and_kept(history, target):
    counts = counted()
    if not LOST[target]:
        call_command("migrate", "runs", target, verbosity=0)
        call_command("migrate", verbosity=0)
    else:
        with pytest.raises(CommandError, match="Going back would lose") as refused:
            call_command("migrate", "runs", target, verbosity=0)
        for each in LOST[target]:
            assert each in str(refused.value)
    assert counted() == counts
    assert history.groups.get().name == "operator"


def counted():
    return [model.objects.count() for model in (TunixRun, Event, ApiToken, SavedView, MetricBlock)]


def test_who_is_told_goes_back_all_the_same_and_accounts_keep_their_roles(history, settings):
    settings.ALLOW_DATA_LOSS = True
    call_command("migrate", "runs", "0006", verbosity=0)
    call_command("migrate", verbosity=0)
    assert counted() == [1, 0, 0, 1, 1]
    assert history.groups.get().name == "operator"


def test_columns_that_say_something_are_not_dropped_either(transactional_db, migrated):
    create_run(notices=[{"kind": "output_lost"}])
    with pytest.raises(CommandError, match=r"Going back would lose “notices” of 1 runs?\."):
        call_command("migrate", "runs", "0009", verbosity=0)
    TunixRun.objects.update(notices=[])
    call_command("migrate", "runs", "0009", verbosity=0)

"""Transitions of a run's status: each happens once, whoever else tries."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from runs import lifecycle
from runs.models import TunixRun
from runs.tests.helpers import CONFIG, create_run

DRY_RUN_FIELDS = {"dataset_key": "a-v1", "model_id": "m", "mode": "dry-run", "status": "running", "config": CONFIG}


def begun(**fields):
    run = TunixRun(**DRY_RUN_FIELDS | fields)
    lifecycle.begin(run)
    return run


def ended(run, **fields):
    """The same run as one who has executed it holds it."""
    run = TunixRun.objects.get(pk=run.pk)
    result = {"status": "completed", "exit_code": 0, "stdout": "out", "message": "ok", "completed_at": timezone.now()}
    for name, value in (result | {"duration_seconds": 0.5} | fields).items():
        setattr(run, name, value)
    return run


def row(run):
    return TunixRun.objects.filter(pk=run.pk).values().get()


@pytest.mark.django_db
def test_begin_makes_the_record_before_anything_is_executed():
    run = begun()
    assert row(run)["status"] == "running"
    assert row(run)["completed_at"] is None


@pytest.mark.django_db
def test_finish_writes_the_result():
    run = begun()
    done = ended(run)
    assert lifecycle.finish(done) is True
    stored = row(run)
    assert {name: stored[name] for name in lifecycle.RESULT_FIELDS} == {
        name: getattr(done, name) for name in lifecycle.RESULT_FIELDS
    }


@pytest.mark.django_db
def test_finish_leaves_alone_what_is_no_result():
    run = begun()
    TunixRun.objects.filter(pk=run.pk).update(notes="written meanwhile")
    lifecycle.finish(ended(run, notes="old", dataset_key="other"))
    assert (row(run)["notes"], row(run)["dataset_key"]) == ("written meanwhile", "a-v1")


@pytest.mark.django_db
def test_finish_makes_the_record_that_begin_could_not_make():
    run = TunixRun(**DRY_RUN_FIELDS | {"status": "completed", "completed_at": timezone.now(), "stdout": "out"})
    assert lifecycle.finish(run) is True
    assert row(run)["stdout"] == "out"


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["completed", "failed", "timeout", "cancelled"])
def test_finish_after_somebody_else_finished_changes_nothing(status):
    run = begun()
    assert lifecycle.finish(ended(run, status=status, stdout="first")) is True
    before = row(run)
    assert lifecycle.finish(ended(run, stdout="second")) is False
    assert row(run) == before


@pytest.mark.django_db(transaction=True)
def test_of_many_who_finish_at_once_one_does():
    run = begun()
    contenders = [ended(run, stdout=f"by {number}") for number in range(8)]
    start, won = threading.Barrier(len(contenders)), []

    def finish(contender):
        start.wait()
        try:
            if lifecycle.finish(contender):
                won.append(contender.stdout)
        finally:
            connection.close()

    threads = [threading.Thread(target=finish, args=[each]) for each in contenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert row(run)["stdout"] == won[0]
    assert TunixRun.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_who_make_the_record_at_once_one_does():
    run = TunixRun(**DRY_RUN_FIELDS | {"status": "completed", "completed_at": timezone.now()})
    start, results = threading.Barrier(6), []

    def finish():
        own = TunixRun(**{field.attname: getattr(run, field.attname) for field in TunixRun._meta.concrete_fields})
        start.wait()
        try:
            results.append(lifecycle.finish(own))
        finally:
            connection.close()

    threads = [threading.Thread(target=finish) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 5 + [True]
    assert TunixRun.objects.count() == 1


@pytest.mark.django_db
def test_a_dry_run_whose_process_died_is_failed_with_an_explanation():
    overdue = begun(started_at=timezone.now() - lifecycle.DRY_RUN_LIFETIME - timedelta(seconds=1))
    assert lifecycle.fail_interrupted_dry_runs() == 1
    stored = row(overdue)
    assert (stored["status"], stored["exit_code"]) == ("failed", None)
    assert stored["message"] == "Dry-run failed: interrupted"
    assert "run it again" in stored["stderr"]
    assert stored["completed_at"] is not None
    assert lifecycle.fail_interrupted_dry_runs() == 0


@pytest.mark.django_db
def test_only_overdue_running_dry_runs_are_interrupted():
    long_ago = timezone.now() - timedelta(days=1)
    begun(started_at=timezone.now() - lifecycle.DRY_RUN_LIFETIME + timedelta(minutes=1))
    create_run(status="running", mode="local", started_at=long_ago)
    create_run(status="pending", started_at=long_ago)
    create_run(status="completed", started_at=long_ago)
    assert lifecycle.fail_interrupted_dry_runs() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["completed", "failed", "timeout", "cancelled", "lost"])
def test_trash_and_back(status):
    run = create_run(status=status)
    assert lifecycle.trash(run, timezone.now()) is True
    assert row(run)["deleted_at"] is not None
    assert lifecycle.trash(run, timezone.now()) is False
    assert lifecycle.restore(run.pk, timezone.now() - timedelta(days=7)) is True
    assert row(run)["deleted_at"] is None
    assert lifecycle.restore(run.pk, timezone.now() - timedelta(days=7)) is False


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_run_under_way_does_not_go_to_the_trash(status):
    run = create_run(status=status)
    assert lifecycle.trash(run, timezone.now()) is False
    assert row(run)["deleted_at"] is None

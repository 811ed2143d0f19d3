"""Results that wait on disk for the database: kept whole, recorded once, never lost."""

import json
import os
import threading
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from runs import audit, services, unrecorded
from runs.models import Event, TunixRun
from runs.tests.helpers import CONFIG, create_run


def finished(**fields):
    """A dry run that has ended and that no database knows."""
    values = {"dataset_key": "a-v1", "model_id": "m", "mode": "dry-run", "status": "completed", "config": CONFIG}
    values |= {
        "exit_code": 0,
        "stdout": "out é\n",
        "message": "ok",
        "completed_at": timezone.now(),
        "duration_seconds": 0.25,
    }
    return TunixRun(**values | fields)


def kept(data_dir):
    return sorted(path.name for path in (data_dir / "unrecorded").glob("*"))


@pytest.mark.django_db
def test_it_works(data_dir):
    run = finished()
    unrecorded.keep(run)
    assert kept(data_dir) == [f"{run.run_id}.json"]
    assert services.record_the_unrecorded() == 1
    assert kept(data_dir) == []
    stored = TunixRun.objects.get()
    for field in TunixRun._meta.concrete_fields:
        assert getattr(stored, field.attname) == getattr(run, field.attname), field.name
    assert services.record_the_unrecorded() == 0


@pytest.mark.django_db
def test_a_record_that_is_still_running_is_completed(data_dir):
    run = create_run(status="running")
    unrecorded.keep(finished(run_id=run.run_id, stdout="the result"))
    assert services.record_the_unrecorded() == 1
    run.refresh_from_db()
    assert (run.status, run.stdout) == ("completed", "the result")
    assert kept(data_dir) == []


@pytest.mark.django_db
def test_a_record_that_is_finished_already_stays_as_it_is(data_dir):
    run = create_run(stdout="first")
    unrecorded.keep(finished(run_id=run.run_id, stdout="second"))
    services.record_the_unrecorded()
    run.refresh_from_db()
    assert run.stdout == "first"
    assert kept(data_dir) == []


@pytest.mark.django_db(transaction=True)
def test_a_result_outlives_its_owner(data_dir):
    ada = get_user_model().objects.create_user("ada")
    unrecorded.keep(finished(owner=ada))
    ada.delete()
    services.record_the_unrecorded()
    assert TunixRun.objects.get().owner is None


@pytest.mark.django_db
def test_the_next_dry_run_records_what_waits(api, dataset, data_dir):
    run = finished()
    unrecorded.keep(run)
    answer = api.post("/api/tunix/run", {"dataset_key": "arithmetic-v1", "model_id": "m"})
    assert answer.status_code == 200
    assert TunixRun.objects.filter(pk=run.run_id).exists()
    assert kept(data_dir) == []


@pytest.mark.django_db
def test_a_file_that_cannot_be_read_stays_and_stops_nobody(data_dir, caplog):
    directory = data_dir / "unrecorded"
    directory.mkdir()
    for name, text in {"a": "nonsense", "b": "[]", "c": '[{"model": "runs.nothing", "pk": 1, "fields": {}}]'}.items():
        (directory / f"{name}.json").write_text(text)
        os.utime(directory / f"{name}.json", (0, 0))
    run = finished()
    unrecorded.keep(run)
    assert services.record_the_unrecorded() == 1
    assert TunixRun.objects.get().run_id == run.run_id
    assert f"{run.run_id}.json" not in kept(data_dir)
    assert "a.json" in kept(data_dir) and "c.json" in kept(data_dir)
    assert "a.json cannot be read and stays where it is" in caplog.text


@pytest.mark.django_db
def test_a_half_written_file_is_no_result(data_dir):
    directory = data_dir / "unrecorded"
    directory.mkdir()
    (directory / "x.partial").write_text("[{")
    assert unrecorded.waiting() == []


def test_results_come_back_oldest_first(data_dir):
    runs = [finished() for _ in range(3)]
    for age, run in zip((10, 30, 20), runs, strict=True):
        unrecorded.keep(run)
        path = data_dir / "unrecorded" / f"{run.run_id}.json"
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert [path.stem for path in unrecorded.waiting()] == [str(runs[number].run_id) for number in (1, 2, 0)]


def test_no_directory_is_no_results():
    assert unrecorded.waiting() == []


def test_a_disk_that_refuses_leaves_nothing_half_written(data_dir):
    (data_dir / "unrecorded").write_text("a file where the directory should be")
    with pytest.raises(OSError):
        unrecorded.keep(finished())


@pytest.mark.django_db(transaction=True)
def test_many_who_record_at_once_record_each_result_once(data_dir):
    runs = [finished() for _ in range(10)]
    for run in runs:
        unrecorded.keep(run)
    start = threading.Barrier(4)

    def record():
        start.wait()
        try:
            services.record_the_unrecorded()
        finally:
            connection.close()

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(TunixRun.objects.values_list("pk", flat=True)) == sorted(run.run_id for run in runs)
    assert kept(data_dir) == []


@pytest.mark.django_db
def test_the_command_does_all_housekeeping_and_says_what(data_dir, capsys):
    unrecorded.keep(finished())
    create_run(status="running", started_at=timezone.now() - timedelta(hours=1))
    create_run(deleted_at=timezone.now() - timedelta(days=8))
    call_command("housekeeping")
    assert capsys.readouterr().out.splitlines() == [
        "results recorded: 1",
        "interrupted dry runs failed: 1",
        "runs freed from the trash: 1",
    ]
    call_command("housekeeping")
    assert capsys.readouterr().out == ""


@pytest.mark.django_db
def test_who_launched_it_and_when_is_recorded_with_it(data_dir):
    run = finished(owner=None)
    launch = audit.event(Event.Act.LAUNCH, run=run, mode=run.mode)
    launch.actor, launch.address, launch.way = "ada", "192.0.2.1", "api"
    for _ in range(2):  # by a process that was killed before it removed the file
        unrecorded.keep(run, launch)
        services.record_the_unrecorded()
    stored = Event.objects.get(run_id=run.run_id)
    assert (stored.actor, stored.address, stored.way, stored.act) == ("ada", "192.0.2.1", "api", "launch")
    assert (stored.moment, stored.detail) == (launch.moment, {"mode": "dry-run"})


def test_what_is_kept_is_readable_by_people_too(data_dir):
    run = finished()
    unrecorded.keep(run)
    (content,) = json.loads((data_dir / "unrecorded" / f"{run.run_id}.json").read_text())
    assert content["fields"]["stdout"] == "out é\n"

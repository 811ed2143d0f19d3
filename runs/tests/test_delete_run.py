"""DELETE /api/tunix/runs/{id}, POST …/restore, and the trash that lies between."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from runs import services
from runs.models import RunTag, TunixRun
from runs.tests.helpers import assert_error, create_run, ids, random_id

pytestmark = pytest.mark.django_db
ENDED = ["completed", "failed", "timeout", "cancelled", "lost"]


def delete(api, run, query=""):
    return api.delete(f"/api/tunix/runs/{run.run_id}{query}")


def files_of(run, data_dir) -> Path:
    directory = data_dir / "runs" / str(run.run_id)
    directory.mkdir(parents=True)
    (directory / "stdout.log").write_text("loss 0.26\n")
    return directory


@pytest.mark.parametrize("status", ENDED)
def test_it_works(api, status):
    run = create_run(status=status)
    answer = delete(api, run)
    assert (answer.status_code, answer.content) == (204, b"")
    assert ids(api.get("/api/tunix/runs")) == []
    assert_error(api.get(f"/api/tunix/runs/{run.run_id}"), 404)


def test_the_trash_keeps_record_and_files(api, data_dir):
    run = create_run(tags=("kept",), notes="kept")
    files = files_of(run, data_dir)
    delete(api, run)
    assert files.exists()
    answer = api.post(f"/api/tunix/runs/{run.run_id}/restore")
    assert answer.status_code == 200
    assert (answer.json()["tags"], answer.json()["notes"]) == (["kept"], "kept")
    assert ids(api.get("/api/tunix/runs")) == [str(run.run_id)]


def test_a_run_in_the_trash_can_neither_be_changed_nor_deleted_again(api):
    run = create_run()
    delete(api, run)
    assert_error(delete(api, run), 404, f"Tunix run not found: {run.run_id}")
    assert_error(delete(api, run, "?purge=true"), 404)
    assert_error(api.patch(f"/api/tunix/runs/{run.run_id}", {"notes": "x"}), 404)


@pytest.mark.parametrize("query", ["", "?purge=true"])
@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_run_that_has_not_ended_stays(api, data_dir, status, query):
    run = create_run(status=status)
    files = files_of(run, data_dir)
    assert_error(delete(api, run, query), 409, f"The run is {status}: it can be deleted when it has ended.")
    assert ids(api.get("/api/tunix/runs")) == [str(run.run_id)]
    assert files.exists()


def test_purge_frees_record_and_files_at_once(api, data_dir):
    run, other = create_run(tags=("x",)), create_run(tags=("x",))
    files, others_files = files_of(run, data_dir), files_of(other, data_dir)
    assert delete(api, run, "?purge=true").status_code == 204
    assert not files.exists()
    assert others_files.exists()
    assert [each.run_id for each in TunixRun.objects.all()] == [other.run_id]
    assert RunTag.objects.count() == 1
    assert_error(api.post(f"/api/tunix/runs/{run.run_id}/restore"), 404)


def test_purge_false_is_the_trash(api):
    run = create_run()
    assert delete(api, run, "?purge=false").status_code == 204
    assert TunixRun.objects.filter(deleted_at__isnull=False).count() == 1


@pytest.mark.parametrize("value", ["", "1", "yes", "True", "TRUE"])
def test_purge_is_true_or_false(api, value):
    run = create_run()
    body = assert_error(delete(api, run, f"?purge={value}"), 422)
    assert body["errors"] == {"purge": ["must be true or false"]}
    assert TunixRun.objects.alive().exists()


def test_restoring_twice_is_as_once(api):
    run = create_run()
    delete(api, run)
    for _ in range(2):
        assert api.post(f"/api/tunix/runs/{run.run_id}/restore").status_code == 200


@pytest.mark.parametrize("call", ["delete", "restore"])
def test_not_found_and_not_a_uuid(api, call):
    def ask(run_id):
        path = f"/api/tunix/runs/{run_id}"
        return api.delete(path) if call == "delete" else api.post(f"{path}/restore")

    nobody = random_id()
    assert_error(ask(nobody), 404, f"Tunix run not found: {nobody}")
    assert_error(ask("nonsense"), 422, "run_id must be a UUID")


def test_after_7_days_record_and_files_are_freed(data_dir):
    due = create_run(deleted_at=timezone.now() - services.TRASH_LIFETIME - timedelta(seconds=1))
    not_due = create_run(deleted_at=timezone.now() - services.TRASH_LIFETIME + timedelta(minutes=1))
    alive = create_run(started_at=timezone.now() - timedelta(days=400))
    files = {run.run_id: files_of(run, data_dir) for run in (due, not_due, alive)}
    assert services.TRASH_LIFETIME == timedelta(days=7)
    assert services.empty_trash() == 1
    assert set(TunixRun.objects.values_list("pk", flat=True)) == {not_due.run_id, alive.run_id}
    assert [files[run.run_id].exists() for run in (due, not_due, alive)] == [False, True, True]
    assert services.empty_trash() == 0


def test_freeing_a_run_without_files_works(api):
    run = create_run()
    assert delete(api, run, "?purge=true").status_code == 204
    assert not TunixRun.objects.exists()


def test_freeing_follows_no_link_out_of_the_data_directory(api, data_dir, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    run = create_run()
    (files_of(run, data_dir) / "link").symlink_to(elsewhere)
    assert delete(api, run, "?purge=true").status_code == 204
    assert (elsewhere / "precious").exists()

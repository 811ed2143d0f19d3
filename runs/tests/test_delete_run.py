"""DELETE /api/tunix/runs/{id}, POST …/restore, and the trash that lies between."""

import os
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from runs import services, trash
from runs.models import Event, RunTag, TunixRun
from runs.rundir import RunDirectory
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
    due = create_run(deleted_at=timezone.now() - trash.LIFETIME - timedelta(seconds=1))
    not_due = create_run(deleted_at=timezone.now() - trash.LIFETIME + timedelta(minutes=1))
    alive = create_run(started_at=timezone.now() - timedelta(days=400))
    files = {run.run_id: files_of(run, data_dir) for run in (due, not_due, alive)}
    assert trash.LIFETIME == timedelta(days=7)
    assert services.empty_trash() == 1
    assert set(TunixRun.objects.values_list("pk", flat=True)) == {not_due.run_id, alive.run_id}
    assert [files[run.run_id].exists() for run in (due, not_due, alive)] == [False, True, True]
    assert services.empty_trash() == 0
    (event,) = Event.objects.all()
    assert (event.act, event.run_id, event.way, event.detail) == ("purge", due.run_id, "command", {"after_days": 7})


def test_of_two_that_empty_the_trash_at_once_one_says_so(data_dir):
    """One that the dispatcher and a cron job have both found due."""
    due = create_run(deleted_at=timezone.now() - trash.LIFETIME - timedelta(seconds=1))
    assert [services._free_in_time(due), services._free_in_time(due)] == [True, False]
    assert Event.objects.count() == 1


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


def test_one_that_was_freed_half_cannot_be_restored(api, data_dir):
    """As it is when whoever freed it was killed in the middle: the next housekeeping frees the rest."""
    run = create_run(deleted_at=timezone.now() - trash.LIFETIME)
    files = files_of(run, data_dir)
    assert_error(api.post(f"/api/tunix/runs/{run.run_id}/restore"), 404)
    assert list(trash.contents()) == []
    assert services.empty_trash() == 1
    assert not files.exists() and not TunixRun.objects.exists()


def test_files_that_cannot_be_removed_are_not_forgotten(api, data_dir, caplog):
    run = create_run()
    files_of(run, data_dir)
    holder = data_dir / "runs"
    kept = holder.rename(data_dir / "elsewhere")
    holder.symlink_to(kept)  # its own directory is a link: rmtree refuses it, also for root
    (kept / str(run.run_id)).rename(kept / "real")
    (kept / str(run.run_id)).symlink_to(kept / "real")
    assert delete(api, run, "?purge=true").status_code == 204
    assert "cannot be removed" in caplog.text
    assert TunixRun.objects.filter(deleted_at__isnull=False).count() == 1
    assert services.empty_trash() == 0
    (kept / str(run.run_id)).unlink()
    assert services.empty_trash() == 1 and not TunixRun.objects.exists()


def test_what_another_run_shares_is_not_freed(data_dir):
    run, resumed = create_run(), create_run()
    block = b"x" * 1024 * 1024
    (files_of(run, data_dir) / "checkpoint").write_bytes(block)
    os.link(data_dir / "runs" / str(run.run_id) / "checkpoint", files_of(resumed, data_dir) / "checkpoint")
    alone = RunDirectory(run.run_id)
    assert alone.size() >= len(block) > alone.freed() > 0
    assert trash.bytes_freed_by([run]) == alone.freed()
    services.delete(resumed, purge=True)
    assert alone.freed() == alone.size(), "now the last name of it goes with this run"


# --- prune_runs -------------------------------------------------------------------------------------------------------


def prune(*arguments):
    out = StringIO()
    call_command("prune_runs", *arguments, stdout=out)
    return out.getvalue()


def test_prune_says_first_and_frees_when_told(data_dir):
    now = timezone.now()
    old = create_run(started_at=now - timedelta(days=40), completed_at=now - timedelta(days=31))
    young = create_run(started_at=now - timedelta(days=40), completed_at=now - timedelta(days=29))
    running = create_run(started_at=now - timedelta(days=40), status="running", mode="local")
    files = {run: files_of(run, data_dir) for run in (old, young, running)}
    said = prune("--older-than", "30d")
    assert old.short_id in said and young.short_id not in said and running.short_id not in said
    assert said.endswith("Would free 1 run, 4.0 KB. Nothing was freed; --yes does it.\n")
    assert TunixRun.objects.count() == 3 and all(path.exists() for path in files.values())
    assert prune("--older-than", "30d", "--yes").endswith("Freed 1 run, 4.0 KB.\n")
    assert set(TunixRun.objects.all()) == {young, running}
    assert [path.exists() for path in files.values()] == [False, True, True]


def test_prune_by_status(data_dir):
    then = timezone.now() - timedelta(days=40)
    for status in ("completed", "failed", "cancelled"):
        create_run(status=status, started_at=then)
    assert "Freed 2 runs" in prune("--older-than", "4w", "--status", "failed", "--status", "cancelled", "--yes")
    assert [run.status for run in TunixRun.objects.all()] == ["completed"]


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "1y", "1e3d"])
def test_prune_refuses_what_is_no_age(age):
    with pytest.raises(CommandError, match="an age is such as 12h, 30d or 8w"):
        prune(f"--older-than={age}", "--yes")


# --- pages ------------------------------------------------------------------------------------------------------------


def test_the_trash_is_a_page(client, data_dir):
    assert "The trash is empty" in client.get("/trash/").content.decode()
    run, kept = create_run(), create_run()
    files_of(run, data_dir)
    assert "4.0 KB" in client.get(f"/runs/{run.run_id}/delete/").content.decode()
    client.post(f"/runs/{run.run_id}/delete/")
    page = client.get("/trash/").content.decode()
    assert run.short_id in page and kept.short_id not in page
    assert "Freed 1 run, 4.0 KB." in client.post("/trash/", follow=True).content.decode()
    assert list(TunixRun.objects.all()) == [kept]

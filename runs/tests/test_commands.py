"""The commands of manage.py, as an operator types them; and the example that comes with the project."""

import subprocess
import sys
from collections import Counter
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from runs import datasets, metrics
from runs.management.commands import train
from runs.models import Event, RunTag, TunixRun
from runs.tests.helpers import arithmetic_rows, create_dataset, create_dataset_by_hand, create_run

EXAMPLES = "examples/make_arithmetic.py", "examples/arithmetic-v1.jsonl"


def say(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out)
    return out.getvalue()


# --- add_dataset ------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(arithmetic_rows(3))
    return path


@pytest.mark.django_db
def test_add_dataset_adds_once(rows, data_dir):
    again = ["add_dataset", str(rows), "--name", "mine", "--version", "v1"]
    assert say(*again) == f"mine-v1 added: 3 rows, {rows.stat().st_size} bytes\n"
    assert say(*again) == f"mine-v1 already here: 3 rows, {rows.stat().st_size} bytes\n"
    assert datasets.get("mine-v1").data_path.read_bytes() == rows.read_bytes()


def test_add_dataset_says_what_is_wrong(rows, data_dir):
    for arguments, sentence in (
        ([str(rows), "--name", "..", "--version", "v1"], "dataset_name must be"),
        ([str(rows) + "x", "--name", "mine", "--version", "v1"], "cannot be used: No such file or directory"),
        ([str(rows.parent), "--name", "mine", "--version", "v1"], "cannot be used: Is a directory"),
    ):
        with pytest.raises(CommandError, match=sentence):
            say("add_dataset", *arguments)
    rows.write_text('{"prompt": "1 + 1 ="}\n')
    with pytest.raises(
        CommandError, match=r"1 of 1 rows cannot be used. Nothing was stored.\nline 1: response is missing"
    ):
        say("add_dataset", str(rows), "--name", "mine", "--version", "v1")
    assert datasets.list_all() == []


# --- dry_run ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_dry_run_prints_the_record(dataset):
    out = say("dry_run", "arithmetic-v1", "tunix-rt/tiny-qwen3")
    run = TunixRun.objects.get()
    assert out.startswith(run.stdout)
    assert out.endswith(f"Dry-run validation successful ({run.run_id})\n")


@pytest.mark.django_db
def test_dry_run_that_fails_is_recorded_and_an_error(data_dir):
    with pytest.raises(CommandError, match="Dry-run failed: dataset not found"):
        say("dry_run", "nothing-v1", "tunix-rt/tiny-qwen3")
    assert TunixRun.objects.get().status == "failed"


@pytest.mark.django_db
def test_dry_run_of_a_name_that_can_be_none_is_not_recorded(data_dir):
    with pytest.raises(CommandError, match="dataset_key must be"):
        say("dry_run", "../v1", "tunix-rt/tiny-qwen3")
    assert not TunixRun.objects.exists()


# --- bootstrap and housekeeping ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_bootstrap_fills_a_new_registry_once(data_dir):
    said = say("bootstrap")
    assert "Added the example dataset arithmetic-v1." in said and "Added the example dataset arithmetic-v2." in said
    assert say("bootstrap") == ""
    run = TunixRun.objects.get()
    assert (run.dataset_key, run.model_id, run.status) == ("arithmetic-v1", "tunix-rt/tiny-qwen3", "completed")
    assert datasets.get("arithmetic-v1").manifest["row_count"] == 400


@pytest.mark.django_db
def test_bootstrap_records_nothing_where_the_only_run_lies_in_the_trash(data_dir):
    say("bootstrap")
    TunixRun.objects.update(deleted_at=TunixRun.objects.get().started_at.replace(year=9999))
    say("bootstrap")
    assert TunixRun.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "make",
    [
        lambda: create_dataset(rows=b'{"prompt": "a", "response": "b"}\n'),
        lambda: create_dataset_by_hand("arithmetic-v1", manifest=b"{"),
    ],
)
def test_bootstrap_leaves_what_a_user_has_put_under_the_example_s_key(data_dir, make):
    make()
    before = (data_dir / "datasets" / "arithmetic-v1" / "data.jsonl").read_bytes()
    say("bootstrap")
    assert (data_dir / "datasets" / "arithmetic-v1" / "data.jsonl").read_bytes() == before


@pytest.mark.django_db
def test_housekeeping_says_what_it_did_and_nothing_else(data_dir):
    assert say("housekeeping") == ""
    run = create_run()
    TunixRun.objects.update(deleted_at=run.started_at.replace(year=2020))
    assert say("housekeeping") == "runs freed from the trash: 1\n"


# --- first_admin ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_first_admin_gets_a_password_that_is_shown_once():
    out = say("first_admin")
    user = get_user_model().objects.get(username="admin")
    assert user.is_superuser
    assert user.check_password(out.split("password ")[1].split()[0])
    (event,) = Event.objects.all()
    assert (event.act, event.subject, event.way, event.detail) == (
        "make_account",
        "admin",
        "command",
        {"superuser": True},
    )
    assert say("first_admin") == ""


@pytest.mark.django_db
def test_first_admin_takes_the_given_password_and_does_not_show_it(monkeypatch):
    monkeypatch.setenv("ADMIN_PASSWORD", "long enough")
    assert "long enough" not in say("first_admin")
    assert get_user_model().objects.get().check_password("long enough")


@pytest.mark.django_db
def test_first_admin_does_not_count_the_user_of_the_open_mode():
    get_user_model().objects.create(username="local", is_superuser=True)
    assert "Log in as admin" in say("first_admin")


@pytest.mark.django_db
def test_first_admin_promotes_nobody():
    get_user_model().objects.create_user(username="admin", password="somebody else")
    assert "createsuperuser" in say("first_admin")
    assert not get_user_model().objects.get().is_superuser


# --- seed_runs --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_seed_runs_makes_every_status_and_the_same_runs_for_the_same_seed():
    say("seed_runs", "3000")
    runs = TunixRun.objects.all()
    statuses = Counter(runs.values_list("status", flat=True))
    assert set(statuses) == set(TunixRun.Status.values)
    assert statuses["completed"] > 2000
    assert runs.values("dataset_key").distinct().count() == 40
    assert RunTag.objects.exists()
    made = set(runs.values_list("run_id", "status", "dataset_key"))
    with pytest.raises(CommandError, match="choose another --seed"):
        say("seed_runs", "1")
    runs.delete()
    say("seed_runs", "3000")
    assert set(TunixRun.objects.values_list("run_id", "status", "dataset_key")) == made


@pytest.mark.django_db
def test_seed_runs_keeps_to_its_bounds():
    say("seed_runs", "50", "--log-bytes", "10240")
    assert 5_000 < max(len(stdout) for stdout in TunixRun.objects.values_list("stdout", flat=True)) <= 10_240
    for arguments in (["0"], ["1", "--log-bytes", "10241"]):
        with pytest.raises(CommandError, match="must be 1 or more"):
            say("seed_runs", *arguments)


# --- the example ------------------------------------------------------------------------------------------------------


def test_the_example_is_what_its_program_makes(tmp_path, settings):
    program, data = (settings.BASE_DIR / name for name in EXAMPLES)
    copy = tmp_path / program.name
    copy.write_bytes(program.read_bytes())
    subprocess.run([sys.executable, copy], check=True)
    assert (tmp_path / data.name).read_bytes() == data.read_bytes()


@pytest.mark.django_db
def test_train_tells_of_a_metric_that_ended_as_nan():
    run = create_run(mode="local", status="failed", message="Local execution failed with exit code 1")
    metrics.append(run.run_id, {"train/loss": [(1, float("nan"), 1.7e9)]})
    out = StringIO()
    with pytest.raises(CommandError, match="exit code 1"):
        train.Command(stdout=out).conclude(run)
    assert out.getvalue() == "train/loss: 1 points, the last nan\n"

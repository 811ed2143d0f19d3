"""What the pages show of a training, and what can be asked there."""

import re

import pytest

from runs import metrics
from runs.models import TunixRun
from runs.tests.helpers import CONFIG, create_checkpoint, create_run

pytestmark = pytest.mark.django_db
PROVENANCE = {
    "command": "python train.py",
    "arguments": ["python", "<train>.py"],
    "dataset": {"sha256": "5" * 64, "rows": 100, "bytes": 4000},
    "code": {"repository": "/srv", "commit": "c" * 40, "dirty": True, "patch_sha256": "d" * 64},
    "versions": {"jax": "0.10.2"},
    "devices": ["cpu:0 cpu"],
}


@pytest.fixture
def run(data_dir):
    run = create_run(
        mode="local", step=40, total_steps=40, provenance=PROVENANCE, output_dir="./output/a", files_bytes=5_000_000
    )
    metrics.append(run.run_id, {"train/loss": [(n, 1 / n, 1.7e9) for n in range(1, 41)]})
    metrics.append(run.run_id, {"eval/loss": [(20, 0.51, 1.7e9), (40, 0.49, 1.7e9)]})
    create_checkpoint(run, 20)
    create_checkpoint(run, 40)
    return run


def page_of(client, run):
    return client.get(f"/runs/{run.run_id}/").content.decode()


def test_a_run_shows_what_it_left(client, run):
    page = page_of(client, run)
    assert "<b>Step 40</b> of 40" in page and "4.8 MB" in page
    assert page.count('<path class="line"') == 2
    assert re.search(r'<th scope="row">40</th><td class="num">0.49</td>', page)
    assert "/checkpoints/40/download" in page
    assert "cccccccccc" in page and "with changes that are not committed" in page
    assert "&lt;train&gt;.py" in page and "<train>" not in page
    assert "Resume from step 40" in page and "Retry from the start" in page


def test_charts_alone_are_what_a_page_polls(client, run):
    TunixRun.objects.filter(pk=run.pk).update(status="running", completed_at=None)
    charts = client.get(f"/runs/{run.run_id}/charts/").content.decode()
    assert charts.lstrip().startswith('<section class="panel" id="run-charts"') and "every 10s" in charts
    seen = re.search(r"seen=([\w-]+)", charts)[0]
    assert client.get(f"/runs/{run.run_id}/charts/?{seen}").status_code == 204, "nothing has come"
    create_checkpoint(run, 41)
    assert client.get(f"/runs/{run.run_id}/charts/?{seen}").status_code == 200
    TunixRun.objects.filter(pk=run.pk).update(status="completed", completed_at=run.completed_at)
    assert "every 10s" not in client.get(f"/runs/{run.run_id}/charts/").content.decode()


def test_a_page_that_followed_a_run_is_drawn_anew_when_it_has_ended(client, run):
    polled = client.get(f"/runs/{run.run_id}/news/")
    assert polled.headers["HX-Refresh"] == "true"


def test_a_poll_for_the_status_draws_no_charts(client, run, django_assert_max_num_queries):
    TunixRun.objects.filter(pk=run.pk).update(status="running", completed_at=None)
    with django_assert_max_num_queries(4):
        polled = client.get(f"/runs/{run.run_id}/news/?seen=running").content.decode()
    assert 'id="run-head"' not in polled, "it stands where it stood"
    assert 'id="run-figures" hx-swap-oob' in polled and 'class="plot"' not in polled and "<html" not in polled


def test_a_page_is_told_where_its_run_stands_when_that_is_new(client, run):
    TunixRun.objects.filter(pk=run.pk).update(status="running", completed_at=None)
    assert "Cancel run" in client.get(f"/runs/{run.run_id}/news/?seen=pending").content.decode()
    TunixRun.objects.filter(pk=run.pk).update(cancel_requested_at=run.started_at)
    polled = client.get(f"/runs/{run.run_id}/news/?seen=running").content.decode()
    assert (
        "then it is killed" in polled and polled.count('id="run-progress"') == 1 and "?seen=running-cancelled" in polled
    )


def test_charts_are_drawn_when_a_point_has_come(client, run):
    TunixRun.objects.filter(pk=run.pk).update(status="running", completed_at=None)
    seen = re.search(r"seen=([\w-]+)", page_of(client, run))[0]
    metrics.append(run.run_id, {"train/loss": [(41, 0.1, 1.7e9)]})
    assert "0.1</span>" in client.get(f"/runs/{run.run_id}/charts/?{seen}").content.decode()


def test_a_dry_run_has_no_charts(client):
    assert "run-charts" not in page_of(client, create_run())


def test_what_it_died_of_comes_first(client):
    run = create_run(
        mode="local",
        status="failed",
        cause="nan_loss",
        evidence="step 7: loss nan",
        message="Local execution failed with exit code 1",
        stderr="a long story",
        step=7,
    )
    page = page_of(client, run)
    assert re.search(r'<h2 id="cause-title">.*The loss became NaN</h2>', page)
    assert page.index("step 7: loss nan") < page.index('id="log-title"')
    assert "/runs/?cause=nan_loss" in page


def test_a_kill_without_evidence_is_only_possibly_for_memory(client):
    killed = {"mode": "local", "status": "failed", "cause": "host_out_of_memory", "exit_code": -9}
    assert "possibly because the host ran out of memory" in page_of(client, create_run(**killed))
    assert "The host ran out of memory" in page_of(
        client, create_run(**killed, evidence="Out of memory: Killed process 7")
    )


def test_runs_are_found_by_cause(client, api):
    create_run(mode="local", status="failed", cause="nan_loss", dataset_key="nan-v1")
    create_run(mode="local", status="failed", cause="exit", dataset_key="exit-v1")
    found = api.get("/api/tunix/runs?cause=nan_loss,device_out_of_memory").json()["data"]
    assert [row["dataset_key"] for row in found] == ["nan-v1"]
    assert api.get("/api/tunix/runs?cause=bad_luck").status_code == 422
    page = client.get("/runs/?status=failed").content.decode()
    assert "cause=nan_loss" in page and "nan-v1" in page and "exit-v1" in page
    page = client.get("/runs/?status=failed&cause=exit").content.decode()
    assert page.count("exit-v1") > page.count("nan-v1")


# --- reproduce --------------------------------------------------------------------------------------------------------


def test_reproduce_fills_the_form_and_says_what_changed(client, run, dataset):
    page = client.get(f"/?reproduce={run.run_id}").content.decode()
    assert "Reproduce a run" in page and f'name="reproduces" value="{run.run_id}"' in page
    assert re.search(r"Since then \d+ things changed", page) and "5555555555 → " in page


def test_a_form_that_reproduces_says_so_in_the_record(client, run, dataset):
    form = {
        **CONFIG,
        "dataset_key": run.dataset_key,
        "model_id": run.model_id,
        "reproduces": run.run_id,
        "action": "dry-run",
    }
    assert client.post("/launch/", form).status_code == 302
    assert TunixRun.objects.exclude(pk=run.pk).get().reproduces_id == run.run_id
    TunixRun.objects.filter(pk=run.pk).update(deleted_at=run.started_at)
    refused = client.post("/launch/", form)
    assert refused.status_code == 422 and "no longer here" in refused.content.decode()


def repeat(run, **series):
    again = create_run(mode="local", reproduces=run)
    for name, points in series.items():
        metrics.append(again.run_id, {name.replace("_", "/"): [(step, value, 1.8e9) for step, value in points]})
    return again


def test_a_repeat_says_whether_it_is_the_same(client, run):
    loss = [(n, 1 / n) for n in range(1, 41)]
    same = repeat(run, train_loss=loss, eval_loss=[(20, 0.51), (40, 0.49)])
    assert "The same to the last digit as" in page_of(client, same) and "42 points of 2 metrics" in page_of(
        client, same
    )
    other = repeat(run, train_loss=[*loss[:9], (10, 0.1000001), *loss[10:]], eval_loss=[(20, 0.51), (40, 0.49)])
    assert "from step 10 on, <code>train/loss</code>" in page_of(client, other)
    assert "Neither this run nor" not in page_of(client, other)


# --- the form's other settings ----------------------------------------------------------------------------------------


def test_more_settings_are_folded_until_they_say_something(client, dataset):
    def folded(address):
        return '<details class="fold more">' in client.get(address).content.decode()

    assert folded("/")
    run = create_run(mode="local", config=CONFIG | {"lora_rank": 8}, priority=2)
    page = client.get(f"/?repeat={run.run_id}").content.decode()
    assert '<details class="fold more" open>' in page and '<option value="2" selected>' in page
    wrong = client.post("/launch/", {**CONFIG, "dataset_key": "arithmetic-v1", "model_id": "m", "seed": "-1"})
    assert wrong.status_code == 422 and '<details class="fold more" open>' in wrong.content.decode()


@pytest.mark.parametrize(("files", "said"), [("Landlock, ABI 7", True), (None, False)])
def test_a_path_that_the_confinement_closes_is_explained(client, files, said):
    evidence = "PermissionError: [Errno 13] Permission denied: '/data/checkpoints'"
    provenance = {"confinement": {"files": files, "user": None}}
    run = create_run(status="failed", mode="local", cause="exit", evidence=evidence, provenance=provenance)
    assert ("TUNIX_RT_TRAINER_WRITES" in client.get(f"/runs/{run.run_id}/").content.decode()) == said

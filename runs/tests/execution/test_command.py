"""The command that trains: what values make of it, and what they must not."""

import json

import pytest

from runs import services
from runs.execution import command
from runs.models import TunixRun
from runs.tests.execution.engine import COMMAND, launch, wait_for
from runs.tests.helpers import CONFIG, LAUNCH, assert_error

VALUES = {
    "python": "/venv/bin/python", "manifest": "/home/runs/1/manifest.yaml", "dataset": "/home/datasets/a-v1/data.jsonl",
    "run_dir": "/home/runs/1", "output_dir": "/home/runs/1/output", "model_id": "google/gemma-2b",
}  # fmt: skip


def argv(template, **values):
    return command.argv(template, VALUES | values)


def test_placeholders_are_filled_in():
    template = "{python} -m train --data={dataset} '{model_id} and {output_dir}' {unknown} {run_dir}/{model_id}"
    assert argv(template) == [
        "/venv/bin/python", "-m", "train", "--data=/home/datasets/a-v1/data.jsonl", "google/gemma-2b and /home/runs/1/output",
        "{unknown}", "/home/runs/1/google/gemma-2b",
    ]  # fmt: skip


def test_a_value_that_looks_like_a_placeholder_is_not_filled_in():
    filled = argv("train {output_dir} {model_id}", output_dir="/home/runs/1/o/{model_id}", model_id="{run_dir}")
    assert filled == ["train", "/home/runs/1/o/{model_id}", "{run_dir}"]


@pytest.mark.parametrize("template", ["train {run_dir}/{model_id}", "train --to={output_dir}/../{model_id}/x"])
@pytest.mark.parametrize("model_id", ["../../..", "a/../../../b", "../../2"])
def test_what_results_stays_inside_the_runs_directory(template, model_id):
    with pytest.raises(ValueError, match="leaves the run's own directory"):
        argv(template, model_id=model_id)


def test_a_model_elsewhere_is_a_models_place():
    assert argv("train {model_id} {run_dir}:{output_dir}", model_id="../models/x")[1] == "../models/x"


def test_a_value_is_no_option():
    with pytest.raises(ValueError, match="would be an option"):
        argv("train {model_id}", model_id="--config=/etc/passwd")
    assert argv("train --model {python}{model_id} -{model_id}", model_id="-x")[3:] == [
        "-{model_id}".replace("{model_id}", "-x")
    ]


@pytest.mark.django_db
def test_a_model_that_begins_with_a_dash_is_refused(api, client, dataset):
    for dry_run in (True, False):
        answer = api.post("/api/tunix/run", LAUNCH | {"model_id": "--help", "dry_run": dry_run})
        body = assert_error(answer, 422, "model_id must not begin with a dash")
        assert body["errors"] == {"model_id": ["must not begin with a dash"]}
    form = {
        "learning_rate": "2e-5",
        "num_epochs": "3",
        "batch_size": "8",
        "max_seq_length": "2048",
        "seed": "0",
        "lora_rank": "0",
    }
    answer = client.post("/launch/", form | {"dataset_key": dataset.key, "model_id": "-x", "action": "dry-run"})
    assert "must not begin with a dash" in answer.content.decode()
    assert not TunixRun.objects.exists()


def test_an_output_directory_with_a_placeholder_in_its_name_stays_inside(engine):
    """The placeholder in it was filled in after it had been checked."""
    engine.dispatcher(TUNIX_COMMAND=f"{COMMAND} {{output_dir}}")
    request = services.LaunchRequest("arithmetic-v1", "../../..", CONFIG, "./o/{model_id}", dry_run=False)
    run = wait_for(services.launch(request))
    home = engine.home / "runs" / str(run.run_id)
    assert run.status == "completed" and (home / "o" / "{model_id}").is_dir()
    arguments = json.loads((home / "run.json").read_text())["provenance"]["arguments"]
    assert arguments[-2:] == ["../../..", str(home / "o" / "{model_id}")]


def test_an_older_run_with_such_a_model_is_not_started(engine):
    engine.dispatcher()
    run = wait_for(launch("--version"))
    assert (run.status, run.cause) == ("failed", "not_started") and "would be an option" in run.message

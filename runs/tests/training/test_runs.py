"""Real training as runs of the registry: started, recorded, stopped, resumed, repeated."""

import json
import shlex
import subprocess

from django.conf import settings as project

from runs import checkpoints, metrics, provenance, services
from runs.models import TunixRun
from runs.rundir import RunDirectory
from runs.tests.databases import new_database
from runs.tests.execution.engine import until, wait_for
from runs.tests.helpers import CONFIG
from runs.tests.server import running_server
from runs.tests.training.conftest import HERE, PYTHON, TRAINER

TINY = "tunix-rt/tiny-qwen3"
LONG = 300


def launch(reproduces=None, **config) -> TunixRun:
    config = CONFIG | {"learning_rate": 0.003, "batch_size": 4, "max_seq_length": 128} | config
    return services.launch(services.LaunchRequest("arithmetic-v2", TINY, config, dry_run=False, reproduces=reproduces))


def losses(run: TunixRun) -> dict[int, float]:
    found = metrics.read(run, ["train/loss"])
    return {step: value for step, value, _ in found.get("train/loss", ())}


def test_make_train(home):
    """What a newcomer does first, beside a server. Its page and its API show the run afterwards."""
    with new_database(home) as database, running_server(home, database.url, pages=True) as server:
        (home / "dispatcher.wake").unlink()  # the server of the tests pretends to have a dispatcher
        environment = server.environment | {"TUNIX_PYTHON": str(PYTHON)}
        done = subprocess.run(
            ["scripts/train"],
            cwd=project.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Local execution completed successfully" in done.stdout
        (listed,) = server.get("/api/tunix/runs").json()["data"]
        address = f"/api/tunix/runs/{listed['run_id']}"
        record = server.get(address).json()
        assert (record["status"], record["step"], record["total_steps"]) == ("completed", 230, 230)
        points = server.get(f"{address}/metrics?name=train/loss").json()["train/loss"]
        values = [point["value"] for point in points]
        assert len(values) >= 100 and values[-1] < values[0] / 5
        assert server.get(f"{address}/checkpoints").json()["data"][-1]["step"] == 230
        page = server.get(f"/runs/{listed['run_id']}/").content.decode()
        assert "train/loss" in page and '<path class="line"' in page and "<b>Step 230</b> of 230" in page


def test_cancelled_half_way_and_resumed_it_ends_as_if_it_had_not_been(training):
    whole, cut = launch(num_epochs=4), launch(num_epochs=4)
    until(lambda: (TunixRun.objects.get(pk=cut.pk).step or 0) >= 100, LONG)
    services.cancel(cut)
    cut = wait_for(cut, seconds=LONG)
    assert (cut.status, cut.exit_code) == ("cancelled", 143), cut.stderr
    stopped_at = checkpoints.last(cut).step
    assert stopped_at == cut.step < 360, "the checkpoint is of the very step at which it was stopped"
    resumed = wait_for(services.retry(cut, resume=True), seconds=LONG)
    whole = wait_for(whole, seconds=LONG)
    assert (resumed.status, whole.status) == ("completed", "completed"), resumed.stderr
    assert f"resumed from step {stopped_at}" in resumed.stdout
    assert resumed.provenance["resumed_from_step"] == stopped_at
    first, second = losses(whole), losses(resumed)
    assert min(second) == stopped_at + 1 and max(first) == max(second) == 360
    assert second == {step: value for step, value in first.items() if step > stopped_at}, "to the last digit"
    assert [each.step for each in checkpoints.of(resumed)][-1] == 360


def test_a_run_is_reproduced_to_the_last_digit(training):
    original = wait_for(launch(num_epochs=1), seconds=LONG)
    assert original.status == "completed", original.stderr
    repeat = wait_for(launch(num_epochs=1, reproduces=original), seconds=LONG)
    other = wait_for(launch(num_epochs=1, seed=1, reproduces=original), seconds=LONG)
    assert provenance.changes_since(original) == []
    assert provenance.same_metrics(repeat, original).same
    assert provenance.same_metrics(other, original).first_difference.step <= 1, "another seed is another model"
    record = json.loads(RunDirectory(original.run_id).record.read_text())
    found = record["provenance"]
    assert found["versions"]["google-tunix"] == "0.1.7" and found["devices"] == ["cpu:0 cpu"]
    assert found["model"]["parameters"] == 525_440 and found["peak_memory_bytes"] > 10**8
    assert found["dataset"]["rows"] == 400 and len(found["code"]["commit"]) == 40
    system = {each.name for each in metrics.series(original)}
    assert {"system/cpu_percent", "system/memory_bytes"} <= system


def test_a_loss_that_is_no_number_is_the_cause_of_death(training):
    run = wait_for(launch(learning_rate=1e30), seconds=LONG)
    assert (run.status, run.cause, run.exit_code) == ("failed", "nan_loss", 1), run.stderr
    assert "loss nan: the training has diverged" in run.evidence


def test_any_command_is_captured_and_recorded(engine, settings):
    own = shlex.join(["{python}", str(TRAINER / "capture.py"), str(HERE / "own_script.py"), "6"])
    settings.TUNIX_COMMAND, settings.TUNIX_PYTHON = own, str(PYTHON)
    engine.dispatcher(TUNIX_COMMAND=own, TUNIX_PYTHON=str(PYTHON))
    run = wait_for(
        services.launch(services.LaunchRequest("arithmetic-v1", "mine", CONFIG, dry_run=False)), seconds=LONG
    )
    assert (run.status, run.stdout) == ("completed", "trained on cpu\n"), run.stderr
    assert len(losses(run)) == 6
    assert run.provenance["versions"]["google-tunix"] == "0.1.7"

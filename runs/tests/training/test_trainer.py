"""The trainer by itself, started by hand as the supervisor starts it."""

import json
import math
import signal
import subprocess
import time

from runs.tests.training import manifests
from runs.tests.training.conftest import HERE, PYTHON, TRAINER, environment, refusal

# --- what cannot be trained -------------------------------------------------------------------------------------------


def test_a_manifest_or_data_that_cannot_be_used_is_one_sentence(python, tmp_path):
    assert refusal(python, tmp_path / "none.yaml").endswith("cannot be read: No such file or directory.")
    (tmp_path / "bad.yaml").write_text("a: [")
    assert "is not YAML" in refusal(python, tmp_path / "bad.yaml")
    assert refusal(python, manifests.write(tmp_path, runner="other")).startswith("The manifest has runner 'other'")
    assert refusal(python, manifests.write(tmp_path, batch_size=0)).endswith("must be positive.")
    assert refusal(python, manifests.write(tmp_path, batch_size="many")).startswith("The manifest cannot be used")
    assert "has no rows" in refusal(python, manifests.write(tmp_path, rows=b""))
    assert "is not JSON Lines" in refusal(python, manifests.write(tmp_path, rows=b"{\n"))
    assert refusal(python, manifests.write(tmp_path, rows=b'{"prompt": 1}\n')).startswith("Line 1 of the dataset")
    long = json.dumps({"prompt": "x" * 200, "response": "y"}).encode()
    assert "longer than max_seq_length 128" in refusal(python, manifests.write(tmp_path, rows=long))
    assert refusal(python, manifests.write(tmp_path, resume={"step": 7})).startswith("There is no checkpoint of step 7")


# --- what happens on the way ------------------------------------------------------------------------------------------


def test_both_forms_of_rows_and_a_dataset_of_one(python, tmp_path):
    row = json.dumps({"prompts": "Say yes.", "final_answer": "yes", "reasoning": "because"}).encode()
    done = python(TRAINER, manifests.write(tmp_path, rows=row, num_epochs=3))
    assert done.returncode == 0, done.stderr
    assert "1 rows to train on, none held out" in done.stdout
    found = manifests.metrics(tmp_path)
    assert sorted(found["train/loss"]) == [1, 2, 3] and "eval/loss" not in found


def test_everything_that_tunix_logs_is_there_by_its_own_name(python, tmp_path):
    done = python(TRAINER, manifests.write(tmp_path))
    assert done.returncode == 0, done.stderr
    found = manifests.metrics(tmp_path)
    assert {"loss", "perplexity", "learning_rate", "grad_norm"} <= {
        name.removeprefix("train/") for name in found if name.startswith("train/")
    }
    assert {"eval/loss", "perf/step_seconds", "perf/tokens_per_second"} <= set(found)
    assert sorted(found["train/loss"]) == list(range(1, 24))
    assert 23 in found["eval/loss"], "the last step is evaluated"
    assert not [name for name in found if name.startswith("jax/")]
    facts = manifests.facts(tmp_path)
    assert facts["versions"]["google-tunix"] == "0.1.7" and facts["devices"] == ["cpu:0 cpu"]
    assert facts["rows"] == {"train": 368, "eval": 32, "cut": 0} and facts["peak_memory_bytes"] > 10**8
    assert (tmp_path / "output" / "checkpoints" / "23" / "commit_success.txt").exists()


def test_a_loss_that_is_no_number_fails_at_once(python, tmp_path):
    done = python(TRAINER, manifests.write(tmp_path, learning_rate=1e30, num_epochs=4))
    assert done.returncode == 1
    assert "loss nan: the training has diverged" in done.stderr
    losses = manifests.metrics(tmp_path)["train/loss"]
    assert not [step for step, loss in losses.items() if math.isfinite(loss) and step > 10]


def test_sigterm_before_the_first_step_ends_it_too(tmp_path, compiled):
    started = subprocess.Popen(
        [PYTHON, TRAINER, manifests.write(tmp_path)], env=environment(tmp_path, compiled), stdout=subprocess.PIPE
    )
    time.sleep(1)
    started.send_signal(signal.SIGTERM)
    assert started.wait(120) in (143, -15), "before Python has a handler, the signal itself ends it"


def stopped_at(step, manifest, compiled):
    """The trainer's exit code, when it is told to stop once it has said that step."""
    command, env = [PYTHON, TRAINER, manifest], environment(manifest.parent, compiled)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as started:
        for line in started.stdout:
            if line.startswith(f"step {step}/"):
                started.send_signal(signal.SIGTERM)
    return started.returncode


def test_speed_is_that_of_the_steps_alone(tmp_path, compiled):
    """Neither compilation nor evaluations nor checkpoints are in it, and no step takes no time, not even the last."""
    assert stopped_at(23, manifests.write(tmp_path, num_epochs=20), compiled) == 143
    found = manifests.metrics(tmp_path)
    steps = found["train/loss"]
    seconds, rates = found["perf/step_seconds"], found["perf/tokens_per_second"]
    assert list(seconds) == list(rates) == list(range(2, max(steps) + 1)), "not of the first, which is compilation"
    middle = sorted(rates.values())[len(rates) // 2]
    assert max(rates.values()) < 5 * middle


def test_one_step_alone_has_no_speed(python, tmp_path):
    done = python(TRAINER, manifests.write(tmp_path, batch_size=400))
    assert done.returncode == 0, done.stderr
    found = manifests.metrics(tmp_path)
    assert list(found["train/loss"]) == [1] and "perf/step_seconds" not in found


def test_a_script_of_ones_own_is_captured_unchanged(python, tmp_path):
    done = python(TRAINER / "capture.py", HERE / "own_script.py", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trained on cpu\n"
    losses = manifests.metrics(tmp_path)["train/loss"]
    assert len(losses) == 5 and all(map(math.isfinite, losses.values()))
    assert manifests.facts(tmp_path)["versions"]["google-tunix"] == "0.1.7"


def test_capture_passes_on_how_a_program_ends(python, tmp_path):
    (tmp_path / "ends.py").write_text("import sys; print(sys.argv, __name__); sys.exit(7)")
    done = python(TRAINER / "capture.py", tmp_path / "ends.py", "a", "b")
    assert (done.returncode, done.stdout) == (7, f"['{tmp_path / 'ends.py'}', 'a', 'b'] __main__\n")
    done = python(TRAINER / "capture.py", "-m", "platform")
    assert done.returncode == 0 and "Linux" in done.stdout
    assert python(TRAINER / "capture.py").returncode != 0

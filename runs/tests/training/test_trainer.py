"""The trainer by itself, started by hand as the supervisor starts it."""

import json
import math
import shutil
import signal
import subprocess
import time

import pytest

from runs.tests.training import manifests
from runs.tests.training.conftest import HERE, PYTHON, TRAINER, environment


@pytest.fixture(scope="module")
def make_model(tmp_path_factory):
    """The directory of a tiny model of a type, made once."""
    made = {}

    def make(kind):
        if kind not in made:
            directory = tmp_path_factory.mktemp("models") / kind
            subprocess.run([PYTHON, HERE / "make_model.py", directory, kind], check=True, timeout=120)
            made[kind] = directory
        return made[kind]

    return make


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gemma3_text"])
def test_a_model_in_a_directory_trains_from_its_own_weights(python, tmp_path, make_model, kind):
    done = python(TRAINER, manifests.write(tmp_path, str(make_model(kind)), num_epochs=2))
    assert done.returncode == 0, done.stderr
    losses = manifests.metrics(tmp_path)["train/loss"]
    assert len(losses) == 46 and losses[46] < losses[1] / 1.5
    assert manifests.facts(tmp_path)["model"]["source"] == "directory"
    assert manifests.facts(tmp_path)["model"]["architecture"] == kind


def test_the_weights_are_those_of_the_files(python, make_model):
    script = """
import sys, numpy
from safetensors.numpy import load_file
from runs.trainer import models
directory = sys.argv[1]
module = models.load(directory, seed=0, lora_rank=0).module
files = load_file(directory + "/model.safetensors")
numpy.testing.assert_array_equal(module.embedder.input_embedding[...], files["model.embed_tokens.weight"])
up = files["model.layers.1.mlp.up_proj.weight"]
numpy.testing.assert_array_equal(module.layers[1].mlp.up_proj.kernel[...], up.T)
print("the same")
"""
    done = python("-c", f"import sys; sys.path.insert(0, {str(TRAINER.parents[1])!r})\n{script}", make_model("qwen3"))
    assert done.stdout == "the same\n", done.stderr


@pytest.mark.parametrize("kind", ["tiny", "qwen3"])
def test_lora_trains_a_small_part(python, tmp_path, make_model, kind):
    model_id = "tunix-rt/tiny-qwen3" if kind == "tiny" else str(make_model(kind))
    done = python(TRAINER, manifests.write(tmp_path, model_id, lora_rank=4, learning_rate=0.02))
    assert done.returncode == 0, done.stderr
    model = manifests.facts(tmp_path)["model"]
    assert 0 < model["trained"] < model["parameters"] / 4
    losses = manifests.metrics(tmp_path)["train/loss"]
    assert losses[max(losses)] < losses[1]


# --- what cannot be trained -------------------------------------------------------------------------------------------


def copy_without(source, target, name):
    shutil.copytree(source, target)
    (target / name).unlink()
    return str(target)


def refusal(python, manifest):
    done = python(TRAINER, manifest)
    assert done.returncode == 2, (done.stdout, done.stderr)
    last = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    return last


def test_a_model_that_cannot_be_had_is_one_sentence(python, tmp_path, make_model):
    whole = make_model("qwen3")

    def refused(model_id):
        return refusal(python, manifests.write(tmp_path, model_id))

    assert refused("/no/such/model") == "There is no model directory /no/such/model."
    assert refused("nobody/no-such-model").startswith(
        "The model nobody/no-such-model cannot be had from the Hugging Face hub: "
    )
    bare = copy_without(whole, tmp_path / "bare", "config.json")
    assert refused(bare) == f"The model {bare} has no config.json that can be read: No such file or directory."
    empty = copy_without(whole, tmp_path / "empty", "model.safetensors")
    assert refused(empty) == f"The model {empty} has no *.safetensors file."
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "bert"}')
    assert refused(bare).startswith(f"The model {bare} is of type bert; this trainer knows qwen3, ")
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "qwen3"}')
    assert "it lacks or has a wrong 'rope_theta'" in refused(bare)
    (tmp_path / "bare" / "config.json").write_text("{")
    assert "is not JSON" in refused(bare)


def test_weights_that_are_torn_or_too_few_are_refused(python, tmp_path, make_model):
    torn = tmp_path / "torn"
    shutil.copytree(make_model("qwen3"), torn)
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert f"The weights of {torn} cannot be read" in refusal(python, manifests.write(tmp_path, str(torn)))
    config = json.loads((make_model("qwen3") / "config.json").read_text())
    deeper = tmp_path / "deeper"
    shutil.copytree(make_model("qwen3"), deeper)
    (deeper / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert f"The weights of {deeper} cannot be read or do not fit its config.json" in refusal(
        python, manifests.write(tmp_path, str(deeper))
    )
    fewer = tmp_path / "fewer"
    shutil.copytree(make_model("qwen3"), fewer)
    script = "import sys; from safetensors.numpy import load_file, save_file; w = load_file(sys.argv[1]); del w['model.norm.weight']; save_file(w, sys.argv[1])"
    assert python("-c", script, fewer / "model.safetensors").returncode == 0
    assert f"The weights of {fewer} cannot be read or do not fit its config.json" in refusal(
        python, manifests.write(tmp_path, str(fewer))
    )


def test_a_tokenizer_that_is_not_there_is_refused(python, tmp_path, make_model):
    silent = copy_without(make_model("qwen3"), tmp_path / "silent", "tokenizer.json")
    assert f"The model {silent} has no tokenizer: " in refusal(python, manifests.write(tmp_path, silent))
    (tmp_path / "silent" / "tokenizer.json").write_text("{}")
    assert f"The tokenizer of {silent} cannot be loaded" in refusal(python, manifests.write(tmp_path, silent))


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

"""Models in a directory as the hub has them: computed as their config.json says, or refused in one sentence."""

import json
import math
import shutil

import pytest

from runs.tests.training import hub_configs, manifests
from runs.tests.training.conftest import HERE, TRAINER, refusal, write_config
from runs.tests.training.hub_configs import GEMMA, GEMMA2, GEMMA3, LLAMA, QWEN2, QWEN3, QWEN3_MOE

# --- what is computed -------------------------------------------------------------------------------------------------


def compared(python, parent, stored, configs):
    """(difference, spread) of the logits of each model, by its name."""
    directories = [write_config(parent / name, config) for name, config in configs.items()]
    done = python(HERE / "compare_logits.py", stored, *directories)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() == configs.keys()
    return found


def test_logits_are_those_of_the_published_architecture(python, tmp_path):
    for name, (difference, spread) in compared(python, tmp_path, "float32", hub_configs.LOGITS).items():
        assert difference < 1e-4 and spread > 0.5, name


@pytest.mark.parametrize("stored", ["bfloat16", "float16", "mixed"])
def test_weights_are_read_in_whatever_type_they_are_stored(python, tmp_path, stored):
    kinds = {kind: hub_configs.OF_TYPE[kind] for kind in ("qwen3", "llama", "gemma3_text")}
    for kind, (difference, spread) in compared(python, tmp_path, stored, kinds).items():
        assert difference < 1e-4 and spread > 0.5, kind


def test_two_models_of_one_process_turn_by_their_own_frequencies(python, tmp_path):
    """The second would be computed like the first, were it the module's that was changed."""
    of_two = {"one": QWEN3 | {"rope_theta": 10000}, "two": QWEN3 | {"rope_theta": 5000000}, "three": QWEN3}
    for name, (difference, _) in compared(python, tmp_path, "float32", of_two).items():
        assert difference < 1e-4, name


def test_the_built_in_model_computes_what_it_says(python):
    """Theta 1,000,000, which is what Tunix has computed it with from the first on."""
    script = f"""
import sys; sys.path[:0] = [{str(TRAINER.parents[1])!r}, {str(HERE)!r}]
import jax.numpy as jnp, numpy as np, reference
from tunix.sft import utils
from runs.trainer import models
model = models.load("tunix-rt/tiny-qwen3", seed=0, lora_rank=0)
module, rng, tokens = model.module, np.random.default_rng(0), np.arange(3, 51)
rope = model.description["rope"]
weights = {{"model.embed_tokens.weight": module.embedder.input_embedding[...], "model.norm.weight": module.final_norm.w[...]}}
for number, layer in enumerate(module.layers):
    for part in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj):  # they begin as zeros
        part.kernel[...] = jnp.asarray(rng.standard_normal(part.kernel.shape) * 0.1, jnp.float32)
    name = f"model.layers.{{number}}"
    weights |= {{f"{{name}}.self_attn.{{x}}_proj.weight": getattr(layer.attn, f"{{x}}_proj").w[...].reshape(128, -1).T for x in "qkv"}}
    weights[f"{{name}}.self_attn.o_proj.weight"] = layer.attn.o_proj.w[...].reshape(-1, 128).T
    weights |= {{f"{{name}}.self_attn.{{x}}_norm.weight": getattr(layer.attn, f"{{x}}_norm").w[...] for x in "qk"}}
    weights |= {{f"{{name}}.mlp.{{x}}_proj.weight": getattr(layer.mlp, f"{{x}}_proj").kernel[...].T for x in ("gate", "up", "down")}}
    weights |= {{f"{{name}}.{{x}}_layernorm.weight": getattr(layer, f"{{x}}_layernorm").w[...] for x in ("input", "post_attention")}}
config = {{"model_type": "qwen3", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "head_dim": 32, "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "rope_parameters": rope}}
wanted = reference.Forward(config, {{name: np.asarray(each, np.float64) for name, each in weights.items()}}).logits(tokens)
there = jnp.ones((1, len(tokens)), bool)
found, _ = module(jnp.asarray(tokens[None]), utils.build_positions_from_mask(there), None, utils.make_causal_attn_mask(there))
print(rope["rope_theta"], float(np.abs(np.asarray(found[0]) - wanted).max()), float(wanted.std()))
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    theta, difference, spread = map(float, done.stdout.split())
    assert theta == 1_000_000 and difference < 1e-4 and spread > 0.1


# --- what is trained --------------------------------------------------------------------------------------------------


def rate(step, total, learning_rate):
    """The learning rate that is logged at a step: a rise over a tenth of the steps, then a cosine to a tenth of it."""
    warm_up, done = max(1, total // 10), min(step, total - 1)
    if done <= warm_up:
        return learning_rate * done / warm_up
    share = (done - warm_up) / (total - warm_up)
    return learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * share)) / 2)


@pytest.mark.parametrize("lora_rank", [0, 4])
@pytest.mark.parametrize("kind", ["qwen3", "gemma3_text", "llama"])
def test_a_bfloat16_model_trains_and_resumes_to_the_last_digit(python, tmp_path, make_model, kind, lora_rank):
    learning_rate = 0.01 if lora_rank else 0.003
    job = {"lora_rank": lora_rank, "learning_rate": learning_rate, "batch_size": 32}
    manifest = manifests.write(tmp_path, str(make_model(kind, "bfloat16")), **job)
    done = python(TRAINER, manifest)
    assert done.returncode == 0, done.stderr
    whole = manifests.metrics(tmp_path)
    not_finite = [(name, step) for name, points in whole.items() for step, each in points.items() if each - each != 0]
    assert not not_finite
    losses, rates = whole["train/loss"], whole["train/learning_rate"]
    assert list(losses) == list(range(1, 13)) and losses[12] < losses[1] - 0.2
    assert rates == {step: pytest.approx(rate(step, 12, learning_rate), rel=1e-6) for step in losses}
    assert len({round(each, 6) for each in losses.values()}) == 12, "not rounded to bfloat16's three digits"
    facts = manifests.facts(tmp_path)["model"]
    assert facts["stored_as"] == ["BF16"] and (facts["trained"] < facts["parameters"] / 3) == bool(lora_rank)

    checkpoints = tmp_path / "output" / "checkpoints"
    for step in (10, 12):
        shutil.rmtree(checkpoints / str(step))
    (tmp_path / "metrics.jsonl").unlink()
    manifest = manifests.write(tmp_path, str(make_model(kind, "bfloat16")), **job, resume={"step": 8})
    done = python(TRAINER, manifest)
    assert done.returncode == 0 and "resumed from step 8" in done.stdout, done.stderr
    again = {name: points for name, points in manifests.metrics(tmp_path).items() if not name.startswith("perf/")}
    assert list(again["train/loss"]) == [9, 10, 11, 12]
    for name, points in again.items():
        assert points == {step: whole[name][step] for step in points}, name


@pytest.mark.parametrize("kind", ["qwen2", "gemma", "gemma2", "qwen3_moe"])
def test_the_other_types_train_too(python, tmp_path, make_model, kind):
    done = python(TRAINER, manifests.write(tmp_path, str(make_model(kind, "bfloat16")), batch_size=32))
    assert done.returncode == 0, done.stderr
    losses = manifests.metrics(tmp_path)["train/loss"]
    assert len(losses) == 12 and losses[12] < losses[1] - 0.2
    model = manifests.facts(tmp_path)["model"]
    assert (model["source"], model["architecture"]) == ("directory", kind)


@pytest.mark.parametrize("stored", ["float16", "mixed"])
def test_lora_beside_weights_of_other_types(python, tmp_path, make_model, stored):
    manifest = manifests.write(
        tmp_path, str(make_model("llama", stored)), lora_rank=4, learning_rate=0.01, batch_size=32
    )
    done = python(TRAINER, manifest)
    assert done.returncode == 0, done.stderr
    losses = manifests.metrics(tmp_path)["train/loss"]
    assert len(losses) == 12 and losses[12] < losses[1] - 0.2


def test_lora_adapts_attention_and_feed_forward_in_float32(python, make_model):
    """Whatever the weights' type: each has adapters, they are float32, and activations stay in the model's type."""
    script = f"""
import sys; sys.path.insert(0, {str(TRAINER.parents[1])!r})
import jax.numpy as jnp
from flax import nnx
from runs.trainer import models
for directory in sys.argv[1:]:
    module = models.load(directory, seed=0, lora_rank=4).module
    adapters = {{".".join(map(str, path)): each[...] for path, each in nnx.iter_graph(module) if isinstance(each, nnx.LoRAParam)}}
    first = sorted(name.removeprefix("layers.0.") for name in adapters if name.startswith("layers.0."))
    print(len(first), set(str(each.dtype) for each in adapters.values()), len(adapters) == len(first) * len(module.layers))
"""
    directories = [make_model(kind, "bfloat16") for kind in ("qwen3", "llama", "gemma3_text")]
    done = python("-c", script, *directories)
    assert done.returncode == 0, done.stderr
    # Two each of gate, up and down, and of query, key, value and output; Gemma's keys and values are one.
    assert done.stdout.splitlines() == ["14 {'float32'} True", "14 {'float32'} True", "10 {'float32'} True"]


# --- what is refused --------------------------------------------------------------------------------------------------

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
QUANTIZED = {"quant_method": "gptq", "bits": 4}
# Of a config and its changes: the field and the value that the sentence names.
NOT_COMPUTED = [
    (QWEN3, {"rope_scaling": YARN}, "rope_type 'yarn'"),
    (QWEN3, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic'"),
    (QWEN3, {"rope_parameters": YARN | {"rope_theta": 1e6}}, "rope_type 'yarn'"),
    (QWEN3, {"attention_bias": True}, "attention_bias True"),
    (QWEN3, {"hidden_act": "gelu"}, "hidden_act 'gelu'"),
    (QWEN3, {"use_sliding_window": True, "sliding_window": 4096}, "use_sliding_window True"),
    (QWEN3, {"layer_types": ["sliding_attention", "full_attention"]}, "layer_types 'sliding_attention'"),
    (QWEN3, {"attention_dropout": 0.1}, "attention_dropout 0.1"),
    (QWEN3, {"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
    (QWEN3, {"rope_parameters": {"rope_theta": 1e6, "partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
    (QWEN3, {"num_key_value_heads": 3}, "num_key_value_heads 3"),
    (QWEN3, {"quantization_config": QUANTIZED}, f"quantization_config {QUANTIZED!r}"),
    (QWEN3, {"auto_map": {"AutoModelForCausalLM": "own.Model"}}, "auto_map"),
    (QWEN3, {"num_experts": 8}, "num_experts 8"),
    (QWEN3, {"final_logit_softcapping": 30.0}, "final_logit_softcapping 30.0"),
    (QWEN3_MOE, {"norm_topk_prob": False}, "norm_topk_prob False"),
    (QWEN3_MOE, {"decoder_sparse_step": 2}, "decoder_sparse_step 2"),
    (QWEN3_MOE, {"mlp_only_layers": [0]}, "mlp_only_layers [0]"),
    (QWEN3_MOE, {"output_router_logits": True}, "output_router_logits True"),
    (QWEN2, {"use_sliding_window": True, "max_window_layers": 1}, "use_sliding_window True"),
    (QWEN2, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type 'linear'"),
    (QWEN2, {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}, "rope_type 'yarn'"),
    (LLAMA, {"attention_bias": True}, "attention_bias True"),
    (LLAMA, {"mlp_bias": True}, "mlp_bias True"),
    (LLAMA, {"sliding_window": 4096}, "sliding_window 4096"),
    (LLAMA, {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping 50.0"),
    (LLAMA, {"query_pre_attn_scalar": 144}, "query_pre_attn_scalar 144"),
    (LLAMA, {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 4096}}, "rope_type 'longrope'"),
    (GEMMA, {"tie_word_embeddings": False}, "tie_word_embeddings False"),
    (GEMMA, {"rms_norm_eps": 1e-5}, "rms_norm_eps 1e-05"),
    (GEMMA, {"hidden_act": "relu"}, "hidden_act 'relu'"),
    (GEMMA, {"hidden_activation": "gelu"}, "hidden_activation 'gelu'"),
    (GEMMA, {"use_bidirectional_attention": True}, "use_bidirectional_attention True"),
    (GEMMA2, {"query_pre_attn_scalar": 144}, "query_pre_attn_scalar 144"),
    (GEMMA2, {"sliding_window": None}, "sliding_window None"),
    (GEMMA3, {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping 50.0"),
    (GEMMA3, {"final_logit_softcapping": 30.0}, "final_logit_softcapping 30.0"),
    (GEMMA3, {"query_pre_attn_scalar": 100}, "query_pre_attn_scalar 100"),
    (GEMMA3, {"sliding_window_pattern": 2}, "layer_types 'full_attention'"),
    (GEMMA3, {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic'"),
    (GEMMA3, {"use_bidirectional_attention": True}, "use_bidirectional_attention True"),
]  # fmt: skip


def said(python, parent, configs):
    """What the trainer says of each config.json, in the order of `configs`."""
    directories = [write_config(parent / str(number), config) for number, config in enumerate(configs)]
    done = python(HERE / "read_configs.py", *directories)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]).values())


def test_what_tunix_cannot_compute_is_refused_by_field_and_value(python, tmp_path):
    sentences = said(python, tmp_path, [config | changes for config, changes, _ in NOT_COMPUTED])
    for (config, changes, named), sentence in zip(NOT_COMPUTED, sentences, strict=True):
        assert sentence is not None, changes
        assert sentence.startswith(f"The config.json of m has {named}"), changes
        assert f"; Tunix computes {config['model_type']} with " in sentence and sentence.endswith(" only."), changes


def test_what_changes_nothing_is_not_refused(python, tmp_path):
    harmless = [
        QWEN3 | {"unsloth_version": "2025.1", "pad_token_id": 0, "eos_token_id": [2, 1], "torch_dtype": "float16"},
        {k: v for k, v in QWEN3.items() if k not in ("rope_theta", "rope_scaling", "torch_dtype")}
        | {"dtype": "bfloat16"},
        QWEN2 | {"attention_bias": True},  # which Qwen2 has in any case
        LLAMA | {"rope_scaling": {"rope_type": "default"}, "hidden_act": "swish"},
        GEMMA | {"hidden_activation": "gelu_pytorch_tanh"},
        GEMMA2 | {"tie_word_embeddings": True},
    ]
    assert said(python, tmp_path, harmless) == [None] * len(harmless)


def test_a_config_that_no_model_can_have_is_one_sentence(python, tmp_path):
    broken = [
        {"model_type": "bert"},
        {"model_type": "qwen3"},
        QWEN3 | {"num_attention_heads": 0},
        QWEN3 | {"num_hidden_layers": 0},
        QWEN3 | {"head_dim": 7},
        QWEN3 | {"rope_theta": None},
        LLAMA | {"rope_theta": -1.0},
        LLAMA | {"rope_theta": "10k"},
        LLAMA | {"rope_scaling": {"rope_type": "linear", "factor": 0}},
        GEMMA3 | {"rope_local_base_freq": None},
    ]
    sentences = said(python, tmp_path, broken)
    assert sentences[0].startswith("The model m is of type bert; this trainer knows qwen3, ")
    assert sentences[1:] == [
        "The config.json of m lacks hidden_size.",
        "The config.json of m has num_attention_heads 0; Tunix computes qwen3 with a number above 0 only.",
        "The config.json of m has num_hidden_layers 0; Tunix computes qwen3 with a number above 0 only.",
        "The config.json of m has head_dim 7; Tunix computes qwen3 with an even number only.",
        "The config.json of m has rope_theta None; Tunix computes qwen3 with a number above 0 only.",
        "The config.json of m has rope_theta -1.0; Tunix computes llama with a number above 0 only.",
        "The config.json of m has rope_theta '10k'; Tunix computes llama with a number above 0 only.",
        "The config.json of m has factor 0; Tunix computes llama with a number from 1 on only.",
        "The config.json of m has rope_theta None; Tunix computes gemma3_text with a number above 0 only.",
    ]


def test_a_config_of_the_wrong_types_is_one_sentence(python, tmp_path):
    broken = [
        QWEN3 | {"hidden_size": "wide"},
        QWEN3 | {"tie_word_embeddings": "yes"},
        LLAMA | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        LLAMA | {"rope_scaling": "llama3"},
        GEMMA2 | {"layer_types": ["sliding_attention"]},
    ]
    for sentence in said(python, tmp_path, broken):
        assert sentence.startswith("The config.json of m cannot be used: ") and "\n" not in sentence


def copy_without(source, target, name):
    shutil.copytree(source, target)
    (target / name).unlink()
    return str(target)


def changed_weights(python, source, target, change):
    """A copy whose weights, a dictionary `w`, `change` has changed."""
    shutil.copytree(source, target)
    script = f"import sys; from safetensors.numpy import load_file, save_file; w = load_file(sys.argv[1]); {change}; save_file(w, sys.argv[1])"
    assert python("-c", script, target / "model.safetensors").returncode == 0
    return str(target)


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
    (tmp_path / "bare" / "config.json").write_text("{")
    assert "is not JSON" in refused(bare)
    write_config(tmp_path / "bare", QWEN3 | {"rope_scaling": YARN})
    assert refused(bare).startswith(f"The config.json of {bare} has rope_type 'yarn'; Tunix computes qwen3 with ")


def test_weights_that_do_not_fit_the_config_are_refused_by_name(python, tmp_path, make_model):
    whole = make_model("qwen3")

    def refused(model_id):
        last = refusal(python, manifests.write(tmp_path, str(model_id)))
        return last.removeprefix(f"The weights of {model_id} do not fit its config.json: ")

    deeper = tmp_path / "deeper"
    shutil.copytree(whole, deeper)
    write_config(deeper, QWEN3 | {"num_hidden_layers": 3})
    assert refused(deeper) == "model.layers.2.self_attn.q_proj.weight is not there."
    write_config(deeper, QWEN3 | {"num_hidden_layers": 1})
    assert refused(deeper).startswith("a qwen3 model that Tunix computes has no model.layers.1.")
    write_config(deeper, QWEN3 | {"vocab_size": 300})
    assert refused(deeper) == "model.embed_tokens.weight has the shape (259, 64), not (300, 64)."
    write_config(deeper, QWEN3 | {"tie_word_embeddings": False})
    assert refused(deeper) == "lm_head.weight is not there."
    fewer = changed_weights(python, whole, tmp_path / "fewer", "del w['model.norm.weight']")
    assert refused(fewer) == "model.norm.weight is not there."
    biased = changed_weights(
        python, whole, tmp_path / "b", "w['model.layers.0.self_attn.q_proj.bias'] = w['model.norm.weight']"
    )
    assert refused(biased) == "a qwen3 model that Tunix computes has no model.layers.0.self_attn.q_proj.bias."


def test_weights_that_cannot_be_read_are_refused(python, tmp_path, make_model):
    torn = tmp_path / "torn"
    shutil.copytree(make_model("qwen3"), torn)
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert f"The weights of {torn} cannot be read: model.safetensors: " in refusal(
        python, manifests.write(tmp_path, str(torn))
    )
    change = "w['model.norm.weight'] = w['model.norm.weight'].astype('int8')"
    quantized = changed_weights(python, make_model("qwen3"), tmp_path / "quantized", change)
    assert refusal(python, manifests.write(tmp_path, quantized)) == (
        f"The weights of {quantized} cannot be read: model.norm.weight is stored as I8, not BF16 or F16 or F32."
    )


def test_weights_twice_and_in_two_files_are_read(python, tmp_path, make_model):
    """As Qwen3-0.6B has its tied output, and larger models their layers."""
    change = "w['lm_head.weight'] = w['model.embed_tokens.weight']; save_file({'model.norm.weight': w.pop('model.norm.weight')}, sys.argv[1].replace('model.s', 'model-2.s'))"
    twice = changed_weights(python, make_model("qwen3"), tmp_path / "twice", change)
    done = python(TRAINER, manifests.write(tmp_path, twice, batch_size=200))
    assert done.returncode == 0, done.stderr


def test_a_tokenizer_that_does_not_fit_is_refused(python, tmp_path, make_model):
    silent = copy_without(make_model("qwen3"), tmp_path / "silent", "tokenizer.json")
    assert f"The model {silent} has no tokenizer: " in refusal(python, manifests.write(tmp_path, silent))
    (tmp_path / "silent" / "tokenizer.json").write_text("{}")
    assert f"The tokenizer of {silent} cannot be loaded" in refusal(python, manifests.write(tmp_path, silent))
    small = make_model("llama", vocab_size=40)
    assert refusal(python, manifests.write(tmp_path, str(small))).startswith(
        f"The tokenizer of {small} makes the token "
    )

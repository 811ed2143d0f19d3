"""A model's weights: that the files hold those of its config.json, each and no other, and reading them."""

import importlib
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from runs.trainer import rope
from runs.trainer.architectures import head_dim
from runs.trainer.configs import Config
from runs.trainer.refusal import Refused

Shapes = dict[str, tuple[int, ...]]
READ = ("BF16", "F16", "F32")
# Computed, or the same as another: transformers does not read them either.
NOT_READ = re.compile(r".*\.rotary_emb\.inv_freq")


def load(model_id: str, directory: Path, config: Config, *, full_weights: bool) -> tuple[Any, list[str]]:
    """The model, and in which types its weights are stored. Raises Refused."""
    types = _check(model_id, directory, config)
    try:
        module = _read(directory, config, types, full_weights=full_weights)
    except (OSError, RuntimeError, ValueError, KeyError, AssertionError) as error:
        raise Refused(f"The weights of {model_id} cannot be read: {' '.join(str(error).split())[:300]}") from error
    if config.frequencies is not None:
        rope.apply(module, config.frequencies)
    return module, sorted(set().union(*types.values()))


# --- what is there ----------------------------------------------------------------------------------------------------


def _check(model_id: str, directory: Path, config: Config) -> dict[str, set[str]]:
    """The types of each file's weights. Only the files' headers are read. Raises Refused."""
    from safetensors import SafetensorError, safe_open

    shapes: Shapes = {}
    types = defaultdict(set)
    for path in sorted(directory.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118
                    weight = file.get_slice(name)
                    shapes[name] = tuple(weight.get_shape())
                    types[path.name].add(weight.get_dtype())
                    if weight.get_dtype() not in READ:
                        stored = f"{name} is stored as {weight.get_dtype()}"
                        raise Refused(f"The weights of {model_id} cannot be read: {stored}, not {' or '.join(READ)}.")
        except (OSError, SafetensorError) as error:
            raise Refused(f"The weights of {model_id} cannot be read: {path.name}: {error}.") from error
    if not types:
        raise Refused(f"The model {model_id} has no *.safetensors file.")
    if difference := _difference(shapes, expected(config), config.kind):
        raise Refused(f"The weights of {model_id} do not fit its config.json: {difference}.")
    return types


def _difference(there: Shapes, wanted: Shapes, kind: str) -> str | None:
    for name, shape in wanted.items():
        if name not in there:
            return f"{name} is not there"
        if there[name] != shape:
            return f"{name} has the shape {there[name]}, not {shape}"
    unread = [name for name in there if name not in wanted and not NOT_READ.fullmatch(name)]
    # With tied embeddings some hold the output's weights a second time.
    unread = [name for name in unread if name != "lm_head.weight"]
    return f"a {kind} model that Tunix computes has no {unread[0]}" if unread else None


def expected(config: Config) -> Shapes:
    """Names and shapes of all weights, as transformers' models have them."""
    complete = config.complete
    wide = complete.hidden_size
    shapes: Shapes = {"model.embed_tokens.weight": (complete.vocab_size, wide), "model.norm.weight": (wide,)}
    if not complete.tie_word_embeddings:
        shapes["lm_head.weight"] = (complete.vocab_size, wide)
    of_layer = _attention(config) | _feed_forward(config) | _norms(config)
    for number in range(complete.num_hidden_layers):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in of_layer.items()}
    return shapes


def _attention(config: Config) -> Shapes:
    complete, head = config.complete, head_dim(config.complete)
    queries, keys = complete.num_attention_heads * head, complete.num_key_value_heads * head
    outputs = {"q_proj": queries, "k_proj": keys, "v_proj": keys}
    shapes: Shapes = {f"self_attn.{name}.weight": (size, complete.hidden_size) for name, size in outputs.items()}
    shapes["self_attn.o_proj.weight"] = (complete.hidden_size, queries)
    if config.kind == "qwen2":
        shapes |= {f"self_attn.{name}.bias": (size,) for name, size in outputs.items()}
    return shapes


def _feed_forward(config: Config) -> Shapes:
    complete, wide = config.complete, config.complete.hidden_size
    if config.kind != "qwen3_moe":
        return _projections("mlp", wide, complete.intermediate_size)
    shapes: Shapes = {"mlp.gate.weight": (complete.num_experts, wide)}
    for number in range(complete.num_experts):
        shapes |= _projections(f"mlp.experts.{number}", wide, complete.moe_intermediate_size)
    return shapes


def _projections(name: str, wide: int, inner: int) -> Shapes:
    return {
        f"{name}.gate_proj.weight": (inner, wide),
        f"{name}.up_proj.weight": (inner, wide),
        f"{name}.down_proj.weight": (wide, inner),
    }


def _norms(config: Config) -> Shapes:
    names = ["input_layernorm", "post_attention_layernorm"]
    if config.kind in ("gemma2", "gemma3_text"):
        names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    shapes: Shapes = {f"{name}.weight": (config.complete.hidden_size,) for name in names}
    if config.kind in ("qwen3", "qwen3_moe", "gemma3_text"):
        shapes |= {f"self_attn.{name}.weight": (head_dim(config.complete),) for name in ("q_norm", "k_norm")}
    return shapes


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(directory: Path, config: Config, types: dict[str, set[str]], *, full_weights: bool) -> Any:
    import jax.numpy as jnp

    # Small steps of full weights are lost in bfloat16's rounding; adapters are trained beside weights that stay.
    # float16 overflows, in activations and in gradients.
    dtype = jnp.float32 if full_weights or any("F16" in each for each in types.values()) else None
    loader = importlib.import_module(f"tunix.models.{config.architecture.package}.{config.architecture.loader}")
    # The faster way takes all weights of a file for what the first one is.
    mode = "original" if any(len(each) > 1 for each in types.values()) else "optimized"
    if config.kind == "gemma":
        return _read_gemma(directory, config, loader, dtype, mode)
    return loader.create_model_from_safe_tensors(str(directory), config.tunix, dtype=dtype, mode=mode)


def _read_gemma(directory: Path, config: Config, loader: Any, dtype: Any, mode: str) -> Any:
    """Tunix reads Gemma 1 by Gemma 2's names, where the norm before the feed-forward has another."""
    from tunix.models import safetensors_loader
    from tunix.models.gemma.model import Gemma

    before_feed_forward = {
        r"model\.layers\.([0-9]+)\.post_attention_layernorm\.weight": (r"layers.\1.pre_ffw_norm.scale", None)
    }
    return safetensors_loader.load_and_create_model(
        str(directory),
        Gemma,
        config.tunix,
        lambda sizes: loader._get_key_and_transform_mapping(sizes) | before_feed_forward,
        preprocess_fn=loader._make_preprocess_fn(config.tunix),
        dtype=dtype,
        mode=mode,
    )

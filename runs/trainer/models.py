"""Models by their id: the built-in one, a directory in Hugging Face's layout, or one of the hub.

Weights are read by Tunix's own loaders; sizes are those of the directory's config.json.
"""

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runs.trainer.data import Encode
from runs.trainer.refusal import Refused

TINY = "tunix-rt/tiny-qwen3"
DOWNLOADED = ("*.json", "*.safetensors", "*.model", "tokenizer*", "*.jinja")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
# Attention and feed-forward, by the names that Tunix's models give them.
LORA_MODULES = ".*(q_proj|k_proj|v_proj|kv_proj|o_proj|gate_proj|up_proj|down_proj|q_einsum|kv_einsum|qkv_einsum)"


@dataclass(frozen=True)
class Model:
    module: Any
    encode: Encode
    pad: int
    source: str
    description: dict[str, Any] = field(default_factory=dict)


def load(model_id: str, *, seed: int, lora_rank: int) -> Model:
    """Raises Refused."""
    if model_id == TINY:
        model = _tiny(seed)
    else:
        directory, source = _directory(model_id)
        model = _from_directory(model_id, directory, source, full_weights=not lora_rank)
    if not lora_rank:
        return model
    return Model(_with_lora(model.module, lora_rank, seed), model.encode, model.pad, model.source, model.description)


def _with_lora(module: Any, rank: int, seed: int) -> Any:
    import qwix
    from flax import nnx

    provider = qwix.LoraProvider(module_path=LORA_MODULES, rank=rank, alpha=2.0 * rank)
    return qwix.apply_lora_to_model(module, provider, rngs=nnx.Rngs(seed), **module.get_model_input())


# --- the built-in model -----------------------------------------------------------------------------------------------

PAD, BOS, EOS, FIRST_BYTE = 0, 1, 2, 3


def _tiny(seed: int) -> Model:
    """Random weights and a token a byte: for trying things out, on any machine, without a download."""
    from flax import nnx
    from tunix.models.qwen3 import model as qwen3

    config = qwen3.ModelConfig(
        num_layers=2,
        vocab_size=FIRST_BYTE + 256,
        embed_dim=128,
        hidden_dim=512,
        num_heads=4,
        head_dim=32,
        num_kv_heads=2,
        rope_theta=10_000,
        norm_eps=1e-6,
        use_tied_embedding=True,
    )
    return Model(qwen3.Qwen3(config, rngs=nnx.Rngs(seed)), _encode_bytes, PAD, "built-in", {"architecture": "qwen3"})


def _encode_bytes(prompt: str, response: str) -> tuple[list[int], list[int]]:
    def tokens(text: str) -> list[int]:
        return [FIRST_BYTE + byte for byte in text.encode()]

    return [BOS, *tokens(prompt + "\n")], [*tokens(response), EOS]


# --- real ones --------------------------------------------------------------------------------------------------------


def _directory(model_id: str) -> tuple[Path, str]:
    """Where the files are, and whether they came from a directory or from the hub."""
    path = Path(model_id).expanduser()
    if path.is_dir():
        return path, "directory"
    if model_id.startswith(("/", "./", "../", "~")):
        raise Refused(f"There is no model directory {model_id}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model_id, allow_patterns=list(DOWNLOADED))), "hub"
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise Refused(f"The model {model_id} cannot be had from the Hugging Face hub: {reason}") from error


@dataclass(frozen=True)
class Architecture:
    """One of Tunix's models: its package, its loader's module, and its ModelConfig from a config.json."""

    package: str
    loader: str
    config: Callable[[Any, dict[str, Any]], Any]


def _of_transformer(model: Any, found: dict[str, Any], **more: Any) -> Any:
    heads = found["num_attention_heads"]
    return model.ModelConfig(
        num_layers=found["num_hidden_layers"],
        embed_dim=found["hidden_size"],
        hidden_dim=found["intermediate_size"],
        num_heads=heads,
        head_dim=found.get("head_dim") or found["hidden_size"] // heads,
        num_kv_heads=found.get("num_key_value_heads") or heads,
        **more,
    )


def _qwen(model: Any, found: dict[str, Any]) -> Any:
    experts = {name: found[name] for name in ("num_experts", "num_experts_per_tok") if found.get(name)}
    return _of_transformer(
        model,
        found,
        **_rotary(found),
        use_tied_embedding=bool(found.get("tie_word_embeddings")),
        **experts,
    )


def _llama(model: Any, found: dict[str, Any]) -> Any:
    return _of_transformer(model, found, **_rotary(found), weight_tying=bool(found.get("tie_word_embeddings")))


def _rotary(found: dict[str, Any]) -> dict[str, Any]:
    """transformers 5 writes rope_theta one level down."""
    theta = found.get("rope_theta") or (found.get("rope_parameters") or {})["rope_theta"]
    return {"vocab_size": found["vocab_size"], "rope_theta": int(theta), "norm_eps": found["rms_norm_eps"]}


def _gemma(model: Any, found: dict[str, Any]) -> Any:
    second, layers = found["model_type"] == "gemma2", found["num_hidden_layers"]
    kinds = model.AttentionType
    alternating = [kinds.LOCAL_SLIDING if layer % 2 == 0 else kinds.GLOBAL for layer in range(layers)]
    return _of_transformer(
        model,
        found,
        num_embed=found["vocab_size"],
        final_logit_softcap=found.get("final_logit_softcapping"),
        attn_logits_soft_cap=found.get("attn_logit_softcapping"),
        sliding_window_size=found.get("sliding_window") if second else None,
        attention_types=tuple(alternating) if second else (kinds.GLOBAL,) * layers,
        use_post_attn_norm=second,
        use_post_ffw_norm=second,
    )


def _gemma3(model: Any, found: dict[str, Any]) -> Any:
    scaling = found.get("rope_scaling") or {}
    return _of_transformer(
        model,
        found,
        num_embed=found["vocab_size"],
        sliding_window_size=found.get("sliding_window"),
        local_base_frequency=int(found.get("rope_local_base_freq") or 10_000),
        global_base_frequency=int(found.get("rope_theta") or 1_000_000),
        global_scale_factor=float(scaling.get("factor") or 1.0),
    )


def _not_applied(found: dict[str, Any]) -> list[str]:
    """What a config.json asks for and Tunix's model of that type does not do."""
    notes = []
    scaling = found.get("rope_scaling") or {}
    kind = scaling.get("rope_type") or scaling.get("type")
    if kind not in (None, "default") and found["model_type"] != "gemma3_text":
        notes.append(f"rope_scaling {kind}: positions beyond the original context are not what the model has learnt")
    scalar, head = found.get("query_pre_attn_scalar"), found.get("head_dim")
    if scalar and head and scalar != head:
        notes.append(f"query_pre_attn_scalar {scalar}: attention is scaled by the head's size, {head}")
    return notes


ARCHITECTURES = {
    "qwen3": Architecture("qwen3", "params", _qwen),
    "qwen3_moe": Architecture("qwen3", "params", _qwen),
    "qwen2": Architecture("qwen2", "params", _qwen),
    "llama": Architecture("llama3", "params", _llama),
    "gemma": Architecture("gemma", "params_safetensors", _gemma),
    "gemma2": Architecture("gemma", "params_safetensors", _gemma),
    "gemma3_text": Architecture("gemma3", "params_safetensors", _gemma3),
}


def _from_directory(model_id: str, directory: Path, source: str, *, full_weights: bool) -> Model:
    import jax.numpy as jnp

    found = _config(model_id, directory)
    kind = found.get("model_type")
    architecture = ARCHITECTURES.get(str(kind))
    if architecture is None:
        known = ", ".join(ARCHITECTURES)
        raise Refused(f"The model {model_id} is of type {kind}; this trainer knows {known}.")
    if not list(directory.glob("*.safetensors")):
        raise Refused(f"The model {model_id} has no *.safetensors file.")
    package = f"tunix.models.{architecture.package}"
    loader = importlib.import_module(f"{package}.{architecture.loader}")
    try:
        config = architecture.config(importlib.import_module(f"{package}.model"), found)
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"The config.json of {model_id} cannot be used: it lacks or has a wrong {error}.") from error
    for note in _not_applied(found):
        print(f"Tunix does not apply the {note}.", file=sys.stderr)
    # Small steps of full weights are lost in bfloat16's rounding; adapters are trained beside weights that stay.
    dtype = jnp.float32 if full_weights else None
    try:
        module = loader.create_model_from_safe_tensors(str(directory), config, dtype=dtype)
        _refuse_missing_weights(model_id, module)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise Refused(f"The weights of {model_id} cannot be read or do not fit its config.json: {reason}") from error
    encode, pad = _tokenizer(model_id, directory)
    return Model(module, encode, pad, source, {"architecture": kind})


def _config(model_id: str, directory: Path) -> dict[str, Any]:
    try:
        found = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"The model {model_id} has no config.json that can be read: {error.strerror}.") from error
    except ValueError as error:
        raise Refused(f"The config.json of {model_id} is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise Refused(f"The config.json of {model_id} is no object.")
    return found


def _refuse_missing_weights(model_id: str, module: Any) -> None:
    """The loader leaves a weight that no file has as a mere shape."""
    import jax
    from flax import nnx

    for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.state(module)):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise Refused(f"The files of {model_id} lack the weight {jax.tree_util.keystr(path)}.")


def _tokenizer(model_id: str, directory: Path) -> tuple[Encode, int]:
    # Without its files transformers makes one that knows no word.
    if not any((directory / name).is_file() for name in TOKENIZER_FILES):
        raise Refused(f"The model {model_id} has no tokenizer: none of {', '.join(TOKENIZER_FILES)}.")
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise Refused(f"The tokenizer of {model_id} cannot be loaded: {reason}") from error
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    pad = next((each for each in (tokenizer.pad_token_id, *end) if each is not None), 0)

    def plain(prompt: str, response: str) -> tuple[list[int], list[int]]:
        first = tokenizer.encode(prompt + "\n", add_special_tokens=False)
        return begin + first, tokenizer.encode(response, add_special_tokens=False) + end

    def chat(prompt: str, response: str) -> tuple[list[int], list[int]]:
        asked = [{"role": "user", "content": prompt}]
        head = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        first = tokenizer.encode(head, add_special_tokens=False)
        return first, tokenizer.encode(response, add_special_tokens=False) + end

    return (chat if getattr(tokenizer, "chat_template", None) else plain), pad

"""Under the trainer's interpreter: `make_model.py TYPE DIRECTORY...`, random weights for the config.json that is there.

A directory is then as one of the hub. TYPE is bfloat16, float16 or float32; `mixed` keeps norms in float32.
"""

import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHAT = "{% for m in messages %}<user>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "mixed": ml_dtypes.bfloat16}


def tokenizer(directory: Path, kind: str) -> None:
    """A token a byte, and some special ones: 259."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: number for number, word in enumerate(["<pad>", "<bos>", "<eos>", *alphabet])}
    plain = Tokenizer(models.BPE(vocab=words, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    whole = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
    if kind == "qwen3":  # the others have no template: a base model
        whole.chat_template = CHAT
    whole.save_pretrained(directory)


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    kind, wide, inner = config["model_type"], config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or wide // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    found = {"model.embed_tokens.weight": (config["vocab_size"], wide), "model.norm.weight": (wide,)}
    if not config.get("tie_word_embeddings", kind.startswith("gemma")):
        found["lm_head.weight"] = (config["vocab_size"], wide)
    for number in range(config["num_hidden_layers"]):
        name = f"model.layers.{number}"
        for each, size in (("q", queries), ("k", keys), ("v", keys)):
            found[f"{name}.self_attn.{each}_proj.weight"] = (size, wide)
            if kind == "qwen2":
                found[f"{name}.self_attn.{each}_proj.bias"] = (size,)
        found[f"{name}.self_attn.o_proj.weight"] = (wide, queries)
        if kind in ("qwen3", "qwen3_moe", "gemma3_text"):
            found |= {f"{name}.self_attn.{each}_norm.weight": (head,) for each in "qk"}
        norms = ["input", "post_attention"]
        norms += ["pre_feedforward", "post_feedforward"] if kind in ("gemma2", "gemma3_text") else []
        found |= {f"{name}.{each}_layernorm.weight": (wide,) for each in norms}
        parts = [f"{name}.mlp"]
        if kind == "qwen3_moe":
            parts = [f"{name}.mlp.experts.{each}" for each in range(config["num_experts"])]
            found[f"{name}.mlp.gate.weight"] = (config["num_experts"], wide)
            inner = config["moe_intermediate_size"]
        for part in parts:
            found |= {f"{part}.{each}_proj.weight": (inner, wide) for each in ("gate", "up")}
            found[f"{part}.down_proj.weight"] = (wide, inner)
    return found


def main(directory: Path, stored: str) -> None:
    config = json.loads((directory / "config.json").read_text())
    kind, rng, weights = config["model_type"], np.random.default_rng(0), {}
    for name, shape in shapes(config).items():
        norm = name.endswith("norm.weight")
        middle = 1 if norm and not kind.startswith("gemma") else 0  # Gemma's count from 1
        weight = middle + rng.standard_normal(shape) * (0.2 if norm else 0.12)
        weights[name] = weight.astype(np.float32 if norm and stored == "mixed" else TYPES[stored])
    save_file(weights, directory / "model.safetensors")
    tokenizer(directory, kind)


if __name__ == "__main__":
    for made in sys.argv[2:]:
        main(Path(made), sys.argv[1])

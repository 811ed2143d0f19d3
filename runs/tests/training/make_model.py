"""Under the trainer's interpreter: `make_model.py DIRECTORY TYPE`, a tiny model with random weights as the hub has them."""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS, HEAD = 64, 128, 2, 4, 2, 16
CHAT = "{% for m in messages %}<user>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
rng = np.random.default_rng(0)


def weight(*shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) * 0.05).astype(np.float32)


def tokenizer(directory: Path, kind: str) -> int:
    """A token a byte, and some special ones. Returns how many there are."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: number for number, word in enumerate(["<pad>", "<bos>", "<eos>", *alphabet])}
    plain = Tokenizer(models.BPE(vocab=words, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    whole = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
    if kind == "qwen3":  # the others have no template: a base model
        whole.chat_template = CHAT
    whole.save_pretrained(directory)
    return len(words)


def layer(number: int, kind: str) -> dict[str, np.ndarray]:
    name = f"model.layers.{number}"
    weights = {
        f"{name}.self_attn.q_proj.weight": weight(HEADS * HEAD, HIDDEN),
        f"{name}.self_attn.k_proj.weight": weight(KV_HEADS * HEAD, HIDDEN),
        f"{name}.self_attn.v_proj.weight": weight(KV_HEADS * HEAD, HIDDEN),
        f"{name}.self_attn.o_proj.weight": weight(HIDDEN, HEADS * HEAD),
        f"{name}.mlp.gate_proj.weight": weight(INNER, HIDDEN),
        f"{name}.mlp.up_proj.weight": weight(INNER, HIDDEN),
        f"{name}.mlp.down_proj.weight": weight(HIDDEN, INNER),
        f"{name}.input_layernorm.weight": np.ones(HIDDEN, np.float32),
        f"{name}.post_attention_layernorm.weight": np.ones(HIDDEN, np.float32),
    }
    if kind in ("qwen3", "gemma3_text"):
        weights |= {f"{name}.self_attn.{each}_norm.weight": np.ones(HEAD, np.float32) for each in "qk"}
    if kind == "gemma3_text":
        for each in ("pre", "post"):
            weights[f"{name}.{each}_feedforward_layernorm.weight"] = np.zeros(HIDDEN, np.float32)
    return weights


def main(directory: Path, kind: str) -> None:
    directory.mkdir(parents=True)
    words = tokenizer(directory, kind)
    weights = {"model.embed_tokens.weight": weight(words, HIDDEN), "model.norm.weight": np.ones(HIDDEN, np.float32)}
    if kind == "llama":
        weights["lm_head.weight"] = weight(words, HIDDEN)
    for number in range(LAYERS):
        weights |= layer(number, kind)
    save_file(weights, directory / "model.safetensors")
    config = {
        "model_type": kind,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "vocab_size": words,
        "rope_theta": 10000,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": kind != "llama",
        "sliding_window": 64,
    }
    (directory / "config.json").write_text(json.dumps(config))


main(Path(sys.argv[1]), sys.argv[2])

"""A forward pass in numpy and float64, written from the published architectures: what a config.json means.

Qwen2 (arXiv 2407.10671), Qwen3 (2505.09388), Llama 3 (2407.21783), Gemma (2403.08295), Gemma 2 (2408.00118) and
Gemma 3 (2503.19786). It reads a config.json by itself, and knows nothing of the trainer.
"""

import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def logits(directory, tokens):
    """Of one sequence: (tokens, vocabulary)."""
    directory = Path(directory)
    config = json.loads((directory / "config.json").read_text())
    weights = {name: each.astype(np.float64) for name, each in load_file(directory / "model.safetensors").items()}
    return Forward(config, weights).logits(np.asarray(tokens))


class Forward:
    def __init__(self, config, weights):
        self.config, self.weights, self.kind = config, weights, config["model_type"]
        self.gemma = self.kind.startswith("gemma")
        self.heads = config["num_attention_heads"]
        self.groups = config["num_key_value_heads"]
        self.head = config.get("head_dim") or config["hidden_size"] // self.heads
        self.eps = config["rms_norm_eps"]

    def logits(self, tokens):
        x = self.weights["model.embed_tokens.weight"][tokens]
        if self.gemma:
            x = x * math.sqrt(self.config["hidden_size"])
        for number in range(self.config["num_hidden_layers"]):
            x = self.layer(number, x)
        x = self.norm(x, "model.norm")
        tied = self.config.get("tie_word_embeddings", self.gemma)
        out = x @ self.weights["model.embed_tokens.weight" if tied else "lm_head.weight"].T
        return cap(out, self.config.get("final_logit_softcapping"))

    def layer(self, number, x):
        name = f"model.layers.{number}"
        after = self.kind in ("gemma2", "gemma3_text")  # norms before and after both parts
        out = self.attention(number, self.norm(x, f"{name}.input_layernorm"))
        x = x + (self.norm(out, f"{name}.post_attention_layernorm") if after else out)
        before = f"{name}.{'pre_feedforward_layernorm' if after else 'post_attention_layernorm'}"
        out = self.feed_forward(f"{name}.mlp", self.norm(x, before))
        return x + (self.norm(out, f"{name}.post_feedforward_layernorm") if after else out)

    def norm(self, x, name):
        weight = self.weights[f"{name}.weight"]
        scaled = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps)
        return scaled * (1 + weight if self.gemma else weight)

    # --- attention

    def attention(self, number, x):
        name = f"model.layers.{number}.self_attn"
        query, key, value = (self.split(x, f"{name}.{each}_proj") for each in "qkv")
        if f"{name}.q_norm.weight" in self.weights:
            query, key = self.norm(query, f"{name}.q_norm"), self.norm(key, f"{name}.k_norm")
        turned = self.frequencies(number)
        query, key = turn(query, turned), turn(key, turned)
        key, value = (np.repeat(each, self.heads // self.groups, axis=1) for each in (key, value))
        scores = np.einsum("thd,shd->hts", query, key) / math.sqrt(self.config.get("query_pre_attn_scalar", self.head))
        scores = cap(scores, self.config.get("attn_logit_softcapping"))
        scores = np.where(self.mask(number, len(x)), scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        return np.einsum("hts,shd->thd", shares, value).reshape(len(x), -1) @ self.weights[f"{name}.o_proj.weight"].T

    def split(self, x, name):
        out = x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0)
        return out.reshape(len(x), -1, self.head)

    def slides(self, number):
        return {"gemma2": number % 2 == 0, "gemma3_text": number % 6 != 5}.get(self.kind, False)

    def mask(self, number, length):
        back = np.arange(length)[:, None] - np.arange(length)[None, :]
        return (back >= 0) & (back < self.config["sliding_window"] if self.slides(number) else True)

    def frequencies(self, number):
        rope = self.rope(number)
        plain = rope["rope_theta"] ** -(np.arange(0, self.head, 2) / self.head)
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind == "linear":
            return plain / rope["factor"]
        return [llama3(each, rope) for each in plain] if kind == "llama3" else plain

    def rope(self, number):
        config = self.config
        if self.kind == "gemma3_text":
            layers = config.get("rope_parameters") or {
                "sliding_attention": {"rope_theta": config.get("rope_local_base_freq")},
                "full_attention": {"rope_theta": config.get("rope_theta"), **(config.get("rope_scaling") or {})},
            }
            return layers["sliding_attention" if self.slides(number) else "full_attention"]
        if "rope_parameters" in config:
            return config["rope_parameters"]
        return {"rope_theta": config["rope_theta"], **(config.get("rope_scaling") or {})}

    # --- feed-forward

    def feed_forward(self, name, x):
        if self.kind != "qwen3_moe":
            return self.gated(name, x)
        router = x @ self.weights[f"{name}.gate.weight"].T
        shares = np.exp(router - router.max(-1, keepdims=True))
        out = np.zeros_like(x)
        for row, share in enumerate(shares):
            chosen = np.argsort(-share)[: self.config["num_experts_per_tok"]]
            for expert in chosen:
                part = share[expert] / share[chosen].sum()
                out[row] += part * self.gated(f"{name}.experts.{expert}", x[row])
        return out

    def gated(self, name, x):
        gate, up, down = (self.weights[f"{name}.{each}_proj.weight"] for each in ("gate", "up", "down"))
        act = gelu if self.gemma else silu
        return (act(x @ gate.T) * (x @ up.T)) @ down.T


def turn(x, frequencies):
    """Rotary position embeddings; a head's halves are the pairs."""
    angles = np.arange(len(x))[:, None] * np.asarray(frequencies)[None, :]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def llama3(frequency, rope):
    length = rope["original_max_position_embeddings"]
    wavelength = 2 * math.pi / frequency
    if wavelength < length / rope["high_freq_factor"]:
        return frequency
    if wavelength > length / rope["low_freq_factor"]:
        return frequency / rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = (length / wavelength - low) / (high - low)
    return (1 - smooth) * frequency / rope["factor"] + smooth * frequency


def cap(x, limit):
    return x if limit is None else np.tanh(x / limit) * limit


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

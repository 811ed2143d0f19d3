"""Rotary position embeddings as a config.json asks for them.

Tunix 0.1.7 computes those of Qwen3, Llama and Gemma 1 and 2 with a constant, whatever the config says.
"""

import functools
import math
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import jax.numpy as jnp
import numpy as np

from runs.trainer.refusal import NotComputed

# By Tunix's package: what its models compute with when they are left alone.
CONSTANTS = {"qwen3": 1_000_000, "llama3": 1_000_000, "gemma": 10_000}
KINDS = ("default", "linear", "llama3")


def check(parameters: Mapping[str, Any], kinds: tuple[str, ...] = KINDS) -> str:
    """The kind of embeddings, one of `kinds`, where `parameters` are as transformers 5 has them. Raises NotComputed."""
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind not in kinds:
        raise NotComputed("rope_type", kind, f"rope_type {' or '.join(kinds)}")
    if (part := parameters.get("partial_rotary_factor")) not in (None, 1):
        raise NotComputed("partial_rotary_factor", part, "partial_rotary_factor 1")
    for field, least in (("rope_theta", 0), *([] if kind == "default" else [("factor", 1)])):
        value = parameters.get(field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not max(least, 1e-9) <= value < math.inf:
            raise NotComputed(field, value, f"a number {'from 1 on' if least else 'above 0'}")
    return kind


def frequencies(parameters: Mapping[str, Any], head_dim: int) -> np.ndarray:
    """Radians a position, for each pair of a head's numbers. Raises NotComputed."""
    kind = check(parameters)
    plain = 1.0 / parameters["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
    if kind == "default":
        return plain
    if kind == "linear":
        return plain / parameters["factor"]
    return _of_llama3(plain, parameters)


def _of_llama3(plain: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
    """Long wavelengths are stretched, short ones are not, and those between partly (Llama 3.1)."""
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    turns = parameters["original_max_position_embeddings"] * plain / (2 * math.pi)
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return kept * plain + (1 - kept) * plain / parameters["factor"]


def other_frequencies(package: str, parameters: Mapping[str, Any], head_dim: int) -> np.ndarray | None:
    """Those of a model that asks for others than its package computes anyway. Raises NotComputed."""
    if package not in CONSTANTS:
        return None
    wanted = frequencies(parameters, head_dim)
    constant = frequencies({"rope_theta": CONSTANTS[package]}, head_dim)
    return None if np.array_equal(wanted, constant) else wanted


def apply(module: Any, wanted: np.ndarray) -> None:
    """Make `module`, and no other model in this process, turn its queries and keys by these frequencies."""
    for layer in module.layers:
        kind: Any = type(layer.attn)
        layer.attn.__class__ = _attention(kind, tuple(wanted.tolist()))


@functools.cache
def _attention(kind: Any, wanted: tuple[float, ...]) -> type:
    """A class of attention like `kind`, whose code finds another `apply_rope`. The same one for equal arguments."""
    block = kind.block
    names = block.__globals__ | {"apply_rope": _rotation(np.array(wanted, np.float32))}
    bound = FunctionType(block.__code__, names, block.__name__, block.__defaults__, block.__closure__)
    return type(kind.__name__, (kind,), {"block": bound, "__module__": kind.__module__})


def _rotation(wanted: np.ndarray) -> Any:
    def apply_rope(inputs: Any, positions: Any, head_dim: int) -> Any:
        angles = (positions[..., None] * wanted)[..., None, :]
        sin, cos = jnp.sin(angles), jnp.cos(angles)
        first, second = jnp.split(inputs, 2, axis=-1)
        return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(inputs.dtype)

    return apply_rope

"""Adapters beside weights that stay as they are."""

from typing import Any

import jax
import jax.numpy as jnp
import qwix
from flax import nnx

# Attention and feed-forward, by the names that Tunix's models give them.
MODULES = ".*(q_proj|k_proj|v_proj|kv_proj|o_proj|gate_proj|up_proj|down_proj|q_einsum|kv_einsum|qkv_einsum)"


class Provider(qwix.LoraProvider):
    """Adapters compute in their own precision, and leave that of the model's activations as it was."""

    def dot_general(self, lhs: Any, rhs: Any, *args: Any, **options: Any) -> Any:
        return _like_product(super().dot_general(lhs, rhs, *args, **options), lhs, rhs)

    def einsum(self, einsum_str: str, *operands: Any, **options: Any) -> Any:
        return _like_product(super().einsum(einsum_str, *operands, **options), *operands)


def _like_product(result: Any, *operands: Any) -> Any:
    return result.astype(jnp.result_type(*(each.dtype for each in operands)))


def add(module: Any, rank: int, seed: int) -> Any:
    """`module` with adapters in float32, whatever its weights are in: small steps are lost in bfloat16's rounding."""
    provider = Provider(module_path=MODULES, rank=rank, alpha=2.0 * rank)
    adapted = qwix.apply_lora_to_model(module, provider, rngs=nnx.Rngs(seed), **module.get_model_input())
    adapters = nnx.state(adapted, nnx.LoRAParam)
    nnx.update(adapted, jax.tree.map(lambda each: each.astype(jnp.float32), adapters))
    return adapted

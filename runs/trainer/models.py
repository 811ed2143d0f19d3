"""Models by their id: the built-in one, a directory in Hugging Face's layout, or one of the hub."""

from dataclasses import dataclass, field, replace
from typing import Any

from runs.trainer.data import Encode

TINY = "tunix-rt/tiny-qwen3"


@dataclass(frozen=True)
class Model:
    """`description` is what was found out about it, for the record."""

    module: Any
    encode: Encode
    pad: int
    source: str
    description: dict[str, Any] = field(default_factory=dict)


def load(model_id: str, *, seed: int, lora_rank: int) -> Model:
    """Raises Refused."""
    model = _tiny(seed) if model_id == TINY else _real(model_id, full_weights=not lora_rank)
    if not lora_rank:
        return model
    from runs.trainer import lora

    return replace(model, module=lora.add(model.module, lora_rank, seed))


def _real(model_id: str, *, full_weights: bool) -> Model:
    from runs.trainer import configs, hub, tokenization, weights

    directory, source = hub.find(model_id)
    config = configs.read(model_id, directory)
    encode, pad = tokenization.load(model_id, directory, config.complete.vocab_size)
    module, types = weights.load(model_id, directory, config, full_weights=full_weights)
    return Model(module, encode, pad, source, config.description | {"stored_as": types})


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
        rope_theta=1_000_000,  # what Tunix computes Qwen3 with, whatever stands here
        norm_eps=1e-6,
        use_tied_embedding=True,
    )
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    description = {"architecture": "qwen3", "rope": rope}
    return Model(qwen3.Qwen3(config, rngs=nnx.Rngs(seed)), _encode_bytes, PAD, "built-in", description)


def _encode_bytes(prompt: str, response: str) -> tuple[list[int], list[int]]:
    def tokens(text: str) -> list[int]:
        return [FIRST_BYTE + byte for byte in text.encode()]

    return [BOS, *tokens(prompt + "\n")], [*tokens(response), EOS]

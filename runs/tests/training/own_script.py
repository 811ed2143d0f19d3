"""Somebody's own training with Tunix, as they run it from a shell. It knows nothing of any registry."""

import sys

import jax
import numpy as np
import optax
from flax import nnx
from tunix.models.qwen3 import model as qwen3
from tunix.sft import peft_trainer, utils

config = qwen3.ModelConfig(
    num_layers=1, vocab_size=32, embed_dim=16, hidden_dim=32, num_heads=2, head_dim=8, num_kv_heads=1,
    rope_theta=10_000, norm_eps=1e-6, use_tied_embedding=True,
)  # fmt: skip


def batches(count):
    for number in range(count):
        tokens = np.random.default_rng(number).integers(1, 32, (4, 16), np.int32)
        yield peft_trainer.TrainingInput(input_tokens=tokens, input_mask=np.ones_like(tokens, bool))


def model_input(batch):
    there = batch.input_tokens != 0
    return {
        "input_tokens": batch.input_tokens,
        "input_mask": batch.input_mask,
        "positions": utils.build_positions_from_mask(there),
        "attention_mask": utils.make_causal_attn_mask(there),
    }


trainer = peft_trainer.PeftTrainer(
    qwen3.Qwen3(config, rngs=nnx.Rngs(0)),
    optax.sgd(0.1),
    peft_trainer.TrainingConfig(eval_every_n_steps=100, max_steps=int(sys.argv[1])),
).with_gen_model_input_fn(model_input)
trainer.train(batches(int(sys.argv[1])))
print("trained on", jax.devices()[0].platform)

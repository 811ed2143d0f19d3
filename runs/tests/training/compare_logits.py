"""Under the trainer's interpreter: `compare_logits.py TYPE DIRECTORY...`, how far the trainer is from the reference.

Each model is made there of its config.json first, stored in TYPE. Prints an object: the greatest difference of a logit,
and the logits' standard deviation, by directory.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))
sys.path.insert(0, str(HERE))

import jax.numpy as jnp  # noqa: E402
import make_model  # noqa: E402
import numpy as np  # noqa: E402
import reference  # noqa: E402
from tunix.sft import utils  # noqa: E402

from runs.trainer import configs, weights  # noqa: E402

TOKENS = np.random.default_rng(1).integers(0, 259, 48)


def ours(directory):
    config = configs.read(str(directory), directory)
    module, _ = weights.load(str(directory), directory, config, full_weights=True)
    tokens = jnp.asarray(TOKENS[None])
    there = jnp.ones(tokens.shape, bool)
    found, _ = module(tokens, utils.build_positions_from_mask(there), None, utils.make_causal_attn_mask(there))
    return np.asarray(found[0], np.float64)


found = {}
for path in map(Path, sys.argv[2:]):
    make_model.main(path, sys.argv[1])
    wanted = reference.logits(path, TOKENS)
    found[path.name] = [float(np.abs(ours(path) - wanted).max()), float(wanted.std())]
print(json.dumps(found))

"""A model's config.json: read, completed as transformers does, and refused where Tunix would compute something else."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runs.trainer import rope
from runs.trainer.architectures import ARCHITECTURES, Architecture, head_dim
from runs.trainer.refusal import NotComputed, Refused

REQUIRED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


@dataclass(frozen=True)
class Config:
    """`complete` is transformers' config, `tunix` the ModelConfig of the architecture's package.

    `frequencies`: what queries and keys are turned by, where that is not what Tunix computes anyway.
    """

    kind: str
    architecture: Architecture
    complete: Any
    tunix: Any
    frequencies: np.ndarray | None

    @property
    def description(self) -> dict[str, Any]:
        """For the record."""
        return {"architecture": self.kind, "rope": self.complete.rope_parameters}


def read(model_id: str, directory: Path) -> Config:
    """Raises Refused."""
    found = _json(model_id, directory)
    kind = str(found.get("model_type"))
    architecture = ARCHITECTURES.get(kind)
    if architecture is None:
        raise Refused(f"The model {model_id} is of type {kind}; this trainer knows {', '.join(ARCHITECTURES)}.")
    for field in REQUIRED:
        if found.get(field) is None:
            raise Refused(f"The config.json of {model_id} lacks {field}.")
    try:
        return _config(kind, architecture, found)
    except NotComputed as error:
        asked = f"The config.json of {model_id} has {error.field} {error.value!r}"
        raise Refused(f"{asked}; Tunix computes {kind} with {error.computed} only.") from error
    except Exception as error:  # whatever transformers' checks raise
        reason = " ".join(str(error).split())[:300]
        raise Refused(f"The config.json of {model_id} cannot be used: {reason}") from error


def _json(model_id: str, directory: Path) -> dict[str, Any]:
    try:
        found = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"The model {model_id} has no config.json that can be read: {error.strerror}.") from error
    except ValueError as error:
        raise Refused(f"The config.json of {model_id} is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise Refused(f"The config.json of {model_id} is no object.")
    return found


def _config(kind: str, architecture: Architecture, found: Mapping[str, Any]) -> Config:
    """Raises NotComputed, and what transformers raises."""
    from transformers import CONFIG_MAPPING

    complete = CONFIG_MAPPING[kind](**found)
    architecture.refuse_values({**found, **complete.to_dict()})
    tunix = architecture.config(importlib.import_module(f"tunix.models.{architecture.package}.model"), complete)
    frequencies = rope.other_frequencies(architecture.package, complete.rope_parameters, head_dim(complete))
    return Config(kind, architecture, complete, tunix, frequencies)

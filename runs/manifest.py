"""The training manifest: the YAML file that tells a trainer what to do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from runs.limits import TRAINING

if TYPE_CHECKING:
    from runs.models import TunixRun

TRAINING_FIELDS = ("learning_rate", "num_epochs", "batch_size", "max_seq_length")
OPTIONAL_FIELDS = ("seed", "lora_rank")


def training_manifest(run: "TunixRun", data: Path) -> dict[str, Any]:
    """The manifest of `run` over the rows in `data`.

    Raises KeyError where the run's configuration lacks a training field.
    """
    return {
        "version": "1.0",
        "runner": "tunix",
        "mode": "sft",
        "model": {"model_id": run.model_id},
        "dataset": {"format": "tunix_sft", "path": str(data)},
        "training": {name: run.config[name] for name in TRAINING_FIELDS}
        | {name: run.config.get(name, TRAINING[name].default) for name in OPTIONAL_FIELDS},
        "output": {"output_dir": run.output_dir},
    }


def as_yaml(manifest: dict[str, Any]) -> str:
    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)

"""Manifests as the registry writes them, for a trainer that is started by hand."""

import json
from pathlib import Path

from runs.tests.training.conftest import ROWS

TRAINING = {"learning_rate": 0.003, "num_epochs": 1, "batch_size": 16, "max_seq_length": 128}


def write(directory: Path, model_id: str = "tunix-rt/tiny-qwen3", rows: bytes = ROWS, **changes) -> Path:
    """The path of a manifest in `directory`. `changes` are of the training settings, or of a whole part."""
    data = directory / "rows.jsonl"
    data.write_bytes(rows)
    training = TRAINING | {name: value for name, value in changes.items() if name not in ("resume", "runner")}
    manifest = {
        "version": "1.0",
        "runner": "tunix",
        "mode": "sft",
        "model": {"model_id": model_id},
        "dataset": {"dataset_key": "arithmetic-v2", "format": "prompt_response", "path": str(data)},
        "training": training,
        "output": {"output_dir": str(directory / "output")},
    } | {name: value for name, value in changes.items() if name in ("resume", "runner")}
    path = directory / "manifest.yaml"
    path.write_text(json.dumps(manifest))  # JSON is YAML
    return path


def metrics(directory: Path) -> dict[str, dict[int, float]]:
    """Values by name and step, of a run's directory."""
    found: dict[str, dict[int, float]] = {}
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        point = json.loads(line)
        found.setdefault(point["name"], {})[point["step"]] = point["value"]
    return found


def facts(directory: Path) -> dict:
    return json.loads((directory / "trainer.json").read_text())

"""The training manifest, read and checked."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from runs.trainer.refusal import Refused

KNOWN = {"version": "1.0", "runner": "tunix", "mode": "sft"}


@dataclass(frozen=True)
class Job:
    """What is to be trained. `lora_rank` 0: the full weights. `resume_step`: the checkpoint that it must begin with."""

    model_id: str
    data: Path
    output: Path
    learning_rate: float
    num_epochs: int
    batch_size: int
    max_seq_length: int
    seed: int = 0
    lora_rank: int = 0
    resume_step: int | None = None

    @property
    def checkpoints(self) -> Path:
        return self.output / "checkpoints"

    @property
    def settings(self) -> dict[str, Any]:
        """For the record."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def read(path: Path) -> Job:
    """Raises Refused."""
    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"The manifest {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"The manifest {path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(manifest, dict):
        raise Refused(f"The manifest {path} is not a mapping.")
    for name, value in KNOWN.items():
        if manifest.get(name) != value:
            raise Refused(f"The manifest has {name} {manifest.get(name)!r}; this trainer knows {value!r}.")
    try:
        training = manifest["training"]
        job = Job(
            model_id=str(manifest["model"]["model_id"]),
            data=Path(manifest["dataset"]["path"]),
            output=Path(manifest["output"]["output_dir"]).absolute(),
            learning_rate=float(training["learning_rate"]),
            **{name: int(training[name]) for name in ("num_epochs", "batch_size", "max_seq_length")},
            **{name: int(training[name]) for name in ("seed", "lora_rank") if name in training},
            resume_step=int(manifest["resume"]["step"]) if "resume" in manifest else None,
        )
    except KeyError as error:
        raise Refused(f"The manifest lacks {error}.") from error
    except (TypeError, ValueError) as error:
        raise Refused(f"The manifest cannot be used: {error}.") from error
    if min(job.num_epochs, job.batch_size) < 1 or job.max_seq_length < 2 or not job.learning_rate > 0:
        raise Refused("The manifest's num_epochs, batch_size, max_seq_length and learning_rate must be positive.")
    return job

"""From a manifest to an exit code: 0 trained, 1 failed, 2 cannot be trained, 143 stopped by SIGTERM and saved."""

import signal
import sys
from pathlib import Path
from typing import Any

from runs.trainer import facts
from runs.trainer.manifest import Job, read
from runs.trainer.refusal import Refused

STOPPED = 128 + signal.SIGTERM


class StopSignal:
    """SIGTERM is heeded between two steps: what is half done then would be lost."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: Any) -> None:
        self.asked = True


def main(arguments: list[str]) -> int:
    stop = StopSignal()
    if len(arguments) != 1:
        print("usage: python runs/trainer MANIFEST", file=sys.stderr)
        return 2
    try:
        return run(read(Path(arguments[0])), stop)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2


def run(job: Job, stop: StopSignal) -> int:
    """Raises Refused."""
    # What takes seconds to load is loaded after what can be refused without it.
    from runs.trainer import data, models

    if stop.asked:
        return STOPPED
    model = models.load(job.model_id, seed=job.seed, lora_rank=job.lora_rank)
    dataset = data.load(
        job.data,
        model.encode,
        batch_size=job.batch_size,
        max_length=job.max_seq_length,
        pad=model.pad,
        seed=job.seed,
    )
    from runs.trainer import training

    total_steps = dataset.steps_per_epoch * job.num_epochs
    metrics = facts.MetricsFile()
    trainer = training.make_trainer(job, model, total_steps, metrics)
    first = trainer.train_steps
    if job.resume_step is not None and first < job.resume_step:
        raise Refused(f"There is no checkpoint of step {job.resume_step} in {job.checkpoints}.")
    found = describe(job, model, dataset, total_steps, first)
    facts.write(found)
    say(found, dataset)
    code = 0
    try:
        training.train(trainer, dataset, total_steps, metrics, lambda: stop.asked)
    except training.Stopped:
        saved = f", with a checkpoint of step {trainer.train_steps}" if trainer.train_steps else ""
        print(f"Stopped by SIGTERM{saved}.", flush=True)
        code = STOPPED
    except training.LossIsNaN as error:
        print(f"{error}: the training has diverged. A lower learning rate may help.", file=sys.stderr)
        code = 1
    ended = {"ended_at_step": trainer.train_steps, "peak_memory_bytes": facts.peak_memory_bytes()}
    facts.write(found | ended)
    if code == 0:
        print(f"Trained {trainer.train_steps} steps; checkpoints are in {job.checkpoints}.", flush=True)
    return code


def describe(job: Job, model: Any, dataset: Any, total_steps: int, first: int) -> dict[str, Any]:
    import jax
    from flax import nnx

    def count(kind: Any) -> int:
        return sum(int(leaf.size) for leaf in jax.tree.leaves(nnx.state(model.module, kind)))

    parameters = count(nnx.Param)
    trained = count(nnx.LoRAParam) if job.lora_rank else parameters
    described = {"model_id": job.model_id, "source": model.source, "parameters": parameters, "trained": trained}
    found = {
        "versions": facts.versions(),
        "devices": facts.devices(),
        "seed": job.seed,
        "model": described | model.description,
        "rows": {"train": dataset.train_rows, "eval": dataset.eval_rows, "cut": dataset.cut},
        "padded_length": int(dataset.tokens.shape[1]),
        "settings": job.settings,
        "total_steps": total_steps,
    }
    return found | ({"resumed_from_step": first} if first else {})


def say(found: dict[str, Any], dataset: Any) -> None:
    model, rows = found["model"], found["rows"]
    held_out = f"{rows['eval']:,} held out" if rows["eval"] else "none held out: too few to evaluate on"
    print(f"{model['model_id']}: {model['parameters']:,} parameters, {model['trained']:,} of them trained")
    print(f"{rows['train']:,} rows to train on, {held_out}")
    print(f"batches of {dataset.batch_size} rows and {found['padded_length']} tokens")
    if rows["cut"]:
        print(f"{rows['cut']:,} rows are longer and were cut")
    print(f"{found['total_steps']:,} steps on {', '.join(found['devices'])}", flush=True)
    if "resumed_from_step" in found:
        print(f"resumed from step {found['resumed_from_step']}", flush=True)

"""The training itself: Tunix's PeftTrainer over one model and one dataset, to the end or until it is told to stop."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from tunix.sft import hooks, metrics_logger, peft_trainer, utils

from runs.trainer.data import Batch, Dataset
from runs.trainer.facts import MetricsFile
from runs.trainer.manifest import Job
from runs.trainer.models import Model

# About so many evaluations and checkpoints, and the last step's in any case.
EVALUATIONS = CHECKPOINTS = 10
KEPT_CHECKPOINTS = 3
REPORTS = 20
# The learning rate rises over a tenth of the steps, 100 at most, and falls along a cosine to a tenth of itself.
WARM_UP_SHARE, MAX_WARM_UP = 10, 100
FINAL_SHARE = 10


class Stopped(Exception):
    """It was told to stop; everything up to here is saved."""


class LossIsNaN(Exception):
    pass


def make_trainer(job: Job, model: Model, total_steps: int, metrics: MetricsFile) -> peft_trainer.PeftTrainer:
    """With the newest checkpoint of the job's directory restored, where there is one."""
    warm_up = max(1, min(total_steps // WARM_UP_SHARE, MAX_WARM_UP))
    rate = optax.warmup_cosine_decay_schedule(
        0.0, job.learning_rate, warm_up, max(total_steps, warm_up + 1), job.learning_rate / FINAL_SHARE
    )
    trainer = peft_trainer.PeftTrainer(
        model.module,
        optax.inject_hyperparams(optax.adamw)(learning_rate=rate),
        peft_trainer.TrainingConfig(
            eval_every_n_steps=_every(total_steps, EVALUATIONS),
            checkpoint_root_directory=str(job.checkpoints),
            checkpointing_options=ocp.CheckpointManagerOptions(
                save_interval_steps=_every(total_steps, CHECKPOINTS), max_to_keep=KEPT_CHECKPOINTS
            ),
            metrics_logging_options=metrics_logger.MetricsLoggerOptions(
                log_dir=str(job.output), backend_kwargs={"custom_backend": [lambda: metrics]}
            ),
        ),
    )
    # Batches come from the step that it goes on with, and it is closed here: both are a manager's part.
    trainer.is_managed_externally = True
    return trainer.with_gen_model_input_fn(_model_input)


def _every(total_steps: int, times: int) -> int:
    return max(1, -(-total_steps // times))


def _model_input(batch: dict[str, Any]) -> dict[str, Any]:
    """What the loss takes. Padding is known by the rows' lengths: a tokenizer may pad with one that means something."""
    tokens = batch["tokens"]
    there = jnp.arange(tokens.shape[1])[None, :] < batch["lengths"][:, None]
    return {
        "input_tokens": tokens,
        "input_mask": batch["loss_mask"],
        "positions": utils.build_positions_from_mask(there),
        "attention_mask": utils.make_causal_attn_mask(there),
    }


def _arrays(batch: Batch) -> dict[str, Any]:
    return {"tokens": batch.tokens, "loss_mask": batch.loss_mask, "lengths": batch.lengths}


def train(
    trainer: peft_trainer.PeftTrainer,
    dataset: Dataset,
    total_steps: int,
    metrics: MetricsFile,
    stop_asked: Callable[[], bool],
) -> None:
    """Train from the trainer's step on. Raises Stopped with everything saved, and LossIsNaN with nothing more saved."""
    progress = Progress(metrics, total_steps, stop_asked)
    trainer.with_training_hooks(progress)
    held_out = [_arrays(batch) for batch in dataset.eval_batches()]
    try:
        trainer.train(progress.counted(dataset, trainer.train_steps), held_out or None)
        if held_out and total_steps % trainer.config.eval_every_n_steps:
            trainer.train([], held_out)  # evaluates once, and has nothing to train
    except Stopped:
        if trainer.train_steps:
            trainer.close()
        raise
    trainer.close()


class Progress(hooks.TrainingHooks):
    """Says how far it is, measures the steps, and stops between two of them."""

    def __init__(self, metrics: MetricsFile, total_steps: int, stop_asked: Callable[[], bool]):
        self.metrics, self.total_steps, self.stop_asked = metrics, total_steps, stop_asked
        self.token_counts: dict[int, int] = {}
        self.ended_at: float | None = None
        self.saved: int | None = None

    def counted(self, dataset: Dataset, first_step: int) -> Iterator[dict[str, Any]]:
        for step, batch in enumerate(dataset.train_batches(first_step, self.total_steps), first_step + 1):
            self.token_counts[step] = batch.token_count
            yield _arrays(batch)

    def on_train_step_start(self, trainer: peft_trainer.PeftTrainer) -> None:
        if self.stop_asked():
            raise Stopped

    def on_train_step_end(self, trainer: peft_trainer.PeftTrainer, step: int, loss: Any) -> None:
        now, loss = time.monotonic(), float(loss)
        tokens = self.token_counts.pop(step, 0)
        rate = ""
        if self.ended_at is not None and now > self.ended_at:  # the first step is mostly compilation
            seconds = now - self.ended_at
            self.metrics.write("perf/step_seconds", step, seconds)
            self.metrics.write("perf/tokens_per_second", step, tokens / seconds)
            rate = f"  {1 / seconds:.1f} steps/s  {tokens / seconds:,.0f} tokens/s"
        self.ended_at = now
        if math.isnan(loss):
            raise LossIsNaN(f"step {step}: loss nan")
        if step % _every(self.total_steps, REPORTS) == 0 or step in (1, self.total_steps):
            print(f"step {step}/{self.total_steps}  loss {loss:.4f}{rate}", flush=True)
        self._say_saved(trainer)

    def on_eval_step_end(self, trainer: peft_trainer.PeftTrainer, loss_sum: Any) -> None:
        loss = trainer.metrics_logger.get_metric_history(trainer.metrics_prefix, "loss", "eval")[-1]
        print(f"step {trainer.train_steps}/{self.total_steps}  eval loss {float(loss):.4f}", flush=True)

    def _say_saved(self, trainer: peft_trainer.PeftTrainer) -> None:
        latest = trainer.checkpoint_manager.latest_step()
        if latest is not None and latest != self.saved:
            print(f"step {latest}/{self.total_steps}  checkpoint", flush=True)
        self.saved = latest

    def on_train_start(self, trainer: peft_trainer.PeftTrainer) -> None:
        self.saved = trainer.checkpoint_manager.latest_step()

    def on_train_end(self, trainer: peft_trainer.PeftTrainer) -> None:
        """Nothing: what follows is said by whoever started it."""

    def on_eval_step_start(self, trainer: peft_trainer.PeftTrainer) -> None:
        """Nothing."""

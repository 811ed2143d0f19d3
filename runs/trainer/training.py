"""The training itself: Tunix's PeftTrainer over one model and one dataset, to the end or until it is told to stop."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
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
        # In the parameters' own type, bfloat16, 0.999 would be 1, and AdamW would divide by zero in its second step.
        optax.inject_hyperparams(optax.adamw, hyperparam_dtype=jnp.float32)(learning_rate=rate),
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
    return trainer.with_gen_model_input_fn(_model_input).with_loss_fn(_loss)


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


def _loss(model: Any, input_tokens: Any, input_mask: Any, positions: Any, attention_mask: Any) -> Any:
    """Tunix's, of logits in float32: some models give them in the type of their weights."""

    def in_float32(*inputs: Any) -> tuple[Any, Any]:
        logits, cache = model(*inputs)
        return logits.astype(jnp.float32), cache

    return peft_trainer._default_loss_fn(in_float32, input_tokens, input_mask, positions, attention_mask)


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


def _wait_for_step(trainer: peft_trainer.PeftTrainer) -> None:
    """Until the step that was started last is computed: it is only then that time has passed for it."""
    jax.block_until_ready(trainer.optimizer.step[...])


class Progress(hooks.TrainingHooks):
    """Says how far it is, measures the steps, and stops between two of them.

    Tunix calls `on_train_step_end` of a step when the next one has been started, and of the last one at the end.
    """

    def __init__(self, metrics: MetricsFile, total_steps: int, stop_asked: Callable[[], bool]):
        self.metrics, self.total_steps, self.stop_asked = metrics, total_steps, stop_asked
        self.token_counts: dict[int, int] = {}
        self.started: tuple[int, float] | None = None
        self.rates: dict[int, str] = {}
        self.saved: int | None = None

    def counted(self, dataset: Dataset, first_step: int) -> Iterator[dict[str, Any]]:
        for step, batch in enumerate(dataset.train_batches(first_step, self.total_steps), first_step + 1):
            self.token_counts[step] = batch.token_count
            yield _arrays(batch)

    def on_train_step_start(self, trainer: peft_trainer.PeftTrainer) -> None:
        _wait_for_step(trainer)
        if self.stop_asked():
            raise Stopped
        self.started = trainer.train_steps + 1, time.monotonic()

    def on_train_step_end(self, trainer: peft_trainer.PeftTrainer, step: int, loss: Any) -> None:
        self._measure(trainer, step)
        loss, rate = float(loss), self.rates.pop(step, "")
        if math.isnan(loss):
            raise LossIsNaN(f"step {step}: loss nan")
        if step % _every(self.total_steps, REPORTS) == 0 or step in (1, self.total_steps):
            print(f"step {step}/{self.total_steps}  loss {loss:.4f}{rate}", flush=True)
        self._say_saved(trainer)

    def _measure(self, trainer: peft_trainer.PeftTrainer, ended: int) -> None:
        """The step that is being computed, before an evaluation or a checkpoint follows it.

        The first one, which is mostly compilation, is left out: it has no such moment.
        """
        if self.started is None or self.started[0] == ended:
            return
        (step, started), self.started = self.started, None
        _wait_for_step(trainer)
        seconds, tokens = time.monotonic() - started, self.token_counts.pop(step)
        self.metrics.write("perf/step_seconds", step, seconds)
        self.metrics.write("perf/tokens_per_second", step, tokens / seconds)
        self.rates[step] = f"  {1 / seconds:.1f} steps/s  {tokens / seconds:,.0f} tokens/s"

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

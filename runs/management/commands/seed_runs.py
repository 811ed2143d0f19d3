"""Fill a database with plausible runs, for looking at pages and measuring them. Not for a registry that is in use."""

import random
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from core.commands import BaseCommand
from runs.limits import DAY, TRAINING
from runs.models import RunTag, TunixRun
from runs.output import OUTPUT_BYTES

Status, Mode = TunixRun.Status, TunixRun.Mode
BATCH = 5_000
YEAR = timedelta(days=365)
NAMES = ("arithmetic", "alpaca", "code", "dialogue", "gsm8k", "legal", "medical", "reasoning", "summaries", "tables")
DATASETS = tuple(f"{name}-v{version}" for version in range(1, 5) for name in NAMES)
MODELS = (
    "tunix-rt/tiny-qwen3",
    "google/gemma-3-1b-it",
    "google/gemma-2-2b-it",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "meta-llama/Llama-3.2-1B-Instruct",
)
TAGS = ("ablation", "baseline", "candidate", "gemma", "nightly", "paper", "sweep-lr")
# Percentages of what has ended, and of the newest runs, which may still be under way.
ENDED = {Status.COMPLETED: 86.0, Status.FAILED: 9.0, Status.TIMEOUT: 2.0, Status.CANCELLED: 2.9, Status.LOST: 0.1}
NEWEST = {Status.COMPLETED: 70, Status.RUNNING: 15, Status.PENDING: 10, Status.FAILED: 5}
ONLY_LOCAL = (Status.TIMEOUT, Status.CANCELLED, Status.LOST, Status.RUNNING, Status.PENDING)
TRACEBACK = 'Traceback (most recent call last):\n  File "trainer.py", line 88, in step\nRuntimeError: out of memory\n'


class Command(BaseCommand):
    help = "Add <count> made-up runs, spread over the year before now. The same seed makes the same runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--log-bytes", type=int, default=500, help=f"most bytes of a log, up to {OUTPUT_BYTES:,}")

    def handle(self, *, count: int, seed: int, log_bytes: int, **_: Any) -> None:
        if count < 1 or not 0 <= log_bytes <= OUTPUT_BYTES:
            raise CommandError(f"count must be 1 or more, --log-bytes between 0 and {OUTPUT_BYTES:,}.")
        started, done = time.monotonic(), 0
        made = RunMaker(seed, count, log_bytes).runs(timezone.now())
        while batch := list(islice(made, BATCH)):
            self._store(batch, seed)
            done += len(batch)
            if done % (10 * BATCH) == 0 or done == count:
                seconds = time.monotonic() - started
                self.stdout.write(f"{done:>9,} of {count:,} runs, {seconds:.0f} s, {done / seconds:,.0f} a second")
        # Autovacuum would do it within minutes; plans are to be measured as they will be then.
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE tunix_runs, tunix_run_tags")

    def _store(self, batch: list[tuple[TunixRun, list[str]]], seed: int) -> None:
        try:
            with transaction.atomic():
                TunixRun.objects.bulk_create([run for run, _ in batch])
                RunTag.objects.bulk_create([RunTag(run=run, name=name) for run, tags in batch for name in tags])
        except IntegrityError as error:
            raise CommandError(f"Runs of seed {seed} are here already: choose another --seed.") from error


class RunMaker:
    """Makes runs from one source of chance, oldest first."""

    def __init__(self, seed: int, count: int, log_bytes: int):
        self.dice = random.Random(seed)
        self.count, self.log_bytes = count, log_bytes
        losses = (f"step {step} loss {5 * 0.99**step + self.dice.random() / 5:.4f}" for step in range(1, 2_000))
        self.log = "\n".join(losses)

    def runs(self, now: datetime) -> Iterator[tuple[TunixRun, list[str]]]:
        """Each with its tags."""
        under_way = max(10, self.count // 1_000)
        for left in range(self.count, 0, -1):
            shares = NEWEST if left <= under_way else ENDED
            status = self.dice.choices(list(shares), list(shares.values()))[0]
            yield self.run(status, now - YEAR * ((left - self.dice.random()) / self.count), now), self.tags()

    def run(self, status: TunixRun.Status, started_at: datetime, now: datetime) -> TunixRun:
        dice = self.dice
        run_id = uuid.UUID(int=dice.getrandbits(128), version=4)
        run = TunixRun(
            run_id=run_id,
            # The low ones of each list are used most, as some datasets and models are in life.
            dataset_key=DATASETS[int(len(DATASETS) * dice.random() ** 2)],
            model_id=MODELS[int(len(MODELS) * dice.random() ** 2)],
            mode=Mode.LOCAL if status in ONLY_LOCAL or dice.random() < 0.6 else Mode.DRY_RUN,
            status=status,
            started_at=started_at,
            created_at=started_at,
            output_dir=f"./output/tunix_run_{str(run_id)[:8]}",
            config={name: limit.default for name, limit in TRAINING.items()} | {"timeout_seconds": DAY},
        )
        if status != Status.PENDING:
            run.stdout = self.log[: int(self.log_bytes * dice.random())]
        if status in TunixRun.TERMINAL:
            self.end(run, now)
        return run

    def end(self, run: TunixRun, now: datetime) -> None:
        dry = run.mode == Mode.DRY_RUN
        seconds = self.dice.uniform(0.001, 0.05) if dry else min(self.dice.lognormvariate(6.5, 1.2), DAY)
        if run.status == Status.TIMEOUT:
            seconds = float(DAY)
        run.completed_at = min(run.started_at + timedelta(seconds=seconds), now)
        run.duration_seconds = (run.completed_at - run.started_at).total_seconds()
        what = "Dry-run" if dry else "Local execution"
        match run.status:
            case Status.COMPLETED:
                run.exit_code = 0
                run.message = "Dry-run validation successful" if dry else f"{what} completed successfully"
            case Status.FAILED if dry:
                run.stderr = f"Dataset not found: {run.dataset_key}"
                run.message = "Dry-run failed: dataset not found"
            case Status.FAILED:
                run.exit_code, run.stderr = 1, TRACEBACK[: self.log_bytes]
                run.message = f"{what} failed with exit code 1"
            case Status.TIMEOUT:
                run.message = f"{what} timed out after {DAY} seconds"
            case Status.CANCELLED:
                run.exit_code, run.message = -15, f"{what} cancelled"

    def tags(self) -> list[str]:
        """None for most runs."""
        return self.dice.sample(TAGS, self.dice.randint(1, 3)) if self.dice.random() < 0.1 else []

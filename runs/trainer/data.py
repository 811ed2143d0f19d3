"""Rows, as batches of tokens. Which rows are in which batch is a function of seed and step only: a resume is exact."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runs.trainer.refusal import Refused

# Prompt and response of a row, as tokens.
Encode = Callable[[str, str], tuple[list[int], list[int]]]
EVAL_SHARE = 10
# Evaluating more would cost more than it says.
MAX_EVAL_ROWS = 512
# Lengths are rounded up to this: fewer different shapes to compile for.
LENGTH_STEP = 32


@dataclass(frozen=True)
class Batch:
    """Arrays of (rows, length): tokens, and which of them the loss counts; and of (rows,): how many are no padding."""

    tokens: np.ndarray
    loss_mask: np.ndarray
    lengths: np.ndarray

    @property
    def token_count(self) -> int:
        return int(self.lengths.sum())


@dataclass(frozen=True)
class Dataset:
    """Every row's tokens, padded to `length`; the first `eval_rows` are held out for evaluation."""

    tokens: np.ndarray
    loss_mask: np.ndarray
    lengths: np.ndarray
    eval_rows: int
    batch_size: int
    seed: int
    cut: int

    @property
    def train_rows(self) -> int:
        return len(self.tokens) - self.eval_rows

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.train_rows // self.batch_size)

    def train_batches(self, first_step: int, total_steps: int) -> Iterator[Batch]:
        for step in range(first_step, total_steps):
            epoch, number = divmod(step, self.steps_per_epoch)
            order = np.random.default_rng([self.seed, epoch]).permutation(self.train_rows)
            # The last batch of an epoch is filled up with the epoch's first rows: every batch has the same shape.
            wanted = np.arange(number * self.batch_size, (number + 1) * self.batch_size) % self.train_rows
            yield self._batch(self.eval_rows + order[wanted])

    def eval_batches(self) -> list[Batch]:
        size = min(self.batch_size, self.eval_rows) or 1
        return [self._batch(np.arange(start, start + size)) for start in range(0, self.eval_rows - size + 1, size)]

    def _batch(self, rows: np.ndarray) -> Batch:
        return Batch(self.tokens[rows], self.loss_mask[rows], self.lengths[rows])


def load(path: Path, encode: Encode, *, batch_size: int, max_length: int, pad: int, seed: int) -> Dataset:
    """Raises Refused."""
    pairs = [encode(prompt, response) for prompt, response in _rows(path)]
    if not pairs:
        raise Refused(f"The dataset {path} has no rows.")
    longest = max(len(prompt) + len(response) for prompt, response in pairs)
    length = min(-(-longest // LENGTH_STEP) * LENGTH_STEP, max_length)
    cut = sum(len(prompt) + len(response) > length for prompt, response in pairs)
    tokens = np.full((len(pairs), length), pad, np.int32)
    loss_mask = np.zeros((len(pairs), length), bool)
    lengths = np.zeros(len(pairs), np.int32)
    for row, (prompt, response) in enumerate(pairs):
        both = (prompt + response)[:length]
        tokens[row, : len(both)] = both
        loss_mask[row, len(prompt) : len(both)] = True
        lengths[row] = len(both)
    if not loss_mask.any():
        raise Refused(f"Every prompt of {path} is longer than max_seq_length {max_length}: nothing would be learnt.")
    eval_rows = min(len(pairs) // EVAL_SHARE, MAX_EVAL_ROWS)
    if eval_rows > batch_size:
        eval_rows -= eval_rows % batch_size
    size = min(batch_size, len(pairs) - eval_rows)
    return Dataset(tokens, loss_mask, lengths, eval_rows, size, seed, cut)


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _pair(number, json.loads(line))
    except OSError as error:
        raise Refused(f"The dataset {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Refused(f"The dataset {path} is not JSON Lines: {error}.") from error


def _pair(number: int, row: Any) -> tuple[str, str]:
    for prompt, response in (("prompt", "response"), ("prompts", "final_answer")):
        if isinstance(row, dict) and isinstance(row.get(prompt), str) and isinstance(row.get(response), str):
            return row[prompt], row[response]
    raise Refused(f"Line {number} of the dataset has neither prompt and response nor prompts and final_answer.")

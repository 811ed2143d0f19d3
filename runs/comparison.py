"""Several runs side by side: their results, settings and environments, row by row, and their logs' differences."""

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runs.metrics import is_of_the_machine
from runs.models import MetricSeries, TunixRun

MAX_RUNS = 100
# A table of more columns is not read; charts of more lines are.
MAX_COLUMNS = 10
# Lower is better for these, higher for the others that have a best at all.
FALLING, RISING = ("loss", "perplexity"), ("accuracy", "reward", "score")
DIFF_LINES = 400
PROVENANCE = ("devices", "seed", "model", "dataset", "host", "code", "command", "environment")


@dataclass(frozen=True)
class Row:
    """One value of each run; `best` is the place of the best, where one is better than another."""

    name: str
    values: list[Any]
    best: int | None = None

    @property
    def same(self) -> bool:
        return all(_equal(value, self.values[0]) for value in self.values)

    def cells(self) -> list[tuple[Any, bool, bool]]:
        """Value, whether it differs from the first run's, whether it is the best."""
        return [
            (value, not _equal(value, self.values[0]), place == self.best) for place, value in enumerate(self.values)
        ]


@dataclass(frozen=True)
class Section:
    name: str
    rows: list[Row]

    @property
    def same(self) -> bool:
        return all(row.same for row in self.rows)


def sections(runs: Sequence[TunixRun], names: Sequence[str] | None = None) -> list[Section]:
    """With the last values of the model's metrics, or of those that `names` names. One without a row is left out."""
    found = [
        Section("Results", [*_results(runs), *_metrics(runs, names)]),
        Section("Configuration", _rows(runs, _configuration)),
        Section("Environment", _rows(runs, _environment)),
        Section("Packages", _rows(runs, lambda run: run.provenance.get("versions"))),
    ]
    return [section for section in found if section.rows]


def _results(runs: Sequence[TunixRun]) -> list[Row]:
    names = ("status", "cause", "exit_code", "step", "duration_seconds")
    rows = [Row(name, [getattr(run, name) for run in runs]) for name in names]
    return [row for row in rows if any(value not in (None, "") for value in row.values)]


def _metrics(runs: Sequence[TunixRun], names: Sequence[str] | None) -> list[Row]:
    """The model's: what the machines did differs in any case."""
    series = MetricSeries.objects.filter(run__in=runs, **({} if names is None else {"name__in": names}))
    last = {(each.run_id, each.name): each.last for each in series if not is_of_the_machine(each.name)}
    ordered = sorted({name for _, name in last})
    return [_row_of_metric(name, [last.get((run.pk, name)) for run in runs]) for name in ordered]


def _row_of_metric(name: str, values: list[float | None]) -> Row:
    known = [value for value in values if value is not None and math.isfinite(value)]
    word = name.rpartition("/")[2]
    choose: Any = min if word in FALLING else max if word in RISING else None
    best = values.index(choose(known)) if choose and len(known) > 1 and len(set(known)) > 1 else None
    return Row(name, list(values), best)


def _equal(one: Any, other: Any) -> bool:
    """NaN is as good as NaN here."""
    return one == other or (one != one and other != other)


def _configuration(run: TunixRun) -> dict[str, Any]:
    return {"model_id": run.model_id, "dataset_key": run.dataset_key, "mode": run.mode} | run.config


def _environment(run: TunixRun) -> dict[str, Any]:
    return {
        f"{name}.{inner}" if inner else name: value
        for name in PROVENANCE
        if name in run.provenance
        for inner, value in _flat(run.provenance[name])
    }


def _flat(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else [("", value)]


def _rows(runs: Sequence[TunixRun], values_of: Callable[[TunixRun], Any]) -> list[Row]:
    values = [found if isinstance(found := values_of(run), dict) else {} for run in runs]
    names = dict.fromkeys(name for each in values for name in each)
    return [Row(name, [each.get(name) for each in values]) for name in names]


@dataclass(frozen=True)
class DiffLine:
    """`kind` is `+`, `-`, `@` or a space."""

    kind: str
    text: str


def log_difference(first: TunixRun, second: TunixRun, stream: str) -> list[DiffLine]:
    """What the records keep of two logs, as a unified diff; empty where they are the same."""
    then, now = (getattr(run, stream).splitlines() for run in (first, second))
    lines = list(difflib.unified_diff(then, now, lineterm="", n=2))[2 : DIFF_LINES + 2]
    return [DiffLine(line[0], line[1:] if line[0] != "@" else line) for line in lines if line]

"""What a point of a metric is: its name, step, value and time, as trainers write them. Decided here for all doors.

A line of metrics.jsonl is one point, `{"name": "loss", "step": 1, "value": 0.5}`, or a step's metrics by their names,
`{"step": 1, "loss": 0.5, "lr": 1e-4}`, as Hugging Face's log_history and most hand-written trainers have it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from django.utils.dateparse import parse_datetime

from runs.limits import METRIC_NAME_LENGTH
from runs.metrics import MAX_STEP, MAX_TIME, MIN_TIME, NAME, Point

# The first of these that a line has is its step: those of plain loops, of Hugging Face, of wandb, of Lightning; an
# epoch, where there is nothing finer.
STEPS = ("step", "global_step", "_step", "trainer/global_step", "iteration", "iter", "epoch")
TIMES = ("time", "timestamp", "_timestamp")
# As JSON's users write what JSON has no number for.
WORDS = {
    word: value
    for value, words in (
        (math.nan, ("nan",)),
        (math.inf, ("inf", "+inf", "infinity", "+infinity")),
        (-math.inf, ("-inf", "-infinity")),
    )
    for word in words
}
# Seconds since 1970, from 1973 to 5138; milli-, micro- and nanoseconds of these years are all greater than the seconds.
FIRST_SECOND, LAST_SECOND = 1e8, 1e11
SCALES = (1, 1e3, 1e6, 1e9)
Named = tuple[str, Point]


@dataclass
class Line:
    """What a line says. `problem` is why a part of it was left out; empty where none was."""

    points: list[Named] = field(default_factory=list)
    problem: str = ""


def name_of(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("must be the name of a metric: 1 to 128 characters, with no space at its ends")
    return value


def step_of(value: Any) -> int:
    """A whole number, also as the float 10.0. Raises ValueError."""
    whole = not isinstance(value, bool) and (
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    )
    if not whole or not 0 <= value <= MAX_STEP:
        raise ValueError("step must be a whole number from 0 on")
    return int(value)


def value_of(value: Any) -> float:
    """null is NaN. A text is no number, save the words for what JSON has none for. Raises ValueError."""
    if value is None:
        return math.nan
    if isinstance(value, str) and value.lower() in WORDS:
        return WORDS[value.lower()]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("value must be a number or null")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("value must be a number or null") from error


def moment_of(value: Any) -> float:
    """Seconds since 1970, of a number of seconds, ms, µs or ns, or of ISO 8601, which is UTC without an offset.

    A number that would be no time of these decades is no time: a trainer's `time` may be how long a step took.
    Raises ValueError.
    """
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            for scale in SCALES:
                if FIRST_SECOND <= value / scale < LAST_SECOND:
                    return value / scale
        elif isinstance(value, str) and (parsed := parse_datetime(value)):
            seconds = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
            if MIN_TIME <= seconds < MAX_TIME:
                return seconds
    except (ValueError, OverflowError):
        pass
    raise ValueError("time must be one such as 2025-12-22T14:30:00Z")


def of_series(row: Any, now: float) -> Point:
    """A point of a named series, as the API takes and gives it. Raises ValueError."""
    if not isinstance(row, dict) or not {"step", "value"} <= row.keys() <= {"step", "value", "time", "infinite"}:
        raise ValueError("must have step, value and perhaps time")
    value, infinite = value_of(row["value"]), row.get("infinite")
    if infinite is not None:
        if row["value"] is not None or infinite not in ("Infinity", "-Infinity"):
            raise ValueError("infinite must be Infinity or -Infinity, and the value null")
        value = float(infinite)
    moment = row.get("time")
    return step_of(row["step"]), value, now if moment is None else moment_of(moment)


def of_line(row: Any, now: float) -> Line:
    """The points of a line that was read as JSON. One whose time cannot be read is of `now`. Raises ValueError."""
    if not isinstance(row, dict):
        raise ValueError("must be an object")
    step_name = next((each for each in STEPS if each in row), None)
    if step_name is None:
        raise ValueError(f"has no step: one of {', '.join(STEPS)}")
    step = step_of(row[step_name])
    time_name, seconds = next(_times_of(row), ("", now))
    if "name" in row and "value" in row:
        return Line([(name_of(row["name"]), (step, value_of(row["value"]), seconds))])
    line = Line()
    for name, value in _flat({name: value for name, value in row.items() if name not in (step_name, time_name)}):
        try:
            line.points.append((name_of(name), (step, value_of(value), seconds)))
        except ValueError as error:
            line.problem = line.problem or f"{name[:80]!r} {error}"
    if not line.points and not line.problem:
        raise ValueError("has no number but the step")
    return line


def _times_of(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name in TIMES:
        if name in row:
            try:
                yield name, moment_of(row[name])
            except ValueError:
                continue


def _flat(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What may be a metric, objects in objects joined by a slash. Words, lists, null, true and false say something else
    than a number, and nothing of them is missed; a number within quotes is, so it is given."""
    left = list(reversed(row.items()))
    while left:
        name, value = left.pop()
        if isinstance(value, dict) and len(name) <= METRIC_NAME_LENGTH:
            left += [(f"{name}/{inner}", each) for inner, each in reversed(value.items())]
        elif isinstance(value, dict):
            yield name, value  # too deep to have a name: its problem is told
        elif _is_number(value):
            yield name, value


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)

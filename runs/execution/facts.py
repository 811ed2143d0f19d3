"""trainer.json: what a trainer says about itself. It adds to a run's provenance and replaces nothing of ours in it."""

import json
import os
from collections.abc import Callable
from typing import Any

from core import files
from runs import masking
from runs.output import clean_json
from runs.rundir import RunDirectory

MAX_BYTES = 256 * 1024
# What the supervisor finds out itself.
OURS = (
    "command",
    "arguments",
    "environment",
    "confinement",
    "host",
    "dataset",
    "code",
    "resumed_from",
    "peak_tree_memory_bytes",
)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_count(value.get(name, 0)) for name in ("parameters", "trained"))


# Those that pages and comparisons rely on; others are kept as they are.
KNOWN: dict[str, Callable[[Any], bool]] = {
    "versions": _is_versions,
    "devices": _is_texts,
    "model": _is_model,
    "total_steps": _is_count,
    "resumed_from_step": _is_count,
    "ended_at_step": _is_count,
    "peak_memory_bytes": _is_count,
}


def read(directory: RunDirectory) -> tuple[dict[str, Any], list[str]]:
    """The facts, and the names of those that are not of their kind or not a trainer's to tell, which are left out.

    Raises OSError, and ValueError where it is no JSON object.
    """
    text = files.read(directory.path, directory.facts.name, MAX_BYTES)
    try:
        found = clean_json(json.loads(_masked(text), parse_constant=lambda _: None))
    except RecursionError as error:
        raise ValueError("It is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("It is no JSON object")
    refused = [name for name, value in found.items() if name in OURS or (name in KNOWN and not KNOWN[name](value))]
    return {name: value for name, value in found.items() if name not in refused}, refused


def _masked(text: bytes) -> str:
    return masking.Mask(masking.values_in(os.environ)).whole(text).decode("utf-8", "replace")

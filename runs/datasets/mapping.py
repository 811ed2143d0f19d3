"""Which fields of somebody else's rows are the prompt and the response: `question:prompt,answer:response`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runs.datasets.errors import MappingInvalid, RowInvalid

# What a field may become.
TARGETS = ("prompt", "response")
# Fields that public datasets ask and answer with, most usual first. Alpaca has an input beside its instruction.
PROMPTS = ("prompt", "question", "instruction", "query", "problem", "input", "context")
RESPONSES = ("response", "answer", "completion", "output", "solution", "target", "answers")
BETWEEN = "\n\n"
MAX_PAIRS = 50


@dataclass(frozen=True)
class Mapping:
    """Pairs of a field and what it becomes, in order. Fields that become the same are joined by a blank line, without
    those that are empty; fields that are not named stay as they are."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Mapping":
        """Reads `field:target,field:target`. The last colon of a pair counts. Raises MappingInvalid."""
        return cls.of(_pair(each) for each in text.split(",")) if text.strip() else cls()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Mapping":
        """Raises MappingInvalid."""
        found = tuple(pairs)
        names = [name for name, _ in found]
        if len(found) > MAX_PAIRS:
            raise MappingInvalid(f"map may name {MAX_PAIRS} fields")
        for name, target in found:
            if target not in TARGETS:
                raise MappingInvalid(f"map sends {name!r} to {target!r}; known are {', '.join(TARGETS)}")
            if names.count(name) > 1:
                raise MappingInvalid(f"map names {name!r} twice")
        return cls(found)

    def __str__(self) -> str:
        return ",".join(f"{name}:{target}" for name, target in self.pairs)

    def apply(self, row: dict[str, Any]) -> dict[str, Any]:
        """`row` with its fields renamed. Raises RowInvalid where one is missing, is no text, or its name is taken."""
        if not self.pairs:
            return row
        named = {name for name, _ in self.pairs}
        mapped = {name: value for name, value in row.items() if name not in named}
        parts: dict[str, list[str]] = {}
        for name, target in self.pairs:
            if name not in row:
                raise RowInvalid(f"{name} is missing")
            if target in mapped:
                raise RowInvalid(f"{target} is there already, beside {name} which is mapped to it")
            parts.setdefault(target, []).append(_text(name, row[name]))
        return {target: BETWEEN.join(filter(None, texts)) for target, texts in parts.items()} | mapped


def suggest(row: dict[str, Any]) -> Mapping:
    """A mapping for rows like this one, by the names of its text fields; an empty one where they do not tell."""
    names = [name for name, value in row.items() if isinstance(value, str)]
    prompts = [name for name in PROMPTS if name in names][:1]
    if prompts == ["instruction"] and "input" in names:
        prompts.append("input")
    responses = [name for name in RESPONSES if name in names and name not in prompts][:1]
    if not prompts or not responses:
        return Mapping()
    pairs = [(name, "prompt") for name in prompts] + [(name, "response") for name in responses]
    return Mapping(tuple(pair for pair in pairs if pair[0] != pair[1]))


def _pair(text: str) -> tuple[str, str]:
    name, colon, target = text.strip().rpartition(":")
    if not colon or not name:
        raise MappingInvalid("map has the form field:prompt,field:response")
    return name, target.strip()


def _text(name: str, value: Any) -> str:
    """A number is an answer as well. Raises RowInvalid."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RowInvalid(f"{name} is not text")
    return str(value)

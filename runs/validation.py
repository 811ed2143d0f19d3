"""Rules that the API's serializers and the pages' forms share. Each raises Django's ValidationError with a sentence."""

import posixpath
import re

from django.core.exceptions import ValidationError

from runs import datasets
from runs.limits import TAG_LENGTH, TAGS_PER_RUN

# A comma separates tags in forms and in the address.
TAG = re.compile(r"[^\s,\x00][^,\x00\r\n\t]*")
NAME_BYTES = 255


def dataset_key(value: str) -> None:
    if not datasets.valid_key(value):
        raise ValidationError(datasets.KEY_RULE)


def no_nul(value: str) -> None:
    if "\0" in value:
        raise ValidationError("must not contain a NUL character")


def model_id(value: str) -> None:
    """It is an argument of a command, which would take one with a dash before it for an option."""
    if value.startswith("-"):
        raise ValidationError("must not begin with a dash")


def output_dir(value: str) -> None:
    """A path that stays inside the run's own directory, however it is written."""
    no_nul(value)
    inside = posixpath.normpath(value)
    if value.startswith("/") or inside == ".." or inside.startswith("../"):
        raise ValidationError("must stay inside the run's own directory")
    if any(len(part.encode("utf-8", "replace")) > NAME_BYTES for part in value.split("/")):
        raise ValidationError(f"has a part that is longer than {NAME_BYTES} bytes")


def tags(values: list[str]) -> None:
    if len(values) > TAGS_PER_RUN:
        raise ValidationError(f"must be at most {TAGS_PER_RUN}")
    for value in values:
        if len(value) > TAG_LENGTH or not TAG.fullmatch(value) or value != value.strip():
            raise ValidationError(f"must have 1–{TAG_LENGTH} characters each, no comma, and no space at their ends")

"""A request to train, from a command line: what is not said is as the launch form has it."""

from typing import Any

from django.core.management.base import CommandError

from runs.forms import LaunchForm
from runs.services import LaunchRequest


def launch_request(dataset_key: str, model_id: str, *, dry_run: bool = True, **given: Any) -> LaunchRequest:
    """Raises CommandError, a sentence for each value that cannot be one."""
    defaults = {name: field.initial for name, field in LaunchForm.base_fields.items()}
    form = LaunchForm(defaults | given | {"dataset_key": dataset_key, "model_id": model_id})
    if not form.is_valid():
        raise CommandError("; ".join(f"{name} {each}" for name, errors in form.errors.items() for each in errors))
    return form.to_request(owner=None, dry_run=dry_run)

"""Record one dry run, as `POST /api/tunix/run` would."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runs import services
from runs.forms import LaunchForm
from runs.models import TunixRun


def launch_dry_run(dataset_key: str, model_id: str) -> TunixRun:
    """The finished run, with the default training settings. Raises CommandError where a name cannot be one."""
    defaults = {name: field.initial for name, field in LaunchForm.base_fields.items()}
    form = LaunchForm(defaults | {"dataset_key": dataset_key, "model_id": model_id})
    if not form.is_valid():
        raise CommandError("; ".join(f"{name} {each}" for name, errors in form.errors.items() for each in errors))
    return services.launch(form.to_request(owner=None))


class Command(BaseCommand):
    help = "Validate a training without starting it, and record the result. Exits with 1 when the validation failed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset_key")
        parser.add_argument("model_id")

    def handle(self, *, dataset_key: str, model_id: str, **_: Any) -> None:
        run = launch_dry_run(dataset_key, model_id)
        if run.stdout:
            self.stdout.write(run.stdout)
        if run.stderr:
            self.stderr.write(run.stderr)
        if run.status != TunixRun.Status.COMPLETED:
            raise CommandError(run.message)
        self.stdout.write(f"{run.message} ({run.run_id})")

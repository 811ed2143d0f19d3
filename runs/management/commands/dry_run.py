"""Record one dry run, as `POST /api/tunix/run` would."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import BaseCommand
from runs import services
from runs.management.requests import launch_request
from runs.models import TunixRun


class Command(BaseCommand):
    help = "Validate a training without starting it, and record the result. Exits with 1 when the validation failed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset_key")
        parser.add_argument("model_id")

    def handle(self, *, dataset_key: str, model_id: str, **_: Any) -> None:
        run = services.launch(launch_request(dataset_key, model_id))
        if run.stdout:
            self.stdout.write(run.stdout)
        if run.stderr:
            self.stderr.write(run.stderr)
        if run.status != TunixRun.Status.COMPLETED:
            raise CommandError(run.message)
        self.stdout.write(f"{run.message} ({run.run_id})")

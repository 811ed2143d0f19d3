"""Give a new registry something to look at: the example dataset and a dry run of it. A used one stays as it is."""

from typing import Any

from django.conf import settings
from django.core.management import call_command

from core.commands import BaseCommand
from runs import datasets, services
from runs.forms import DEFAULT_MODEL
from runs.management.commands.add_dataset import add_file
from runs.management.requests import launch_request
from runs.models import TunixRun

EXAMPLE = settings.BASE_DIR / "examples" / "arithmetic-v1.jsonl"
EXAMPLE_NAME = ("arithmetic", "v1")
EXAMPLE_KEY = "-".join(EXAMPLE_NAME)


class Command(BaseCommand):
    help = "Add the example dataset, record one dry run where there is no run at all, then do the housekeeping."

    def handle(self, **_: Any) -> None:
        if not _has_example():
            add_file(EXAMPLE, *EXAMPLE_NAME)
            self.stdout.write(f"Added the example dataset {EXAMPLE_KEY}.")
        # The trash counts: whoever deleted the first run does not want it back at every start.
        if not TunixRun.objects.exists():
            run = services.launch(launch_request(EXAMPLE_KEY, DEFAULT_MODEL))
            self.stdout.write(f"Recorded a dry run of {EXAMPLE_KEY}: {run.message}.")
        call_command("housekeeping", stdout=self.stdout)


def _has_example() -> bool:
    """Whether the key is taken: by the example, or by whatever else a user has put there, which stays."""
    try:
        datasets.get(EXAMPLE_KEY)
    except datasets.DatasetNotFound:
        return False
    except datasets.ManifestInvalid:
        return True
    return True

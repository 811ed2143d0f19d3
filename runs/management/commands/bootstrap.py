"""Give a new registry something to look at: the example datasets and a dry run. A used one stays as it is."""

from typing import Any

from django.conf import settings
from django.core.management import call_command

from core.commands import BaseCommand
from runs import datasets, services
from runs.forms import DEFAULT_MODEL
from runs.management.commands.add_dataset import add_file
from runs.management.requests import launch_request
from runs.models import TunixRun

# The second has the sums worked out: a small model learns from it.
EXAMPLES = ("arithmetic-v1", "arithmetic-v2")


class Command(BaseCommand):
    help = "Add the example datasets, record one dry run where there is no run at all, then do the housekeeping."

    def handle(self, **_: Any) -> None:
        for key in EXAMPLES:
            if not _has(key):
                add_file(settings.BASE_DIR / "examples" / f"{key}.jsonl", *key.split("-"))
                self.stdout.write(f"Added the example dataset {key}.")
        # The trash counts: whoever deleted the first run does not want it back at every start.
        if not TunixRun.objects.exists():
            run = services.launch(launch_request(EXAMPLES[0], DEFAULT_MODEL))
            self.stdout.write(f"Recorded a dry run of {EXAMPLES[0]}: {run.message}.")
        call_command("housekeeping", stdout=self.stdout)


def _has(key: str) -> bool:
    """Whether the key is taken: by the example, or by whatever else a user has put there, which stays."""
    try:
        datasets.get(key)
    except datasets.DatasetNotFound:
        return False
    except datasets.ManifestInvalid:
        return True
    return True

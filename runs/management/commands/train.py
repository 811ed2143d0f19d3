"""Launch a training and follow it to its end, as `POST /api/tunix/run` and the run's page would."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from core.commands import BaseCommand
from runs import logs, metrics, services
from runs.execution import wake
from runs.limits import TRAINING
from runs.management.requests import launch_request
from runs.models import TunixRun

POLL_SECONDS = 0.5


class Command(BaseCommand):
    help = "Train, show the log as it is written, and exit with 0 when the run completed. Ctrl-C ends the showing only."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset_key")
        parser.add_argument("model_id")
        for name, limit in TRAINING.items():
            parser.add_argument(f"--{name.replace('_', '-')}", help=limit.hint)

    def handle(self, *, dataset_key: str, model_id: str, **options: Any) -> None:
        given = {name: options[name] for name in TRAINING if options[name] is not None}
        request = launch_request(dataset_key, model_id, dry_run=False, **given)
        with _dispatcher():
            run = services.launch(request)
            self.stdout.write(f"run {run.run_id}: {model_id} on {dataset_key}")
            try:
                self.follow(run)
            except KeyboardInterrupt:
                raise CommandError(f"Run {run.run_id} goes on. Its page shows it, and cancels it.") from None
        self.conclude(run)

    def follow(self, run: TunixRun) -> None:
        """Both streams as they are written, until the run has ended and all of it is shown."""
        shown = dict.fromkeys(logs.STREAMS, 0)
        out = {"stdout": self.stdout, "stderr": self.stderr}
        while True:
            run.refresh_from_db()
            for stream in logs.STREAMS:
                while (piece := logs.read(run, stream, shown[stream])).text:
                    out[stream].write(piece.text, ending="")
                    shown[stream] = piece.next_offset
                out[stream].flush()
            if run.is_terminal:
                return
            time.sleep(POLL_SECONDS)

    def conclude(self, run: TunixRun) -> None:
        for series in metrics.series(run):
            self.stdout.write(f"{series.name}: {series.count:,} points, the last {series.last:.6g}")
        if run.status != TunixRun.Status.COMPLETED:
            raise CommandError(run.message)
        self.stdout.write(f"{run.message}. It is at {run.get_absolute_url()} of the registry; make run serves it.")


@contextmanager
def _dispatcher() -> Iterator[None]:
    """One for as long as the run is followed, where none listens. What it started goes on without it."""
    if wake.is_heard():
        yield
        return
    process = subprocess.Popen([sys.executable, settings.BASE_DIR / "manage.py", "dispatcher"], start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait()

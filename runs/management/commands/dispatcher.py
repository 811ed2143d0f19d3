import logging
import signal
from typing import Any

from django.core.management.base import CommandParser

from core.commands import BaseCommand
from runs import lifecycle
from runs.execution import confinement
from runs.execution.dispatcher import Dispatcher


class Command(BaseCommand):
    help = "Start local runs and resolve what has fallen silent, until a signal. Trainings go on without it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--end-runs",
            action="store_true",
            help="At the signal, ask the trainers to save and to end, and wait for them: for a container, which ends "
            "with the dispatcher and takes them with it.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        confinement.check()
        dispatcher = Dispatcher()

        def stop(*_: Any) -> None:
            dispatcher.stopping = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        logging.getLogger(__name__).info("dispatcher of %s", dispatcher.host)
        dispatcher.run()
        if options["end_runs"]:
            dispatcher.executor.end_all()
        training = lifecycle.supervised_on(dispatcher.host)
        for run in training:
            self.stderr.write(f"still training: {run}")
        if training:
            self.stderr.write("They go on; the next start finds them again.")

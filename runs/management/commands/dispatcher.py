import logging
import signal
from typing import Any

from core.commands import BaseCommand
from runs import lifecycle
from runs.execution import confinement
from runs.execution.dispatcher import Dispatcher


class Command(BaseCommand):
    help = "Start local runs and resolve what has fallen silent, until a signal. Trainings go on without it."

    def handle(self, *args: Any, **options: Any) -> None:
        confinement.check()
        dispatcher = Dispatcher()

        def stop(*_: Any) -> None:
            dispatcher.stopping = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        logging.getLogger(__name__).info("dispatcher of %s", dispatcher.host)
        dispatcher.run()
        training = lifecycle.supervised_on(dispatcher.host)
        for run in training:
            self.stderr.write(f"still training: {run}")
        if training:
            self.stderr.write("They go on; the next start finds them again.")

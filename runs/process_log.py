"""Which run a line of the log is about, so that lines in JSON can be found by it."""

import logging
import uuid

_run_of_this_process: uuid.UUID | None = None


def this_process_serves(run_id: uuid.UUID) -> None:
    """Every line of this process is about this run: it is its supervisor."""
    global _run_of_this_process
    _run_of_this_process = run_id


class RunId(logging.Filter):
    """Gives each line `run_id`: the run that its message names, else the one that the process serves, else none."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        named = next((each for each in arguments if isinstance(each, uuid.UUID)), _run_of_this_process)
        record.run_id = None if named is None else str(named)
        return True


class Refusals(logging.Filter):
    """A request that is refused, as suspicious or for its sender's role, is a line, not a traceback: anybody sends
    thousands. Where we are wrong it is an error, and has its traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        refused = record.name == "django.request" and record.levelno < logging.ERROR
        if refused or record.name.startswith("django.security"):
            record.exc_info = record.exc_text = None
        return True

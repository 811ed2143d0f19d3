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
    """A request that Django refuses as suspicious is a line, not a traceback: whoever likes sends thousands."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):
            record.exc_info = record.exc_text = None
        return True

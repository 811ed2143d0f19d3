"""Where supervisors are placed. An executor only places them: the truth is the lease in the database."""

from typing import Protocol

from runs.models import TunixRun


class Executor(Protocol):
    def prepare(self) -> None:
        """Be ready for the first `submit`. Asked once, by who will submit."""

    def submit(self, run: TunixRun, token: str) -> None:
        """Start a supervisor for `run`, with `token` for its lease. Raises OSError where none can be started."""

    def request_stop(self, run: TunixRun) -> None:
        """Hint that a cancel was asked for. It may be lost: the supervisor asks the database as well."""

    def inspect(self, run: TunixRun) -> bool | None:
        """Whether the run's supervisor lives; None where that cannot be known from here."""

    def end(self, run: TunixRun) -> bool:
        """Kill the run's supervisor, which may write nothing more, and its tree. True: they are known dead."""

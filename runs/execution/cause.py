"""Why a run did not complete, from how its process ended and the last lines that it wrote."""

import re
import signal
from dataclasses import dataclass

DEVICE_MEMORY = re.compile(r"RESOURCE_EXHAUSTED")
NAN_LOSS = re.compile(r"\bloss\b\W{0,4}nan\b|\bnan\b[^\n]{0,40}\bloss\b", re.IGNORECASE)

EVIDENCE_LENGTH = 1_000
HOST_STOPPED = "Local execution failed: its host was stopped; the trainer was asked to save and to end"


@dataclass(frozen=True)
class Ending:
    """How a run ended: its final status, cause, exit code and sentence."""

    status: str
    cause: str
    # The line of the output, or of the kernel's record, that shows the cause.
    evidence: str
    exit_code: int | None
    message: str


def ending(returncode: int, stopped: str | None, timeout: float, last_lines: str, killed: str = "") -> Ending:
    """`stopped` is "cancelled", "host_stopped" or "timeout" where the supervisor ended it, else None.

    `killed` is the kernel's record of a process of the tree that it killed when memory ran out.
    """
    if stopped == "cancelled":
        return Ending("cancelled", "cancelled", "", returncode, "Local execution cancelled")
    if stopped == "host_stopped":
        return Ending("failed", "host_stopped", "", returncode, HOST_STOPPED)
    if stopped == "timeout":
        message = f"Local execution timed out after {timeout:g} seconds"
        return Ending("timeout", "timeout", _last(last_lines), None, message)
    if returncode == 0:
        return Ending("completed", "", "", 0, "Local execution completed successfully")
    if returncode < 0:
        message = f"Local execution failed: killed by signal {signal_name(-returncode)}"
    else:
        message = f"Local execution failed with exit code {returncode}"
    return Ending("failed", *_cause(returncode, last_lines, killed), returncode, message)


def _cause(returncode: int, last_lines: str, killed: str) -> tuple[str, str]:
    """The cause and its evidence. Without evidence, `host_out_of_memory` is only possible."""
    if killed:
        return "host_out_of_memory", killed
    for pattern, cause in ((DEVICE_MEMORY, "device_out_of_memory"), (NAN_LOSS, "nan_loss")):
        if line := _line_with(pattern, last_lines):
            return cause, line
    # Nobody here sent it: the kernel does, when memory runs out. A shell reports the same as 137.
    if returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "host_out_of_memory", ""
    return ("signal" if returncode < 0 else "exit"), _last(last_lines)


def _line_with(pattern: re.Pattern[str], text: str) -> str:
    return next((_shown(line) for line in text.splitlines() if pattern.search(line)), "")


def _last(text: str) -> str:
    """The last line that says something: a traceback's is the error."""
    return next((_shown(line) for line in reversed(text.splitlines()) if line.strip()), "")


def _shown(line: str) -> str:
    return line.replace("\0", "�").strip()[:EVIDENCE_LENGTH]


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)

"""Why a run did not complete, from how its process ended and the last lines that it wrote."""

import re
import signal
from dataclasses import dataclass

DEVICE_MEMORY = re.compile(r"RESOURCE_EXHAUSTED")
NAN_LOSS = re.compile(r"\bloss\b\W{0,4}nan\b|\bnan\b[^\n]{0,40}\bloss\b", re.IGNORECASE)


@dataclass(frozen=True)
class Ending:
    """How a run ended: its final status, cause, exit code and sentence."""

    status: str
    cause: str
    exit_code: int | None
    message: str


def ending(returncode: int, stopped: str | None, timeout: float, last_lines: str) -> Ending:
    """`stopped` is "cancelled" or "timeout" where the supervisor ended it, else None."""
    if stopped == "cancelled":
        return Ending("cancelled", "cancelled", returncode, "Local execution cancelled")
    if stopped == "timeout":
        return Ending("timeout", "timeout", None, f"Local execution timed out after {timeout:g} seconds")
    if returncode == 0:
        return Ending("completed", "", 0, "Local execution completed successfully")
    if returncode < 0:
        message = f"Local execution failed: killed by signal {signal_name(-returncode)}"
    else:
        message = f"Local execution failed with exit code {returncode}"
    return Ending("failed", _cause(returncode, last_lines), returncode, message)


def _cause(returncode: int, last_lines: str) -> str:
    if DEVICE_MEMORY.search(last_lines):
        return "device_out_of_memory"
    if NAN_LOSS.search(last_lines):
        return "nan_loss"
    # Nobody here sent it: the kernel does, when memory runs out. A shell reports the same as 137.
    if returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "host_out_of_memory"
    return "signal" if returncode < 0 else "exit"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)

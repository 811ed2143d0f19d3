"""exit.json: how a run ended, as its supervisor left it for when the database has not heard of it.

The training script can write to the same directory. So the file bears a seal made with the run's claim, which its
supervisor and the database know and a trainer is not told; and nothing is taken from it but these fields, each of its
type and within its bounds.
"""

import hashlib
import hmac
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from core import files
from runs.models import TunixRun
from runs.output import OUTPUT_BYTES, clean_json, clip
from runs.rundir import RunDirectory

MAX_BYTES = 256 * 1024
MAX_MESSAGE = 2_000
SEAL = "seal"


class NotSealed(ValueError):
    """The file is not as this run's supervisor wrote it."""


def write(directory: RunDirectory, claim: str, result: dict[str, Any]) -> None:
    """Before the database hears of it. `claim` is the hash of the supervisor's token. Raises OSError."""
    fields = json.loads(json.dumps(result, default=datetime.isoformat))
    text = json.dumps(fields | {SEAL: _seal(claim, fields)}, indent=1)
    files.write_whole(directory.path, directory.result.name, text.encode())


def read(directory: RunDirectory, claim: str) -> dict[str, Any]:
    """What `write` wrote. Raises OSError, and ValueError where it is not that, or has been changed."""
    found = _loads(files.read(directory.path, directory.result.name, MAX_BYTES))
    seal = found.pop(SEAL, None)
    if not claim or not isinstance(seal, str) or not hmac.compare_digest(seal.encode(), _seal(claim, found).encode()):
        raise NotSealed("It was not written by the run's supervisor")
    return {name: check(found[name]) for name, check in FIELDS.items() if name in found or name in REQUIRED}


def found(directory: RunDirectory, claim: str) -> dict[str, Any] | None:
    """What `write` wrote; None where there is nothing, or something else."""
    try:
        return read(directory, claim)
    except (OSError, ValueError):
        return None


def _loads(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except RecursionError as error:
        raise ValueError("It is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("It is no JSON object")
    return found


def _seal(claim: str, fields: dict[str, Any]) -> str:
    return hmac.new(claim.encode(), json.dumps(fields, sort_keys=True).encode(), hashlib.sha256).hexdigest()


# --- what may be in it ------------------------------------------------------------------------------------------------


def _one_of(*values: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in values:
            raise ValueError(f"{value!r:.80} is none of {', '.join(values)}")
        return str(value)

    return check


def _text(length: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r:.80} is no text")
        return str(clean_json(value[:length]))

    return check


def _output(value: Any) -> str:
    return clip(_text(2 * OUTPUT_BYTES)(value))


def _whole(least: int, most: int, *, empty: bool = False) -> Callable[[Any], int | None]:
    def check(value: Any) -> int | None:
        if value is None and empty:
            return None
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{value!r:.80} is no whole number from {least} to {most}")
        return value

    return check


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r:.80} is no number of seconds")
    return float(value)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(40)(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r:.80} has no time zone")
    return moment.astimezone(UTC)


def _notices(value: Any) -> Any:
    return value  # notices.parsed leaves out what is none


REQUIRED = ("status", "completed_at")
FIELDS: dict[str, Callable[[Any], Any]] = {
    "status": _one_of(*TunixRun.TERMINAL),
    "completed_at": _moment,
    "cause": _one_of("", *TunixRun.Cause.values),
    "evidence": _text(MAX_MESSAGE),
    "message": _text(MAX_MESSAGE),
    "exit_code": _whole(-(2**31), 2**31 - 1, empty=True),
    "duration_seconds": _seconds,
    "stdout": _output,
    "stderr": _output,
    "files_bytes": _whole(0, 2**63 - 1),
    "notices": _notices,
}

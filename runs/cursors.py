"""A place in the list, newest first, as a text for an address: after this run."""

import base64
import binascii
import uuid
from datetime import UTC, datetime
from typing import Any


class NoCursor(ValueError):
    """The text is not one that `encode` gave."""


def encode(row: dict[str, Any]) -> str:
    """Of a row that has `started_at` and `run_id`."""
    place = f"{row['started_at'].astimezone(UTC).isoformat()} {row['run_id']}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[datetime, uuid.UUID]:
    """Raises NoCursor."""
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        started_at, run_id = place.split(" ")
        moment = datetime.fromisoformat(started_at)
        if moment.utcoffset() is None:
            raise ValueError("a cursor's time has an offset")
        return moment.astimezone(UTC), uuid.UUID(run_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise NoCursor(f"{cursor[:80]!r} is no cursor") from error

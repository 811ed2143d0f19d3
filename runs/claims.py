"""What the disk knows of each run that began on this host: its record as it was then, with its claim.

For when the database is restored from a backup and knows less than what has happened since. The files lie in the home
and not in the runs' directories, where training scripts write: what they say is ours. A run's file
goes when the run is freed.
"""

import uuid
from pathlib import Path

from django.conf import settings

from runs import kept
from runs.models import TunixRun


def remember(run: TunixRun) -> None:
    """That it begins. Raises OSError."""
    kept.write(_path(run.run_id), [run])


def remembered(run_id: uuid.UUID) -> TunixRun | None:
    """The run as it was when it began; None where it did not, here."""
    found = kept.read(_path(run_id))
    return found[0] if found and isinstance(found[0], TunixRun) and found[0].run_id == run_id else None


def forget(run_id: uuid.UUID) -> None:
    _path(run_id).unlink(missing_ok=True)


def _path(run_id: uuid.UUID) -> Path:
    return Path(settings.TUNIX_RT_HOME) / "claims" / f"{run_id}.json"

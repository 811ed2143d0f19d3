"""A statement that somebody has written into an address may be any; none may keep the database for long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction

SECONDS = 3.0
# SQLite asks every so many of its instructions whether to go on.
INSTRUCTIONS = 20_000
# PostgreSQL's code for a statement that was cancelled.
QUERY_CANCELED = "57014"


class TooSlow(Exception):
    """The database was told to stop."""


@contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Every statement within ends after so long. Raises TooSlow."""
    limited = _postgresql if connection.vendor == "postgresql" else _sqlite
    try:
        with limited(seconds):
            yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == QUERY_CANCELED or "interrupted" in str(error):
            raise TooSlow from error
        raise


@contextmanager
def _postgresql(seconds: float) -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [int(seconds * 1000)])
        yield
        with connection.cursor() as cursor:  # a transaction around this one goes on without it
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")


@contextmanager
def _sqlite(seconds: float) -> Iterator[None]:
    connection.ensure_connection()
    deadline = time.monotonic() + seconds
    connection.connection.set_progress_handler(lambda: time.monotonic() > deadline, INSTRUCTIONS)
    try:
        yield
    finally:
        connection.connection.set_progress_handler(None, 0)

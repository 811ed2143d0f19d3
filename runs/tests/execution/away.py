"""A database that is really away: PostgreSQL refuses every connection, SQLite is locked by somebody else."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator

import psycopg
from django.conf import settings
from django.db import connection


@contextlib.contextmanager
def database_away(seconds: float) -> Iterator[None]:
    """Away for at least so long, and while the block runs."""
    until = time.monotonic() + seconds
    database = settings.DATABASES["default"]
    with _locked(database) if connection.vendor == "sqlite" else _refusing(database):
        yield
        time.sleep(max(0.0, until - time.monotonic()))


@contextlib.contextmanager
def _locked(database: dict) -> Iterator[None]:
    connection.close()
    with contextlib.closing(sqlite3.connect(database["NAME"], timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def _refusing(database: dict) -> Iterator[None]:
    connection.close()
    name = database["NAME"]
    where = {"host": database["HOST"], "port": database["PORT"], "user": database["USER"], "dbname": "postgres"}
    with psycopg.connect(**where, autocommit=True) as other:
        other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

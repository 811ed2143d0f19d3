"""Databases for real servers: each test's own, of the kind that the tests run on, and how to take one away from a server."""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from django.conf import settings
from django.db import connection
from psycopg import sql


@contextmanager
def new_database(home: Path) -> Iterator[Any]:
    """A database for the server in `home`, gone when the block ends. Its `url` is what the server is given."""
    database = {"postgresql": PostgreSQL, "sqlite": SQLite}[connection.vendor](home)
    try:
        yield database
    finally:
        database.free()


class PostgreSQL:
    """A database of its own on the server that the tests run on."""

    why = ("not currently accepting connections", "terminating connection")

    def __init__(self, home: Path):
        given = settings.DATABASES["default"]
        self.name = f"tunix_rt_away_{uuid.uuid4().hex[:12]}"
        self.address = {"host": given["HOST"] or None, "port": given["PORT"] or None, "user": given["USER"] or None}
        self.password = given["PASSWORD"] or None
        self._say("CREATE DATABASE {} TEMPLATE template0")  # which nobody is connected to
        user = quote(given["USER"]) + (f":{quote(self.password)}" if self.password else "")
        self.url = f"postgres://{user}@{given['HOST']}:{given['PORT'] or 5432}/{self.name}"

    def take(self):
        self._say("ALTER DATABASE {} ALLOW_CONNECTIONS false")
        self.end_connections()

    def end_connections(self):
        self._say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}", sql.Literal(self.name))

    def give(self):
        self._say("ALTER DATABASE {} ALLOW_CONNECTIONS true")

    take_from_under = take
    give_back_under = give

    def free(self):
        self._say("DROP DATABASE {} WITH (FORCE)")

    def _say(self, command, value=None):
        options = {name: each for name, each in self.address.items() if each}
        with psycopg.connect(dbname="postgres", password=self.password, autocommit=True, **options) as admin:
            admin.execute(sql.SQL(command).format(value or sql.Identifier(self.name)))


class SQLite:
    """The file in the server's home."""

    why = ("unable to open database file", "database is locked")
    url = None

    def __init__(self, home: Path):
        self.path = home / "tunix-rt.sqlite3"
        self.lock = None

    def take(self):
        """Another file is in its place, which nobody may read. What is open already stays open to who has it."""
        self._move("", ".aside")
        self.path.touch(mode=0)

    def give(self):
        if self._at(".aside").exists():
            self.path.unlink()
            self._move(".aside", "")

    def _move(self, source, target):
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                self._at(source + suffix).rename(self._at(target + suffix))

    def _at(self, suffix):
        return self.path.with_name(self.path.name + suffix)

    def take_from_under(self):
        """From a server that has the file open: what it may do with it was decided when it opened it."""
        self.lock = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.lock.execute("BEGIN EXCLUSIVE")

    def give_back_under(self):
        self.lock.execute("ROLLBACK")
        self.lock.close()

    def end_connections(self):
        """Nobody else ends those to a file."""

    def free(self):
        self.give()

"""The application that gunicorn serves."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, connection

from tunix_rt import prefix

# By which gunicorn knows that its workers will never start, and stops.
WORKER_BOOT_ERROR = 3


def refuse_newer_database() -> None:
    """Rather than answer 500 to what its tables have no place for. Of one that is away, readyz will tell."""
    from runs import upgrades

    with contextlib.suppress(DatabaseError):
        if sentence := upgrades.newer():
            print(sentence, file=sys.stderr, flush=True)
            sys.exit(WORKER_BOOT_ERROR)
    connection.close()


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tunix_rt.settings")
django = get_wsgi_application()
refuse_newer_database()


class Body:
    """A request's body. Reading raises OSError where it ends before its announced length, or is chunked wrongly.

    Django takes a body that was cut off for a whole one: half of an upload would be stored as if it were all.
    """

    def __init__(self, source: Any, length: int | None):
        self.source, self.missing = source, length

    def read(self, size: int = -1) -> bytes:
        parts = []
        wanted = self._at_most(size)
        while wanted and (part := self._came(self.source.read, wanted)):
            wanted -= len(part)
            parts.append(part)
        return b"".join(parts)

    def readline(self, size: int = -1) -> bytes:
        wanted = self._at_most(size)
        return self._came(self.source.readline, wanted) if wanted else b""

    def _at_most(self, size: int) -> int:
        limit = sys.maxsize if self.missing is None else self.missing
        return limit if size is None or size < 0 else min(size, limit)

    def _came(self, read: Callable[[int], bytes], wanted: int) -> bytes:
        try:
            part = read(wanted)
        except OSError:
            raise
        except Exception as error:  # gunicorn has exceptions of its own for a malformed chunk
            raise OSError(f"the body cannot be read: {error}") from error
        if self.missing is not None:
            self.missing -= len(part)
            if not part:
                raise OSError(f"the body ended {self.missing} bytes early")
        return part


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    length = environ.get("CONTENT_LENGTH")
    environ["PATH_INFO"] = prefix.without(settings.PREFIX, environ["PATH_INFO"])
    environ["wsgi.input"] = Body(environ["wsgi.input"], int(length) if length else None)
    return django(environ, start_response)

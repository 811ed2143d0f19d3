"""Whether whoever asked still waits for the answer."""

import socket
from collections.abc import Callable, Mapping
from typing import Any


def gone(environment: Mapping[str, Any]) -> Callable[[], bool]:
    """Asks the connection of a request, where the server (gunicorn) gives it: whether its other end was closed."""
    connection: socket.socket | None = environment.get("gunicorn.socket")

    def is_closed() -> bool:
        if connection is None:
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return is_closed

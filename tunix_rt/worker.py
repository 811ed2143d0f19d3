"""gunicorn's threaded worker, patient: a thread is given to a request when the request is there.

gunicorn gives one to a connection as soon as its first byte is, and the thread waits for the rest: as many slow clients
as there are threads stop everybody. Here the poller waits, for nothing but memory of the kernel's; it looks at what has
arrived without taking it. What lasts by its nature, a large body, a download or a
search through a log, has half of the threads at most.
"""

import re
import selectors
import socket
import struct
import time
from collections import deque
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

# A request of so many bytes, its body included, is waited for in whole. Below what the kernel keeps for a connection.
WHOLE_BYTES = 64 * 1024
# Within this a head must be there, and a small body. The people who type them by hand are few.
ARRIVAL_SECONDS = 10.0
STOP_SECONDS = 2.0
# A transfer in which nothing moves for a minute has ended. As the kernel takes it: seconds, microseconds.
STALL = struct.pack("ll", 60, 0)
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
# A body of unknown length, or one that comes only when we have begun to read.
UNFORESEEN = re.compile(rb"\r\n(?:transfer-encoding|expect):", re.IGNORECASE)
# What lasts by its nature: downloads, and searches through logs.
LASTING = re.compile(
    rb"\AGET [^ ?]*(?:/download|/data|/export\.[a-z]+|\.jsonl|/logs/search)[ ?]"
    rb"|\AGET [^ ?]*/log/\?(?:[^ ]*&)?find=[^& ]"
)


class PatientWorker(ThreadWorker):
    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._most_long = max(1, self.cfg.threads // 2)
        self._long: set[TConn] = set()
        self._long_queue: deque[TConn] = deque()

    def enqueue_req(self, conn: TConn) -> None:
        """Called by the poller's thread, for a new connection and for each further request on one."""
        if conn.parser is not None and conn.parser.unreader.buf.getvalue():  # the next request was read already
            super().enqueue_req(conn)
            return
        try:
            arrived = conn.sock.recv(WHOLE_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._wait_for(1, conn)
            return
        except OSError:  # whoever reads from it finds out what is wrong
            arrived = b""
        head, end, _ = arrived.partition(b"\r\n\r\n")
        whole = len(head) + len(end) + _body_bytes(head) if end else len(arrived) + 1
        is_long = whole > WHOLE_BYTES or bool(LASTING.match(head))
        # Woken for less than was waited for: the client has closed its side, and no more will come.
        ended = len(arrived) < getattr(conn, "wanted", 0)
        if ended or is_long or len(arrived) >= whole:
            self._dispatch(conn, is_long)
        else:
            self._wait_for(whole, conn)

    def _wait_for(self, count: int, conn: TConn) -> None:
        """Until so many bytes have arrived, or its time is over. The kernel knows what to wake us for."""
        now = time.monotonic()
        if getattr(conn, "due", None) is None:
            conn.due = now + ARRIVAL_SECONDS
        conn.timeout, conn.wanted = conn.due, count
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
        conn.sock.setblocking(False)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _dispatch(self, conn: TConn, is_long: bool) -> None:
        if is_long and len(self._long) >= self._most_long:
            self._long_queue.append(conn)
            return
        if is_long:
            self._long.add(conn)
        conn.due, conn.wanted, conn.data_ready = None, 0, True
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            conn.sock.setsockopt(socket.SOL_SOCKET, option, STALL)
        super().enqueue_req(conn)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        self._long.discard(conn)
        super().finish_request(conn, fs)
        while self._long_queue and len(self._long) < self._most_long:
            self._dispatch(self._long_queue.popleft(), is_long=True)

    def murder_pending(self) -> None:
        """Close what has not arrived in time, and soon when this worker is to stop."""
        now = time.monotonic()
        until = now if self.alive else now + ARRIVAL_SECONDS - STOP_SECONDS
        for conn in [each for each in self.pending_conns if each.timeout <= until]:
            self.pending_conns.remove(conn)
            self.poller.unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()


def _body_bytes(head: bytes) -> int:
    """How many bytes follow this head; more than is waited for where nobody can say."""
    head += b"\r\n"
    if UNFORESEEN.search(head):
        return WHOLE_BYTES
    found = CONTENT_LENGTH.search(head)
    return int(found[1]) if found else 0

"""How gunicorn serves tunix-rt. HOST and PORT come from the environment; `open` mode binds to loopback only."""

import contextlib
import ctypes
import gc
import os
import shutil
from pathlib import Path

from tunix_rt import private

wsgi_app = "tunix_rt.wsgi"
host = os.environ.get("HOST", "127.0.0.1")
if os.environ.get("TUNIX_RT_AUTH") == "open" and host not in ("127.0.0.1", "localhost", "[::1]"):
    raise SystemExit(f"TUNIX_RT_AUTH=open serves loopback only, not HOST={host}.")
bind = f"{host}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = "tunix_rt.worker.PatientWorker"
threads = 8
# A dataset of gigabytes takes minutes to arrive; gthread's heartbeat is its own thread: this bounds a hung worker only.
timeout = 120
graceful_timeout = 10
control_socket_disable = True
# By default it believes whoever comes from this machine: a SCRIPT_NAME moves every address, and one that fits none is a
# 500. What our proxies say is read by Django, and only where TUNIX_RT_PROXIES says that there are any.
forwarded_allow_ips = ""
# What gunicorn says at its info level is where it listens, which is said below in words.
loglevel = "warning"

# Where the workers put what they count, for GET /metrics to add up. Set before any of them imports the library; what a
# server that was killed left is removed.
_home = Path(os.environ.get("TUNIX_RT_HOME", "var")).resolve()
_counts = _home / "prometheus"
# Before anything is made there; the settings are read by the workers only.
private.set_umask(_home)
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    for _old in _counts.glob("[0-9]*"):
        # In a container the one before had this very process ID.
        if _old.name == str(os.getpid()) or not Path("/proc", _old.name).exists():
            shutil.rmtree(_old, ignore_errors=True)
    _mine = _counts / str(os.getpid())
    # A data directory that cannot be written to is refused by the settings, in words.
    with contextlib.suppress(OSError):
        _mine.mkdir(parents=True, exist_ok=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_mine)


# Room for the counts of 1,500 kinds of requests.
COUNTS_BYTES = 4 * 1024 * 1024


# The C library's names: https://man7.org/linux/man-pages/man3/mallopt.3.html
M_MMAP_THRESHOLD, LARGE_BYTES = -3, 128 * 1024


def post_fork(_server: object, _worker: object) -> None:
    _give_large_blocks_back()
    _make_room_for_counts()


def _give_large_blocks_back() -> None:
    """Memory of large bodies goes back to the system when it is free. By default the C library learns from the first of
    them to keep such blocks, for each thread, and forty bodies of a MiB leave a worker 70 MB larger.
    """
    with contextlib.suppress(AttributeError):  # of another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def post_worker_init(_worker: object) -> None:
    """What is loaded is no garbage, and looking through it most of what a collection takes. Pages are loaded first: the
    first who asks does not wait for them either.
    """
    from django.urls import get_resolver

    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()


def _make_room_for_counts() -> None:
    """Give a worker's counts their room on disk. The library writes them through a map of a sparse file: where the disk
    is full by then, the kernel ends whoever does. A disk that is full now: this worker counts for itself.
    """
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not directory:
        return
    path = Path(directory, f"histogram_{os.getpid()}.db")
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, COUNTS_BYTES)
    except OSError:
        path.unlink(missing_ok=True)
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def child_exit(_server: object, worker: object) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[attr-defined]


def on_exit(_server: object) -> None:
    shutil.rmtree(_counts / str(os.getpid()), ignore_errors=True)


def when_ready(_server: object) -> None:
    print(f"tunix-rt is at http://{bind}{os.environ.get('TUNIX_RT_PREFIX', '')} until Ctrl-C.", flush=True)

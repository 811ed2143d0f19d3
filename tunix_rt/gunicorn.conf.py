"""How gunicorn serves tunix-rt. HOST and PORT come from the environment; `open` mode binds to loopback only."""

import contextlib
import os
import shutil
from pathlib import Path

wsgi_app = "tunix_rt.wsgi"
host = os.environ.get("HOST", "127.0.0.1")
if os.environ.get("TUNIX_RT_AUTH") == "open" and host not in ("127.0.0.1", "localhost", "[::1]"):
    raise SystemExit(f"TUNIX_RT_AUTH=open serves loopback only, not HOST={host}.")
bind = f"{host}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = "gthread"
threads = 8
# A dataset of gigabytes takes minutes to arrive; gthread's heartbeat is its own thread: this bounds a hung worker only.
timeout = 120
graceful_timeout = 10
control_socket_disable = True
# What gunicorn says at its info level is where it listens, which is said below in words.
loglevel = "warning"

# Where the workers put what they count, for GET /metrics to add up. Set before any of them imports the library; what a
# server that was killed left is removed.
_counts = Path(os.environ.get("TUNIX_RT_HOME", "var")).resolve() / "prometheus"
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    for _old in _counts.glob("[0-9]*"):
        if not Path("/proc", _old.name).exists():
            shutil.rmtree(_old, ignore_errors=True)
    _mine = _counts / str(os.getpid())
    with contextlib.suppress(
        OSError
    ):  # a data directory that cannot be written to is refused by the settings, in words
        _mine.mkdir(parents=True, exist_ok=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_mine)


def child_exit(_server: object, worker: object) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[attr-defined]


def on_exit(_server: object) -> None:
    shutil.rmtree(_counts / str(os.getpid()), ignore_errors=True)


def when_ready(_server: object) -> None:
    print(f"tunix-rt is at http://{bind} until Ctrl-C.", flush=True)

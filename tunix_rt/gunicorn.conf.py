"""How gunicorn serves tunix-rt. HOST and PORT come from the environment; `open` mode binds to loopback only."""

import os

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


def when_ready(_server: object) -> None:
    print(f"tunix-rt is at http://{bind} until Ctrl-C.", flush=True)

"""`python runs/trainer/capture.py [-m] TARGET ARGUMENT...`: run any program that uses JAX, and record what it logs.

The program is not changed and need not know of this: what it logs by `jax.monitoring`, as Tunix does, is appended to
metrics.jsonl of the run's directory, and the versions and devices that it used are written to trainer.json.
"""

import runpy
import sys
from pathlib import Path

# As Python does for a program of its own: the target's directory comes in its place.
PROJECT = str(Path(__file__).resolve().parents[2])
sys.path[0] = PROJECT

from runs.trainer import facts  # noqa: E402


def main(arguments: list[str]) -> None:
    as_module = arguments[:1] == ["-m"]
    target, *rest = arguments[1:] if as_module else arguments or [""]
    if not target:
        sys.exit("usage: python runs/trainer/capture.py [-m] TARGET ARGUMENT...")
    _listen()
    sys.path[0] = str(Path.cwd()) if as_module else str(Path(target).resolve().parent)
    sys.argv = [target, *rest]
    try:
        if as_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(target, run_name="__main__")
    finally:
        memory = facts.peak_memory_bytes()
        facts.write({"versions": facts.versions(), "devices": facts.devices(), "peak_memory_bytes": memory})


def _listen() -> None:
    """Tunix clears all listeners when a trainer is closed; another may follow in the same program."""
    try:
        from jax import monitoring
    except ImportError:  # a program without JAX logs nothing this way
        return
    listener = facts.MetricsFile().log_scalar
    monitoring.register_scalar_listener(listener)
    clear = monitoring.clear_event_listeners

    def clear_others() -> None:
        clear()
        monitoring.register_scalar_listener(listener)

    monitoring.clear_event_listeners = clear_others


if __name__ == "__main__":
    main(sys.argv[1:])

"""What only the training process can find out, written to trainer.json for the registry. Also where metrics go."""

import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

PACKAGES = (
    "google-tunix", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "qwix", "google-metrax", "numpy",
)  # fmt: skip


def run_directory() -> Path:
    return Path(os.environ.get("TUNIX_RT_RUN_DIR", "."))


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def devices() -> list[str]:
    """Of a process that uses JAX; asking would load it in one that does not."""
    jax = sys.modules.get("jax")
    return [] if jax is None else [f"{each.platform}:{each.id} {each.device_kind}" for each in jax.devices()]


def peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write(facts: dict[str, Any]) -> None:
    """Whole or not at all. A disk that is full costs the facts, not the training."""
    target = run_directory() / "trainer.json"
    partial = target.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        print(f"trainer.json could not be written: {error.strerror}", file=sys.stderr)


class MetricsFile:
    """Appends scalars to metrics.jsonl, a line each: a metrax LoggingBackend, and a listener of jax.monitoring."""

    def __init__(self) -> None:
        self._file = (run_directory() / "metrics.jsonl").open("a", buffering=1, encoding="utf-8")

    def log_scalar(self, event: str, value: Any, **options: Any) -> None:
        name = event.lstrip("/")
        if not name.startswith("jax/"):  # JAX's own, a duration of every compilation
            self.write(name, int(options.get("step") or 0), float(value))

    def write(self, name: str, step: int, value: float) -> None:
        line = {"name": name, "step": step, "value": value, "time": round(time.time(), 3)}
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as error:
            print(f"step {step}: {name} could not be written: {error.strerror}", file=sys.stderr)

    def close(self) -> None:
        self._file.close()

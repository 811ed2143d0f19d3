"""Where a run's result comes from, what has changed since, and whether a repeat of it is the same.

Collected by the run's supervisor, kept in the record and as `run.json` in the run's directory.
"""

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings

from runs import datasets, masking, metrics, tunix
from runs.models import TunixRun

GIT_SECONDS = 10
GITS_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL")
# More than this was changed by a tool, or is data: the hash is kept, the text is not.
MAX_PATCH_BYTES = 1024 * 1024
DESCRIBED = (
    "run_id", "dataset_key", "model_id", "mode", "status", "exit_code", "cause", "message", "config", "output_dir",
    "priority", "accepted_at", "started_at", "completed_at", "duration_seconds", "step", "total_steps",
)  # fmt: skip


# --- what is known at the start ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """The state of the repository that holds what was run; `patch` is what was changed in it and not committed."""

    repository: str
    commit: str
    dirty: bool
    patch_sha256: str | None
    patch: bytes = b""

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "patch"}


class CodeUnknown(Exception):
    """git did not answer in time."""


def collect(arguments: Sequence[str], environment: Sequence[str], dataset_key: str) -> dict[str, Any]:
    """What can be known when a trainer is started, without `code` and what the trainer itself finds out."""
    return {
        "command": masking.command(tunix.training_command()),
        "arguments": list(arguments),
        "environment": sorted(environment),
        "host": host(),
        "dataset": _dataset(dataset_key),
    }


def host() -> dict[str, Any]:
    return {
        "name": os.uname().nodename,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _dataset(key: str) -> dict[str, Any] | None:
    try:
        manifest = datasets.get(key).manifest
    except datasets.DatasetError:
        return None
    return {"sha256": manifest["sha256"], "rows": manifest["row_count"], "bytes": manifest["bytes"]}


def code_of(arguments: Sequence[str]) -> Code | None:
    """The repository of the first argument that is a file in one: a script of one's own, or our trainer.

    Raises CodeUnknown.
    """
    for argument in arguments[1:] or arguments:
        path = Path(argument)
        # What a run wrote is no code of ours, and a repository that it made would tell git what to execute.
        written = path.is_relative_to(settings.TUNIX_RT_HOME)
        if path.is_absolute() and not written and path.exists():
            root = _git(path if path.is_dir() else path.parent, "rev-parse", "--show-toplevel")
            if root:
                return _state_of(Path(root.decode("utf-8", "replace").strip()))
    return None


def _state_of(root: Path) -> Code | None:
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    patch = _git(root, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv") or b""
    untracked = _git(root, "ls-files", "--others", "--exclude-standard") or b""
    digest = hashlib.sha256(patch).hexdigest() if patch else None
    kept = masking.Mask().whole(patch) if len(patch) <= MAX_PATCH_BYTES else b""
    return Code(str(root), commit.decode().strip(), bool(patch or untracked), digest, kept)


def _git(directory: Path, *arguments: str) -> bytes | None:
    """What git says; None where it is not there or refuses. Raises CodeUnknown where it takes too long.

    A repository's own configuration has it execute what it likes: not its monitor, and nothing with our secrets.
    """
    command = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", *arguments]
    environment = {name: os.environ[name] for name in GITS_ENVIRONMENT if name in os.environ}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=GIT_SECONDS, check=False
        )
    except OSError:
        return None
    except subprocess.TimeoutExpired as error:
        raise CodeUnknown(f"git {arguments[0]} took over {GIT_SECONDS} s") from error
    return done.stdout if done.returncode == 0 else None


def document(run: TunixRun) -> dict[str, Any]:
    """All that is needed to understand and to repeat a run: its request, its result, its provenance."""
    described = {name: getattr(run, name) for name in DESCRIBED}
    described["priority"] = TunixRun.Priority(run.priority).name.lower()
    return described | {
        "retry_of": run.retry_of_id,
        "resume": run.resume,
        "reproduces": run.reproduces_id,
        "provenance": run.provenance,
        "notices": run.notices,
    }


# --- what has changed since -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """Something that is not as it was when the run was started; None where it is not known or not there."""

    name: str
    then: Any
    now: Any


def changes_since(run: TunixRun) -> list[Change]:
    """What a repeat of `run` on this host would find changed. Empty for a run that recorded nothing."""
    then = run.provenance
    if not then:
        return []
    now = {
        "dataset": _dataset(run.dataset_key),
        "code": _code_now(tuple(then.get("arguments") or ())),
        "command": masking.command(tunix.training_command()),
        "versions": tunix.versions(tuple(then.get("versions") or ())),
        "devices": _devices_now(),
        "host": host(),
    }
    # What a run did not record cannot be compared; what is gone now has changed.
    return [change for name, value in now.items() if name in then for change in _differences(name, then[name], value)]


@lru_cache(maxsize=64)
def _remembered(_period: int, arguments: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        code = code_of(arguments)
    except CodeUnknown:
        return None
    return code.as_dict() if code else None


def _code_now(arguments: tuple[str, ...]) -> dict[str, Any] | None:
    return _remembered(tunix.period(), arguments)


def _devices_now() -> list[str] | None:
    """Those that the newest run of this host found: only a trainer can ask for them."""
    here = TunixRun.objects.alive().filter(mode=TunixRun.Mode.LOCAL, host=os.uname().nodename).newest_first()
    for found in here.values_list("provenance", flat=True)[:5]:
        if "devices" in found:
            return found["devices"]
    return None


def _differences(name: str, then: Any, now: Any) -> list[Change]:
    if then == now or (name == "devices" and now is None):
        return []
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [*then, *(key for key in now if key not in then)]
        return [each for key in keys for each in _differences(f"{name}.{key}", then.get(key), now.get(key))]
    return [Change(name, then, now)]


# --- is a repeat the same? --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """The first step at which two runs' metrics part; None where one of them has no such point."""

    name: str
    step: int
    then: float | None
    now: float | None


@dataclass(frozen=True)
class Comparison:
    """Whether two runs' metrics of the model are the same to the last digit, over so many series and points."""

    compared: int
    points: int
    first_difference: Difference | None

    @property
    def same(self) -> bool:
        return self.compared > 0 and self.first_difference is None


def same_metrics(run: TunixRun, source: TunixRun) -> Comparison:
    """Compare what the model's metrics were, step by step and digit by digit; times and the machine's are left out."""
    now, then = (metrics.read(each, _names(each)) for each in (run, source))
    names = sorted(now.keys() | then.keys())
    parted = [_parted(name, then.get(name), now.get(name)) for name in names]
    first = min((each for each in parted if each), key=lambda each: (each.step, each.name), default=None)
    return Comparison(len(names), sum(len(points) for points in now.values()), first)


def _names(run: TunixRun) -> list[str]:
    return [each.name for each in metrics.series(run) if not metrics.is_of_the_machine(each.name)]


def _parted(name: str, then: metrics.Points | None, now: metrics.Points | None) -> Difference | None:
    then, now = then or metrics.Points(), now or metrics.Points()
    # By their bytes: NaN is the same as NaN.
    if then.steps == now.steps and then.values.tobytes() == now.values.tobytes():
        return None
    before, after = ({step: value for step, value, _ in points} for points in (then, now))
    for step in sorted(before.keys() | after.keys()):
        old, new = before.get(step), after.get(step)
        if old != new and not (old != old and new != new):
            return Difference(name, step, old, new)
    return None

"""The command that trains: TUNIX_COMMAND with its placeholders filled in, and the environment that it gets."""

import os
import posixpath
import re
import shlex
from pathlib import Path
from typing import Any

# What a trainer may need of ours. Everything else, our secrets among it, stays here.
PASSED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
PASSED_PREFIXES = ("JAX_", "XLA_", "TPU_", "CUDA_", "NVIDIA_", "HF_", "WANDB_")
COOKIE = "TUNIX_RT_RUN"
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def argv(template: str, values: dict[str, str]) -> list[str]:
    """`template` split as a shell would, then its placeholders filled in, argument by argument. Raises ValueError.

    All of an argument in one pass: a value that has the form of a placeholder stays as it is. What comes of it may be
    neither an option where the template has none, nor a path that leaves the run's directory.
    """
    arguments = shlex.split(template)
    if not arguments:
        raise ValueError("TUNIX_COMMAND is empty")
    return [_filled(argument, values) for argument in arguments]


def _filled(argument: str, values: dict[str, str]) -> str:
    filled = PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), argument)
    if filled.startswith("-") and not argument.startswith("-"):
        raise ValueError(f"{filled} would be an option of the command, not a value")
    for name in ("run_dir", "output_dir"):
        if "{" + name + "}" in argument and _leaves(filled[filled.index(values[name]) :], values["run_dir"]):
            raise ValueError(f"{filled} leaves the run's own directory")
    return filled


def _leaves(path: str, directory: str) -> bool:
    return ".." in path.split("/") and not Path(posixpath.normpath(path)).is_relative_to(directory)


def environment(run_id: Any, attempt_of: Path) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if n in PASSED or n.startswith(PASSED_PREFIXES)}
    defaults = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "WANDB_MODE": "disabled", "PATH": os.defpath}
    return defaults | kept | {"PYTHONUNBUFFERED": "1", COOKIE: str(run_id), "TUNIX_RT_RUN_DIR": str(attempt_of)}

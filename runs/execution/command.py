"""The command that trains: TUNIX_COMMAND with its placeholders filled in, and the environment that it gets."""

import os
import shlex
from pathlib import Path
from typing import Any

# What a trainer may need of ours. Everything else, our secrets among it, stays here.
PASSED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
PASSED_PREFIXES = ("JAX_", "XLA_", "TPU_", "CUDA_", "NVIDIA_", "HF_", "WANDB_")
COOKIE = "TUNIX_RT_RUN"


def argv(template: str, values: dict[str, str]) -> list[str]:
    """`template` split as a shell would, then its placeholders filled in, argument by argument. Raises ValueError."""
    arguments = shlex.split(template)
    if not arguments:
        raise ValueError("TUNIX_COMMAND is empty")
    for name, value in values.items():
        arguments = [argument.replace("{" + name + "}", value) for argument in arguments]
    return arguments


def environment(run_id: Any, attempt_of: Path) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if n in PASSED or n.startswith(PASSED_PREFIXES)}
    defaults = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "WANDB_MODE": "disabled", "PATH": os.defpath}
    return defaults | kept | {"PYTHONUNBUFFERED": "1", COOKIE: str(run_id), "TUNIX_RT_RUN_DIR": str(attempt_of)}

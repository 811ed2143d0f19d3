"""Plain functions that make what a test needs."""

import json
import os
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from runs import datasets
from runs.models import RunTag, TunixRun
from runs.rundir import RunDirectory

CONFIG = {
    "learning_rate": 2e-5,
    "num_epochs": 3,
    "batch_size": 8,
    "max_seq_length": 2048,
    "timeout_seconds": 86_400,
    "seed": 0,
    "lora_rank": 0,
}
LAUNCH = {"dataset_key": "arithmetic-v1", "model_id": "google/gemma-2b-it"}


def create_run(*, tags: tuple[str, ...] = (), **fields: Any) -> TunixRun:
    """A run in the database, a completed dry run unless `fields` say otherwise. Its end fits its status."""
    values = {"dataset_key": "arithmetic-v1", "model_id": "google/gemma-2b-it", "mode": "dry-run"}
    values |= {"status": "completed", "duration_seconds": 1.5, "config": CONFIG, "started_at": timezone.now()} | fields
    if values["status"] in TunixRun.TERMINAL:
        values.setdefault("completed_at", values["started_at"] + timedelta(seconds=values["duration_seconds"] or 0))
    else:
        values["duration_seconds"] = fields.get("duration_seconds")
    run = TunixRun.objects.create(**values)
    RunTag.objects.bulk_create(RunTag(run=run, name=name) for name in tags)
    return run


def arithmetic_rows(count: int = 100) -> bytes:
    """`count` good rows, as a file has them."""
    return b"".join(
        json.dumps({"prompt": f"{n} + {n + 1} =", "response": str(2 * n + 1)}).encode() + b"\n" for n in range(count)
    )


def create_dataset(name: str = "arithmetic", version: str = "v1", rows: bytes | None = None) -> datasets.Dataset:
    """A dataset in the store, by the code that stores an upload."""
    return datasets.add(name, version, [arithmetic_rows() if rows is None else rows])[0]


def create_dataset_by_hand(
    key: str = "by-hand-v1", data: bytes | None = b"", *, manifest: bytes | None = None, **fields: Any
) -> Path:
    """A dataset as somebody else's tool might leave it, unchecked. `fields` change the manifest; None takes one away."""
    directory = Path(settings.DATASETS_DIR) / key
    directory.mkdir(parents=True)
    name, _, version = key.rpartition("-")
    content = {
        "dataset_key": key,
        "dataset_name": name,
        "dataset_version": version,
        "dataset_schema_version": "1.0",
        "created_at": "2025-12-22T14:30:00Z",
        "format": "prompt_response",
        "row_count": (data or b"").count(b"\n"),
        "bytes": len(data or b""),
        "sha256": "0" * 64,
        "stats": {},
    } | fields
    content = {name: value for name, value in content.items() if value is not None}
    (directory / "manifest.json").write_bytes(json.dumps(content).encode() if manifest is None else manifest)
    if data is not None:
        (directory / "data.jsonl").write_bytes(data)
    return directory


def create_checkpoint(run: TunixRun, step: int, *, committed: bool = True) -> Path:
    """A checkpoint as Orbax leaves it, or one that it has not finished."""
    directory = RunDirectory(run.run_id).output(run.output_dir) / "checkpoints" / str(step)
    (directory / "model_params" / "d").mkdir(parents=True)
    (directory / "model_params" / "d" / "0").write_bytes(bytes(range(256)) * step)
    (directory / "_CHECKPOINT_METADATA").write_text("{}")
    if committed:
        (directory / "commit_success.txt").touch()
    return directory


def executable(path: Path, script: str) -> Path:
    """A real program at `path`: a shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def launch(api: Any, **body: Any) -> dict[str, Any]:
    """The record of a dry run launched by the API."""
    answer = api.post("/api/tunix/run", LAUNCH | body)
    assert answer.status_code == 200, answer.content
    return answer.json()


def ids(answer: Any) -> list[str]:
    """The run IDs of a list's answer, in its order."""
    assert answer.status_code == 200, answer.content
    return [row["run_id"] for row in answer.json()["data"]]


def assert_error(answer: Any, status: int, detail: str | None = None) -> dict[str, Any]:
    """The body of an error, which is as every error of the API is."""
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert set(body) == ({"detail", "errors"} if status == 422 else {"detail"})
    assert isinstance(body["detail"], str) and body["detail"]
    assert "\n" not in body["detail"]
    if detail is not None:
        assert body["detail"] == detail
    return body


# No run has it. The same in every process that shares the tests: it is in their names.
NOBODY = str(uuid.UUID(int=5))


def random_id() -> str:
    return str(uuid.uuid4())


def is_root() -> bool:
    return os.geteuid() == 0


def slowness() -> float:
    """How many times as long as on the machine of the promised figures plain Python takes now; 1 where it is as fast.

    That one adds ten million numbers in 0.45 s. Machines are shared: a bound in milliseconds would measure the neighbours.
    """
    began = time.perf_counter()
    total = 0
    for number in range(4_000_000):
        total += number
    return max(1.0, (time.perf_counter() - began) / 0.18)

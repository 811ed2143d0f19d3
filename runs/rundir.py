"""A run's own directory: what lies where, and the result that survives a database that is away."""

import json
import os
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings


class RunDirectory:
    def __init__(self, run_id: uuid.UUID):
        self.path = Path(settings.RUNS_DIR) / str(run_id)

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.yaml"

    @property
    def metrics(self) -> Path:
        """Appended by the trainer: `{"name", "step", "value", "time"}`, a line each."""
        return self.path / "metrics.jsonl"

    @property
    def facts(self) -> Path:
        """What the trainer found out: versions, devices, the model's size, how many steps there will be."""
        return self.path / "trainer.json"

    @property
    def record(self) -> Path:
        """All that is needed to understand and to repeat the run."""
        return self.path / "run.json"

    @property
    def patch(self) -> Path:
        """What was changed in the code and not committed."""
        return self.path / "code.patch"

    @property
    def supervisor_log(self) -> Path:
        return self.path / "supervisor.log"

    @property
    def result(self) -> Path:
        return self.path / "exit.json"

    def log(self, stream: str) -> Path:
        return self.path / f"{stream}.log"

    def output(self, output_dir: str) -> Path:
        """The output directory of the request, inside. Raises ValueError where a link leads out."""
        target = (self.path / output_dir).resolve()
        if not target.is_relative_to(self.path.resolve()):
            raise ValueError(f"output directory {output_dir} leaves the run's own directory")
        return target

    def write_result(self, result: dict[str, Any]) -> None:
        """Before the database hears of it. Raises OSError."""
        _write_whole(self.result, json.dumps(result, default=datetime.isoformat))

    def write_record(self, record: dict[str, Any]) -> None:
        """Raises OSError."""
        _write_whole(self.record, json.dumps(record, default=str, indent=1))

    def read_result(self) -> dict[str, Any] | None:
        """What `write_result` wrote; None where there is nothing that can be read."""
        try:
            result = json.loads(self.result.read_text(encoding="utf-8"))
            return result | {"completed_at": datetime.fromisoformat(result["completed_at"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def size(self) -> int:
        """Bytes on disk, of everything in it; of a file with several names once."""
        return sum(status.st_blocks * 512 for status, _ in self._files())

    def freed(self) -> int:
        """Bytes on disk that are in no other directory: what removing this one gives back."""
        return sum(status.st_blocks * 512 for status, names in self._files() if names >= status.st_nlink)

    def _files(self) -> list[tuple[os.stat_result, int]]:
        """Every file in it, with how many of its names are in it."""
        found: dict[int, tuple[os.stat_result, int]] = {}
        for directory, _, names in os.walk(self.path):
            for name in names:
                try:
                    status = (Path(directory) / name).lstat()
                except OSError:
                    continue
                found[status.st_ino] = status, found.get(status.st_ino, (status, 0))[1] + 1
        return list(found.values())


def _write_whole(path: Path, text: str) -> None:
    """Whole or not at all, also when the power goes."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)

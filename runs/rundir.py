"""A run's own directory: what lies where. The training script writes there too, so files.py does what is done in it."""

import json
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from core import files

# A directory of more entries is measured as far as that: it takes about a second.
MAX_MEASURED = 200_000


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
        """How the run ended, see execution/exit_file.py."""
        return self.path / "exit.json"

    def log(self, stream: str) -> Path:
        return self.path / f"{stream}.log"

    def output(self, output_dir: str) -> Path:
        """The output directory of the request, inside. Raises ValueError where a link leads out."""
        target = (self.path / output_dir).resolve()
        if not target.is_relative_to(self.path.resolve()):
            raise ValueError(f"output directory {output_dir} leaves the run's own directory")
        return target

    def write_record(self, record: dict[str, Any]) -> None:
        """Raises OSError."""
        files.write_whole(self.path, self.record.name, json.dumps(record, default=str, indent=1).encode())

    def size(self) -> int:
        """Bytes on disk, of the first 200,000 entries in it; of a file with several names once."""
        return sum(blocks * 512 for blocks, _, _ in self._files().values())

    def freed(self) -> int:
        """Bytes on disk that are in no other directory: what removing this one gives back."""
        return sum(blocks * 512 for blocks, links, names in self._files().values() if names >= links)

    def _files(self) -> dict[int, tuple[int, int, int]]:
        """Every file in it: its blocks, how many names it has, and how many of them are in it."""
        found: dict[int, tuple[int, int, int]] = {}
        with suppress(files.TooMany):
            for entry in files.walk(self.path, most=MAX_MEASURED, lenient=True):
                if not entry.is_directory:
                    status = entry.status
                    names = found.get(status.st_ino, (0, 0, 0))[2] + 1
                    found[status.st_ino] = status.st_blocks, status.st_nlink, names
        return found

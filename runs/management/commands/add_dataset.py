"""Add a file of rows to the dataset store, as an upload would."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runs import datasets, services


def add_file(path: Path, name: str, version: str) -> tuple[datasets.Dataset, bool]:
    """The dataset that `path` became, and whether it is new. Raises CommandError."""
    try:
        return services.add_dataset(name, version, _chunks(path))
    except datasets.UploadRefused as error:
        raise CommandError("\n".join([str(error), *error.problems])) from error
    except datasets.DatasetError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename or path} cannot be used: {error.strerror}.") from error


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(datasets.CHUNK_BYTES):
            yield chunk


class Command(BaseCommand):
    help = "Add a JSON Lines file as the dataset <name>-<version>. The same content again changes nothing."

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        # Django gives every command a --version of its own; here it is the dataset's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **options)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--name", required=True)
        parser.add_argument("--version", required=True, dest="dataset_version")

    def handle(self, *, file: Path, name: str, dataset_version: str, **_: Any) -> None:
        dataset, new = add_file(file, name, dataset_version)
        rows, size = dataset.manifest["row_count"], dataset.manifest["bytes"]
        self.stdout.write(f"{dataset.key} {'added' if new else 'already here'}: {rows:,} rows, {size:,} bytes")

"""Add a file of rows to the dataset store, as an upload would."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import BaseCommand
from runs import datasets, services


def add_file(
    path: Path, name: str, version: str, mapping: str = "", *, skip_invalid: bool = False
) -> tuple[datasets.Dataset, bool]:
    """The dataset that `path` became, and whether it is new. Raises CommandError."""
    try:
        renamed = datasets.Mapping.parse(mapping)
        return services.add_dataset(name, version, _chunks(path), renamed, skip_invalid=skip_invalid)
    except OSError as error:
        raise CommandError(f"{error.filename or path} cannot be used: {error.strerror}.") from error


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(datasets.CHUNK_BYTES):
            yield chunk


class Command(BaseCommand):
    help = "Add JSON Lines or a JSON array as the dataset <name>-<version>. The same content again changes nothing."

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        # Django gives every command a --version of its own; here it is the dataset's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **options)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--name", required=True)
        parser.add_argument("--version", required=True, dest="dataset_version")
        parser.add_argument(
            "--map", default="", metavar="FIELD:prompt,FIELD:response", help="rename fields of the rows"
        )
        parser.add_argument("--skip-invalid", action="store_true", help="leave out rows that cannot be used")

    def handle(self, *, file: Path, name: str, dataset_version: str, skip_invalid: bool, **options: Any) -> None:
        dataset, new = add_file(file, name, dataset_version, options["map"], skip_invalid=skip_invalid)
        rows, size = dataset.manifest["row_count"], dataset.manifest["bytes"]
        self.stdout.write(f"{dataset.key} {'added' if new else 'already here'}: {rows:,} rows, {size:,} bytes")

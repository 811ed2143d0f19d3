import uuid
from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import BaseCommand
from runs import services


class Command(BaseCommand):
    help = "Give up a lost run whose host is gone for good: it becomes failed, and its slot free."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run_id", type=uuid.UUID)

    def handle(self, *args: Any, run_id: uuid.UUID, **options: Any) -> None:
        if not services.release(run_id):
            raise CommandError(f"Run {run_id} is not lost: there is nothing to release.")
        self.stdout.write(f"Run {run_id} is failed, its slot is free. Its processes on this host are ended.")

import os
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runs.execution.executors.local import TOKEN_VARIABLE
from runs.execution.supervisor import supervise


class Command(BaseCommand):
    help = "See one run through. The dispatcher starts this; it is of no use by hand."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run_id", type=uuid.UUID)

    def handle(self, *args: Any, run_id: uuid.UUID, **options: Any) -> None:
        token = os.environ.pop(TOKEN_VARIABLE, "")
        if not token:
            raise CommandError("There is no lease token: the dispatcher starts supervisors.")
        supervise(run_id, token)

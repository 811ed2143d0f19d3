"""The base of this project's commands."""

from typing import Any

from django.core.management.base import BaseCommand as DjangoBaseCommand
from django.core.management.base import CommandError

from core.errors import Refusal


class BaseCommand(DjangoBaseCommand):
    """A refusal ends the command with its sentence, not with a traceback."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Refusal as refusal:
            raise CommandError("\n".join(refusal.lines)) from refusal

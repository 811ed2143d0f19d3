"""Free old runs for good. Says what it would free, unless it is told to do it."""

import re
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from core.commands import BaseCommand
from runs import services, trash
from runs.models import TunixRun
from runs.templatetags.look import size

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
SHOWN = 20


def age(text: str) -> timedelta:
    """`12h`, `30d`, `8w`."""
    found = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if not found:
        raise CommandError(f"an age is such as 12h, 30d or 8w, not {text!r}")
    return int(found[1]) * UNITS[found[2]]


class Command(BaseCommand):
    help = "Free records and files of runs that ended long ago. Without --yes it only says what would be freed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", required=True, metavar="AGE", help="such as 12h, 30d or 8w, since they ended"
        )
        parser.add_argument("--status", action="append", choices=list(map(str, TunixRun.TERMINAL)), help="only these")
        parser.add_argument("--yes", action="store_true", help="free them; this cannot be undone")

    def handle(self, *, older_than: str, status: list[str] | None, yes: bool, **_: Any) -> None:
        old = trash.ended_before(timezone.now() - age(older_than))
        runs = list(old.filter(status__in=status).without_logs() if status else old.without_logs())
        total = 0
        for number, run in enumerate(runs):
            freed = trash.bytes_freed_by([run])
            total += freed
            if number < SHOWN:
                self.stdout.write(
                    f"{run.short_id}  {run.status:<9}  {run.completed_at:%Y-%m-%d}  {size(freed):>9}  {run}"
                )
        if len(runs) > SHOWN:
            self.stdout.write(f"… and {len(runs) - SHOWN:,} more")
        what = f"{len(runs):,} run{'' if len(runs) == 1 else 's'}, {size(total)}"
        if not yes:
            self.stdout.write(f"Would free {what}. Nothing was freed; --yes does it.")
            return
        for run in runs:
            with suppress(services.NotEnded):
                services.delete(run, purge=True)
        left = [run for run in runs if TunixRun.objects.filter(pk=run.pk).exists()]
        if left:
            raise CommandError(f"{len(left)} of {what} are left: the log says why. housekeeping tries again.")
        self.stdout.write(f"Freed {what}.")

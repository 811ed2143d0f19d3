"""After a restore from a backup: what the disk has and the database does not. Says it, unless it is told to act."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runs import claims, reconcile
from runs.rundir import RunDirectory
from runs.templatetags.look import size


class Command(BaseCommand):
    help = "List run directories without a record. --adopt makes the records anew, --free removes the directories."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run_id", nargs="*", type=uuid.UUID, help="only these")
        act = parser.add_mutually_exclusive_group()
        act.add_argument("--adopt", action="store_true", help="make their records anew, as they ended or as lost")
        act.add_argument("--free", action="store_true", help="remove their directories; this cannot be undone")

    def handle(self, *, run_id: list[uuid.UUID], adopt: bool, free: bool, **_: Any) -> None:
        found = [each for each in reconcile.without_record() if not run_id or each in run_id]
        if unknown := set(run_id) - set(found):
            raise CommandError(f"{min(unknown)} has no directory, or a record, or a supervisor that lives.")
        act = self._adopt if adopt else self._free if free else self._say
        for each in found:
            act(each)
        if not found:
            self.stdout.write("Every directory of a run has its record.")
        elif not adopt and not free:
            self.stdout.write(f"{len(found):,} without a record. Nothing was changed; --adopt or --free does it.")
        reconcile.look()

    def _say(self, run_id: uuid.UUID) -> None:
        before, held = claims.remembered(run_id), size(RunDirectory(run_id).size())
        what = f"{before}, began {before.started_at:%Y-%m-%d %H:%M}" if before else "not known, can only be freed"
        self.stdout.write(f"{run_id}  {held:>9}  {what}")

    def _adopt(self, run_id: uuid.UUID) -> None:
        run = reconcile.adopt(run_id)
        self.stdout.write(f"{run_id}  {run.status if run else 'not known, can only be freed'}")

    def _free(self, run_id: uuid.UUID) -> None:
        self.stdout.write(f"{run_id}  {'freed' if reconcile.free(run_id) else 'not freed: see the log'}")

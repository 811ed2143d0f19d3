"""What time asks for, once: safe at any moment, from cron as well."""

from typing import Any

from core.commands import BaseCommand
from runs import services


class Command(BaseCommand):
    help = "Record results kept on disk, fail interrupted dry runs, empty the trash, remove stale uploads."

    def handle(self, **_: Any) -> None:
        for what, count in services.housekeeping().items():
            if count:
                self.stdout.write(f"{what}: {count:,}")

import sys
from typing import Any

from core.commands import BaseCommand
from runs.execution.nursery import next_order
from runs.execution.supervisor import supervise


class Command(BaseCommand):
    help = "See runs through, each in a process of its own. The dispatcher starts this; it is of no use by hand."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        if order := next_order(sys.stdin.buffer):
            supervise(*order)

from typing import Any

from django.utils import timezone

from core.commands import BaseCommand
from runs import reconcile, room
from runs.execution import wake
from runs.models import TunixRun
from runs.templatetags.look import duration


class Command(BaseCommand):
    help = "What runs where, how long ago its supervisor was heard, what waits and what is lost."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"dispatcher of this host: {'listens' if wake.is_heard() else 'does not run'}")
        if reason := room.refusal():
            self.stdout.write(f"nothing starts: {reason}")
        if count := reconcile.look():
            self.stdout.write(f"directories without a record: {count:,}, see manage.py reconcile_runs")
        local = TunixRun.objects.alive().filter(mode=TunixRun.Mode.LOCAL)
        for status in (TunixRun.Status.RUNNING, TunixRun.Status.LOST, TunixRun.Status.PENDING):
            for run in local.filter(status=status).order_by("accepted_at").iterator():
                self.stdout.write(f"{status:<8} {run.run_id} {self._where(run)} {run.model_id} on {run.dataset_key}")

    def _where(self, run: TunixRun) -> str:
        if not run.host:
            return "waits"
        heard = duration((timezone.now() - run.heartbeat_at).total_seconds()) if run.heartbeat_at else "never"
        slot = "no slot" if run.slot is None else f"slot {run.slot}"
        return f"on {run.host}, {slot}, heard {heard} ago,"

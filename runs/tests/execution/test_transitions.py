"""Random transitions from several actors: users, two dispatchers, supervisors old and new, the reaper. No forbidden state."""

from itertools import count

import pytest
from django.db.models.functions import Now
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from runs import lifecycle
from runs.models import TunixRun
from runs.tests.helpers import CONFIG

Status = TunixRun.Status
ENDS = [("completed", 0), ("failed", 1), ("timeout", None), ("cancelled", 0)]
ALLOWED = {
    "pending": {"pending", "running", "cancelled", "failed", "completed", "timeout"},
    "running": {"running", "lost", "completed", "failed", "timeout", "cancelled"},
    "lost": {"lost", "running", "completed", "failed", "timeout", "cancelled"},
}


class Actors(RuleBasedStateMachine):
    @initialize()
    def accept(self):
        TunixRun.objects.all().delete()
        self.tokens: list[str] = []
        self.started: list[str] = []
        self.pids = count()
        self.run = TunixRun(dataset_key="a-v1", model_id="m", mode="local", status="pending", config=CONFIG)
        lifecycle.accept(self.run)
        self.before = self.seen()

    def seen(self):
        return TunixRun.objects.filter(pk=self.run.pk).values("status", "message", "exit_code", "completed_at").get()

    def row(self):
        return TunixRun.objects.get(pk=self.run.pk)

    def token(self, index):
        return self.tokens[index % len(self.tokens)] if self.tokens else "0" * 32

    @rule(host=st.sampled_from(["one", "two"]))
    def claim(self, host):
        claimed = lifecycle.claim(host, f"boot-{host}", [0])
        if claimed:
            self.tokens.append(claimed[1])

    @rule(index=st.integers(0, 3))
    def start(self, index):
        token = self.token(index)
        if lifecycle.start(self.run.pk, token, {"supervisor": [len(self.tokens), next(self.pids)]}):
            self.started.append(token)

    @rule(index=st.integers(0, 3))
    def heartbeat(self, index):
        before, renewed = self.row(), lifecycle.heartbeat(self.run.pk, self.token(index))
        assert not renewed or before.claim == lifecycle.hashed(self.token(index))

    @rule(index=st.integers(0, 3), how=st.sampled_from(ENDS))
    def end(self, index, how):
        result = {"status": how[0], "exit_code": how[1], "message": "x", "completed_at": Now()}
        lifecycle.end(self.run.pk, lifecycle.hashed(self.token(index)), result)

    @rule()
    def cancel(self):
        lifecycle.cancel(self.run.pk)

    @rule()
    def lease_runs_out(self):
        TunixRun.objects.filter(pk=self.run.pk, lease_expires_at__isnull=False).update(
            lease_expires_at="2000-01-01T00:00Z"
        )

    @rule(host=st.sampled_from(["one", "two"]), dead=st.booleans())
    def reap(self, host, dead):
        lifecycle.unclaim_expired()
        for run in lifecycle.overdue(host, f"boot-{host}"):
            lifecycle.lose(run, "silent")
            if dead:
                lifecycle.free_slot(run)

    @rule()
    def fence(self):
        lifecycle.fence(self.run.pk)

    @rule()
    def release(self):
        lifecycle.release(self.run.pk)

    @invariant()
    def nothing_forbidden(self):
        if not hasattr(self, "before"):
            return
        now, row = self.seen(), self.row()
        if self.before["status"] in TunixRun.TERMINAL:
            assert now == self.before, "a final status never changes"
        else:
            assert now["status"] in ALLOWED[self.before["status"]]
        assert len(self.started) <= 1, "a run is started once"
        assert not row.is_terminal or (row.claim, row.slot, row.lease_expires_at) == ("", None, None)
        assert row.status != "running" or row.claim == lifecycle.hashed(self.started[0])
        assert row.status != "pending" or bool(row.claim) == (row.slot is not None) == (
            row.lease_expires_at is not None
        )
        self.before = now


@pytest.mark.django_db
def test_no_way_leads_to_a_forbidden_state():
    checked = settings(
        max_examples=150,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Actors, settings=checked)

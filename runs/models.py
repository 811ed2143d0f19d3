"""What is stored. What is asked of it is in querysets.py; status is written in lifecycle.py only."""

import math
import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from knox.models import AbstractAuthToken

from runs.limits import (
    KEY_LENGTH,
    METRIC_NAME_LENGTH,
    TAG_LENGTH,
    TOKEN_NAME_LENGTH,
    VIEW_NAME_LENGTH,
    VIEW_QUERY_LENGTH,
)
from runs.querysets import TunixRunQuerySet


def newest_first(name: str, *columns: str) -> models.Index:
    """An index that finds one value of `columns` already in the order of every list.

    Without the tail a page of a rare status costs 1,128 ms at a million runs, with it 0.18 ms. Runs in the trash are in
    no list and so in no index.
    """
    return models.Index(fields=[*columns, "-started_at", "-run_id"], name=name, condition=Q(deleted_at=None))


class TunixRun(models.Model):
    """One request to train.

    State transitions, each a function in lifecycle.py:
    dry run: (new) -> running -> completed | failed
    local:   (new) -> pending -> running -> completed | failed | timeout | cancelled
             pending -> cancelled | failed, running -> lost, lost -> running or a final status
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        TIMEOUT = "timeout"
        CANCELLED = "cancelled"
        LOST = "lost"

    class Priority(models.IntegerChoices):
        LOW = 0
        NORMAL = 1
        HIGH = 2

    class Cause(models.TextChoices):
        """Why a run did not complete."""

        EXIT = "exit", "ended with an error"
        SIGNAL = "signal", "killed by a signal"
        HOST_OUT_OF_MEMORY = "host_out_of_memory", "out of the host's memory"
        DEVICE_OUT_OF_MEMORY = "device_out_of_memory", "out of the device's memory"
        NAN_LOSS = "nan_loss", "the loss became NaN"
        NOT_STARTED = "not_started", "could not be started"
        TIMEOUT = "timeout", "ran out of time"
        CANCELLED = "cancelled", "cancelled"
        HOST_LOST = "host_lost", "its host or supervisor is gone"
        HOST_STOPPED = "host_stopped", "its host was stopped"

    class Mode(models.TextChoices):
        DRY_RUN = "dry-run", "dry-run"
        LOCAL = "local", "local"

    TERMINAL: ClassVar = (Status.COMPLETED, Status.FAILED, Status.TIMEOUT, Status.CANCELLED)
    UNDER_WAY: ClassVar = (Status.PENDING, Status.RUNNING)

    run_id = models.UUIDField("run ID", primary_key=True, default=uuid.uuid4, editable=False)
    dataset_key = models.CharField("dataset", max_length=KEY_LENGTH)
    model_id = models.CharField("model", max_length=KEY_LENGTH)
    mode = models.CharField(max_length=64, choices=Mode.choices)
    status = models.CharField(max_length=64, choices=Status.choices)
    exit_code = models.IntegerField(null=True, blank=True, help_text="−N: killed by signal N. Empty for a timeout.")
    started_at = models.DateTimeField("started at", default=timezone.now)
    completed_at = models.DateTimeField(null=True, blank=True)
    duration_seconds = models.FloatField("duration", null=True, blank=True, help_text="Seconds, of a monotonic clock.")
    stdout = models.TextField(blank=True, default="")
    stderr = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    output_dir = models.TextField(blank=True, default="")
    message = models.TextField(blank=True, default="")
    config = models.JSONField(default=dict)

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    notes = models.TextField(blank=True, default="")
    deleted_at = models.DateTimeField("in the trash since", null=True, blank=True)

    # Execution of a local run. Who holds the token may write; its hash is kept, so that a copy of the table is no key.
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    cause = models.CharField("cause of death", max_length=32, choices=Cause.choices, blank=True, default="")
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries")
    resume = models.BooleanField(default=False)
    accepted_at = models.DateTimeField(default=timezone.now, editable=False)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    claim = models.CharField(max_length=64, blank=True, default="", editable=False)
    claims = models.SmallIntegerField("claims so far", default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    host = models.CharField(max_length=255, blank=True, default="")
    boot_id = models.CharField(max_length=64, blank=True, default="")
    slot = models.SmallIntegerField(null=True, blank=True)
    # {"supervisor": [pid, ticks], "child": [pid, ticks]}: where to find them again.
    processes = models.JSONField(default=dict)
    files_bytes = models.BigIntegerField(default=0, help_text="What the run's directory holds on disk.")
    evidence = models.TextField(blank=True, default="", help_text="The line of the log that shows the cause.")
    notices = models.JSONField(default=list, blank=True, help_text="What was lost or left out, see notices.py.")

    # How far the training is, and what of the trainer's metrics file is in the database.
    step = models.BigIntegerField(null=True, blank=True, help_text="The last step that a metric was logged for.")
    total_steps = models.BigIntegerField(null=True, blank=True)
    metrics_offset = models.BigIntegerField(default=0, editable=False, help_text="Bytes of metrics.jsonl.")

    # What is needed to understand and to repeat it, see provenance.py.
    provenance = models.JSONField(default=dict, blank=True)
    reproduces = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="repeats")

    objects = TunixRunQuerySet.as_manager()
    # Whether the database holds this state of the run; a result that it did not take waits on disk.
    recorded = True

    class Meta:
        db_table = "tunix_runs"
        verbose_name = "run"
        # What a role gives beside seeing: see access.py.
        permissions = (
            ("operate", "Can launch, cancel, retry, annotate and upload"),
            ("administer", "Can delete and restore, and see who did what"),
        )
        indexes: ClassVar = [
            newest_first("ix_tunix_runs_started_at"),
            newest_first("ix_tunix_runs_dataset_key", "dataset_key"),
            newest_first("ix_tunix_runs_status", "status"),
            newest_first("ix_tunix_runs_mode", "mode"),
            newest_first("ix_tunix_runs_model_id", "model_id"),
            models.Index(
                fields=["-priority", "accepted_at", "run_id"], name="ix_tunix_runs_queue", condition=Q(status="pending")
            ),
            models.Index(
                fields=["lease_expires_at"], name="ix_tunix_runs_lease", condition=Q(lease_expires_at__isnull=False)
            ),
            newest_first("ix_tunix_runs_cause", "cause"),
            # Where a NULL stands in an order differs between databases, and pages ask for runs that have a duration.
            models.Index(
                fields=["duration_seconds", "run_id"],
                name="ix_tunix_runs_duration",
                condition=Q(deleted_at=None, duration_seconds__isnull=False),
            ),
            models.Index(fields=["deleted_at"], name="ix_tunix_runs_trash", condition=Q(deleted_at__isnull=False)),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="ck_tunix_runs_status",
                condition=Q(status__in=["pending", "running", "completed", "failed", "timeout", "cancelled", "lost"]),
            ),
            models.CheckConstraint(name="ck_tunix_runs_mode", condition=Q(mode__in=["dry-run", "local"])),
            # Two runs never share a slot of a host.
            models.UniqueConstraint(
                name="uq_tunix_runs_slot", fields=["host", "slot"], condition=Q(slot__isnull=False)
            ),
            # A run has an end exactly when its status is a final one.
            models.CheckConstraint(
                name="ck_tunix_runs_completed_at",
                condition=Q(completed_at=None, status__in=["pending", "running", "lost"])
                | Q(completed_at__isnull=False, status__in=["completed", "failed", "timeout", "cancelled"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.short_id} {self.model_id} on {self.dataset_key}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.run_id])

    @property
    def short_id(self) -> str:
        return str(self.run_id)[:8]

    @property
    def is_terminal(self) -> bool:
        return self.status in self.TERMINAL

    @property
    def is_under_way(self) -> bool:
        return self.status in self.UNDER_WAY

    @property
    def standing(self) -> str:
        """What decides on the actions that there are: the status, and whether it is being cancelled."""
        return f"{self.status}-cancelled" if self.cancel_requested_at else self.status


class RunTag(models.Model):
    """One tag of one run."""

    run = models.ForeignKey(TunixRun, on_delete=models.CASCADE, related_name="tags", db_index=False)
    name = models.CharField(max_length=TAG_LENGTH)

    class Meta:
        db_table = "tunix_run_tags"
        ordering = ("name",)
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "name"], name="uq_tunix_run_tags")]
        indexes: ClassVar = [models.Index(fields=["name", "run"], name="ix_tunix_run_tags_name")]

    def __str__(self) -> str:
        return self.name


class MetricSeries(models.Model):
    """One metric of one run: what lists show of it. Its points are in blocks."""

    run = models.ForeignKey(TunixRun, on_delete=models.CASCADE, related_name="metrics", db_index=False)
    name = models.CharField(max_length=METRIC_NAME_LENGTH)
    count = models.BigIntegerField(default=0)
    last_step = models.BigIntegerField(default=0)
    # Empty for NaN, of which SQLite makes NULL. Minimum and maximum are those of the finite values.
    last_value = models.FloatField(null=True)
    minimum = models.FloatField(null=True)
    maximum = models.FloatField(null=True)

    class Meta:
        db_table = "tunix_metrics"
        verbose_name_plural = "metric series"
        ordering = ("name",)
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "name"], name="uq_tunix_metrics_name")]
        # Which names there are, and runs in the order of a metric.
        indexes: ClassVar = [models.Index(fields=["name", "last_value", "run"], name="ix_tunix_metrics_value")]

    def __str__(self) -> str:
        return self.name

    @property
    def last(self) -> float:
        """The last value as it was logged: perhaps NaN or an infinity."""
        return math.nan if self.last_value is None else self.last_value


class MetricBlock(models.Model):
    """The points of a series whose steps lie in [number × BLOCK_STEPS, (number + 1) × BLOCK_STEPS), see metrics.py."""

    series = models.ForeignKey(MetricSeries, on_delete=models.CASCADE, related_name="blocks", db_index=False)
    number = models.BigIntegerField()
    count = models.IntegerField()
    minimum = models.FloatField(null=True)
    maximum = models.FloatField(null=True)
    outline = models.BinaryField()
    points = models.BinaryField()

    class Meta:
        db_table = "tunix_metric_blocks"
        constraints: ClassVar = [models.UniqueConstraint(fields=["series", "number"], name="uq_tunix_metric_blocks")]

    def __str__(self) -> str:
        return f"{self.series_id}/{self.number}"


class SavedView(models.Model):
    """The filters, order and columns of the list under a name, for everybody here."""

    name = models.CharField(max_length=VIEW_NAME_LENGTH, unique=True)
    query = models.CharField(max_length=VIEW_QUERY_LENGTH, help_text="As in the address, without the page.")

    class Meta:
        db_table = "tunix_saved_views"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ApiToken(AbstractAuthToken):
    """What a program shows instead of a login. Only its hash is here."""

    class Scope(models.TextChoices):
        READ = "read", "read"
        WRITE = "write", "read and write"

    name = models.CharField(max_length=TOKEN_NAME_LENGTH)
    scope = models.CharField(max_length=8, choices=Scope.choices, default=Scope.READ)

    class Meta:
        db_table = "tunix_api_tokens"
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class NeverChanges(Exception):
    """An event is written once."""


class EventQuerySet(models.QuerySet):
    def update(self, **_: Any) -> int:
        raise NeverChanges("Events are not edited.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise NeverChanges("Events are not deleted.")


class Event(models.Model):
    """Somebody changed something. Written by audit.py, and never again; a run's outlive it."""

    class Act(models.TextChoices):
        LAUNCH = "launch", "launched"
        RETRY = "retry", "retried"
        CANCEL = "cancel", "asked to cancel"
        ANNOTATE = "annotate", "changed notes or tags"
        METRICS = "metrics", "began to send metrics"
        DELETE = "delete", "moved to the trash"
        PURGE = "purge", "freed for good"
        RESTORE = "restore", "restored"
        RELEASE = "release", "gave up as lost"
        ADOPT = "adopt", "made the record anew"
        UPLOAD = "upload", "uploaded a dataset"
        KEEP_VIEW = "keep_view", "kept a view"
        FORGET_VIEW = "forget_view", "forgot a view"
        MAKE_TOKEN = "make_token", "made a token"
        REVOKE_TOKEN = "revoke_token", "revoked a token"
        MAKE_ACCOUNT = "make_account", "made the account"
        PASSWORD = "password", "changed the password"
        LOGIN = "login", "signed in"
        LOGIN_FAILED = "login_failed", "failed to sign in"
        LOGOUT = "logout", "signed out"
        INSTALL = "install", "asked to install Tunix again"
        ADMIN = "admin", "edited in the admin"

    moment = models.DateTimeField(default=timezone.now, editable=False)
    act = models.CharField(max_length=32, choices=Act.choices)
    # No foreign key: what was done to a run is known after it is gone.
    run_id = models.UUIDField("run ID", null=True, blank=True)
    subject = models.CharField(max_length=256, blank=True, default="")
    actor = models.CharField(max_length=150)
    # Of a user who is gone, the name stays.
    user_id = models.BigIntegerField(null=True, blank=True)
    address = models.CharField(max_length=45, blank=True, default="")
    way = models.CharField(max_length=8)
    detail = models.JSONField(default=dict, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        db_table = "tunix_events"
        ordering = ("-id",)
        indexes: ClassVar = [
            models.Index(fields=["run_id", "-id"], name="ix_tunix_events_run", condition=Q(run_id__isnull=False)),
            models.Index(fields=["actor", "-moment"], name="ix_tunix_events_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.get_act_display()} {self.subject}".rstrip()

    def save(self, **options: Any) -> None:
        if not self._state.adding:
            raise NeverChanges("Events are not edited.")
        super().save(**options)

    def delete(self, *_: Any, **__: Any) -> tuple[int, dict[str, int]]:
        raise NeverChanges("Events are not deleted.")

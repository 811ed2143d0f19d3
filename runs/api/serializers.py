"""What the API takes and gives."""

import uuid
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from runs import datasets, notices, validation
from runs.api.fields import Boolean, Number, Text
from runs.limits import KEY_LENGTH, NOTES_LENGTH, OUTPUT_DIR_LENGTH, TRAINING
from runs.models import TunixRun
from runs.querysets import LIST_FIELDS
from runs.services import LaunchRequest

UNKNOWN = "is not a known field"
# Whoever sends tens of thousands knows.
UNKNOWN_SHOWN = 20


class StrictSerializer(serializers.Serializer):
    """A field that is not known is an error that names it: a typed `dryrun: false` must not silently dry-run."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [str(name) for name in data if name not in self.fields]
            if unknown:
                raise serializers.ValidationError({name: [UNKNOWN] for name in unknown[:UNKNOWN_SHOWN]})
        return super().to_internal_value(data)


class PriorityField(serializers.ChoiceField):
    """A priority by its name; the database orders by its number."""

    def __init__(self, **options: Any):
        super().__init__([each.name.lower() for each in TunixRun.Priority], **options)

    def to_internal_value(self, data: Any) -> Any:
        return TunixRun.Priority[str(super().to_internal_value(data)).upper()]

    def to_representation(self, value: Any) -> str:
        return TunixRun.Priority(value).name.lower()


class LaunchSerializer(StrictSerializer):
    """A request to train."""

    dataset_key = Text(max_length=KEY_LENGTH, validators=[validation.dataset_key], initial="arithmetic-v1")
    model_id = Text(max_length=KEY_LENGTH, validators=[validation.model_id], initial="tunix-rt/tiny-qwen3")
    dry_run = Boolean(default=True, initial=True)
    learning_rate = Number(TRAINING["learning_rate"], default=TRAINING["learning_rate"].default)
    num_epochs = Number(TRAINING["num_epochs"], default=TRAINING["num_epochs"].default)
    batch_size = Number(TRAINING["batch_size"], default=TRAINING["batch_size"].default)
    max_seq_length = Number(TRAINING["max_seq_length"], default=TRAINING["max_seq_length"].default)
    timeout_seconds = Number(
        TRAINING["timeout_seconds"],
        required=False,
        initial=settings.DEFAULT_TIMEOUT_SECONDS,
        help_text="Default: 24 hours, or what the server is set to.",
    )
    seed = Number(TRAINING["seed"], default=TRAINING["seed"].default)
    lora_rank = Number(TRAINING["lora_rank"], default=TRAINING["lora_rank"].default, help_text="0: full weights.")
    priority = PriorityField(default=TunixRun.Priority.NORMAL, initial="normal")
    reproduces = serializers.UUIDField(required=False, help_text="The run that this one repeats.")
    output_dir = Text(
        required=False,
        max_length=OUTPUT_DIR_LENGTH,
        validators=[validation.output_dir],
        initial="./output",
        help_text="Inside the run's own directory. Default: ./output/tunix_run_<first 8 of run_id>.",
    )

    def validate_reproduces(self, value: uuid.UUID) -> TunixRun:
        run = TunixRun.objects.alive().filter(pk=value).first()
        if run is None:
            raise serializers.ValidationError("is no run here")
        return run

    def to_request(self, owner: Any) -> LaunchRequest:
        given = {"timeout_seconds": settings.DEFAULT_TIMEOUT_SECONDS} | self.validated_data
        return LaunchRequest(
            dataset_key=given["dataset_key"],
            model_id=given["model_id"],
            output_dir=given.get("output_dir", ""),
            dry_run=given["dry_run"],
            priority=given["priority"],
            config={name: given[name] for name in TRAINING},
            reproduces=given.get("reproduces"),
            owner=owner,
        )


class NoticeSerializer(serializers.Serializer):
    """Something that was lost or left out while the run itself went on."""

    text = serializers.CharField(help_text="One sentence, with the count.")
    kind = serializers.ChoiceField(list(notices.Kind))
    count = serializers.IntegerField()
    detail = serializers.CharField(help_text="The first reason or example; may be empty.")
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()


class RunSerializer(serializers.ModelSerializer):
    """A run, whole. Describes what `views/records.py` answers; nothing is serialized by it."""

    tags: serializers.Field = serializers.SlugRelatedField(slug_field="name", many=True, read_only=True)
    priority = PriorityField(read_only=True)
    cause = serializers.CharField(read_only=True, help_text="Why it did not complete; empty where it did or may.")
    owner: serializers.Field = serializers.SlugRelatedField(slug_field="username", read_only=True, allow_null=True)
    notices = NoticeSerializer(many=True, read_only=True)
    waiting_for = serializers.CharField(read_only=True, help_text="Why a pending run does not start yet, in words.")

    class Meta:
        model = TunixRun
        fields = (
            "run_id",
            "status",
            "mode",
            "dataset_key",
            "model_id",
            "output_dir",
            "exit_code",
            "stdout",
            "stderr",
            "duration_seconds",
            "started_at",
            "completed_at",
            "message",
            "created_at",
            "config",
            "cause",
            "evidence",
            "notices",
            "waiting_for",
            "priority",
            "retry_of",
            "reproduces",
            "step",
            "total_steps",
            "cancel_requested_at",
            "host",
            "files_bytes",
            "provenance",
            "tags",
            "notes",
            "owner",
        )
        read_only_fields = fields


class RunListItemSerializer(serializers.ModelSerializer):
    """A run in a list. Describes what `TunixRun.objects.for_list()` answers; nothing is serialized by it."""

    class Meta:
        model = TunixRun
        fields = LIST_FIELDS
        read_only_fields = LIST_FIELDS


class TagsField(serializers.ListField):
    pass


class AnnotateSerializer(StrictSerializer):
    """What may be changed in a run: its tags and notes."""

    tags = TagsField(child=Text(), required=False, validators=[validation.tags])
    notes = Text(required=False, allow_blank=True, max_length=NOTES_LENGTH)

    def validate_tags(self, values: list[str]) -> list[str]:
        return list(dict.fromkeys(values))


class RetrySerializer(StrictSerializer):
    """How to run again."""

    resume = Boolean(default=False, initial=False, help_text="Continue from the source's last checkpoint.")


class LogSerializer(serializers.Serializer):
    """A piece of a stream; offsets are bytes."""

    stream = serializers.CharField()
    offset = serializers.IntegerField()
    next_offset = serializers.IntegerField()
    size = serializers.IntegerField()
    eof = serializers.BooleanField()
    text = serializers.CharField()
    problem = serializers.CharField(help_text="Why it is the record's text; empty where it is the file's.")


class LogHitSerializer(serializers.Serializer):
    """A line that has it."""

    number = serializers.IntegerField(help_text="From 1 on.")
    offset = serializers.IntegerField(help_text="Where the line begins, in bytes.")
    text = serializers.CharField(help_text="What is around the first place that was found, without colours.")


class LogSearchSerializer(serializers.Serializer):
    """What a search has found, and how far it got."""

    stream = serializers.CharField()
    find = serializers.CharField()
    hits = LogHitSerializer(many=True)
    searched = serializers.IntegerField(help_text="Bytes of the log, from its beginning on.")
    size = serializers.IntegerField()
    next_offset = serializers.IntegerField(allow_null=True)
    next_number = serializers.IntegerField(allow_null=True)


class CheckpointSerializer(serializers.Serializer):
    """A committed checkpoint."""

    step = serializers.IntegerField()
    bytes = serializers.IntegerField()
    time = serializers.DateTimeField(source="committed_at")
    metrics = serializers.DictField(
        child=serializers.FloatField(allow_null=True), help_text="By name, as they were at its step; null: NaN."
    )
    infinite = serializers.DictField(
        child=serializers.CharField(), help_text="Of these, which infinity they were: Infinity or -Infinity."
    )


class CheckpointListSerializer(serializers.Serializer):
    data = CheckpointSerializer(many=True)  # type: ignore[assignment]


class PreviewUploadSerializer(serializers.Serializer):
    """Rows as a form sends them, to be looked at."""

    file = serializers.FileField(help_text="JSON Lines or a JSON array, also gzip of either.", allow_empty_file=True)
    map = Text(required=False, allow_blank=True, help_text="Which fields become prompt and response.")


class UploadSerializer(PreviewUploadSerializer):
    """A dataset as a form sends it."""

    dataset_name = Text(required=False, validators=[validation.dataset_key], help_text="Here or in the address.")
    dataset_version = Text(
        required=False, validators=[validation.dataset_key], initial="v1", help_text="Here or in the address."
    )
    skip_invalid = serializers.ChoiceField(["true", "false"], required=False, help_text="Leave out unusable rows.")


@extend_schema_field({"type": "object", "additionalProperties": {"type": "object"}})
class StatsField(serializers.DictField):
    pass


class SourceSerializer(serializers.Serializer):
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    forms = serializers.ListField(child=serializers.CharField(), help_text="gzip, byte order mark, array")
    map = serializers.CharField(allow_blank=True)
    rows_left_out = serializers.IntegerField()


class PreviewedRowSerializer(serializers.Serializer):
    row = serializers.JSONField(allow_null=True, help_text="As it would be stored; null where it cannot be used.")
    problem = serializers.CharField(allow_blank=True)


class PreviewSerializer(serializers.Serializer):
    forms = serializers.ListField(child=serializers.CharField())
    fields = serializers.ListField(child=serializers.CharField(), help_text="Of the first row.")  # type: ignore[assignment]
    map = serializers.CharField(source="mapping", allow_blank=True, help_text="As given, or as the fields suggest.")
    rows = PreviewedRowSerializer(many=True)


@extend_schema_serializer(component_name="Dataset")
class DatasetSerializer(serializers.Serializer):
    """A dataset's manifest."""

    dataset_key = serializers.CharField()
    dataset_name = serializers.CharField()
    dataset_version = serializers.CharField()
    dataset_schema_version = serializers.CharField()
    created_at = serializers.DateTimeField()
    format = serializers.ChoiceField(list(datasets.FORMATS))
    row_count = serializers.IntegerField()
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    stats = StatsField()
    source = SourceSerializer(  # type: ignore[assignment]
        required=False, help_text="Of what was sent, where the rows are not stored as they were sent."
    )


class DatasetListSerializer(serializers.Serializer):
    data = DatasetSerializer(many=True)  # type: ignore[assignment]


class InstallingSerializer(serializers.Serializer):
    done = serializers.IntegerField(help_text="Packages that are installed.")
    total = serializers.IntegerField()


class TunixStatusSerializer(serializers.Serializer):
    available = serializers.BooleanField()
    version = serializers.CharField(allow_null=True)
    runtime_required = serializers.BooleanField()
    message = serializers.CharField()
    installing = InstallingSerializer(allow_null=True, help_text="While Tunix is being installed beside the server.")


class ErrorSerializer(serializers.Serializer):
    detail = serializers.CharField(help_text="One sentence.")


class UnprocessableSerializer(ErrorSerializer):
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField())
    )

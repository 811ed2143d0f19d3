"""The pages' forms. Their rules are those of the API: limits.py and validation.py."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, UsernameField
from django.core.exceptions import ValidationError

from runs import datasets, validation
from runs.datasets.mapping import MAX_PAIRS, suggest
from runs.limits import (
    KEY_LENGTH,
    NOTES_LENGTH,
    OUTPUT_DIR_LENGTH,
    TOKEN_NAME_LENGTH,
    TRAINING,
    VIEW_NAME_LENGTH,
    VIEW_QUERY_LENGTH,
)
from runs.models import ApiToken, TunixRun
from runs.services import LaunchRequest

LABELS = {
    "learning_rate": "Learning rate",
    "num_epochs": "Epochs",
    "batch_size": "Batch size",
    "max_seq_length": "Max length",
    "timeout_seconds": "Stop after",
    "seed": "Seed",
    "lora_rank": "LoRA rank",
}
# What is asked for every training; the rest is folded away.
MAIN = ("learning_rate", "num_epochs", "batch_size", "max_seq_length")
DEFAULT_MODEL = "tunix-rt/tiny-qwen3"
# A minute on two cores, in which the loss falls to a fifth; as scripts/train.
FIRST_TRAINING = {
    "dataset_key": "arithmetic-v2",
    "model_id": DEFAULT_MODEL,
    "learning_rate": "0.003",
    "num_epochs": 10,
    "batch_size": 16,
    "max_seq_length": 128,
}


class AccessibleForm(forms.Form):
    """Marks a field with an error for screen readers and for the style sheet."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **{"label_suffix": "", **options})

    def full_clean(self) -> None:
        super().full_clean()
        for name in self.errors:
            if name in self.fields:
                self.fields[name].widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"error-{name}"}


def as_typed(value: float | None) -> str | None:
    """2e-5, not 2e-05."""
    return None if value is None else str(value) if isinstance(value, int) else f"{value:g}".replace("e-0", "e-")


def _training_field(name: str) -> forms.Field:
    limit = TRAINING[name]

    def check(value: float) -> None:
        if not limit.minimum <= value <= limit.maximum or (limit.above and value == limit.minimum):
            raise ValidationError(limit.sentence)

    kind = forms.IntegerField if limit.whole else forms.FloatField
    widget = forms.TextInput(attrs={"inputmode": "numeric" if limit.whole else "decimal", "autocomplete": "off"})
    # What the page's script checks before anything is sent; the server checks it in any case.
    widget.attrs |= {"data-minimum": limit.minimum, "data-maximum": limit.maximum, "data-says": limit.sentence}
    widget.attrs |= {"data-above": limit.above, "data-whole": limit.whole}
    field = kind(
        label=LABELS[name],
        initial=as_typed(limit.default),
        required=limit.default is not None,
        validators=[check],
        widget=widget,
    )
    field.limit = limit  # type: ignore[attr-defined]
    return field


class LaunchForm(AccessibleForm):
    dataset_key = forms.CharField(label="Dataset", max_length=KEY_LENGTH, validators=[validation.dataset_key])
    model_id = forms.CharField(
        label="Model", max_length=KEY_LENGTH, initial=DEFAULT_MODEL, validators=[validation.model_id]
    )
    learning_rate = _training_field("learning_rate")
    num_epochs = _training_field("num_epochs")
    batch_size = _training_field("batch_size")
    max_seq_length = _training_field("max_seq_length")
    timeout_seconds = _training_field("timeout_seconds")
    seed = _training_field("seed")
    lora_rank = _training_field("lora_rank")
    priority = forms.TypedChoiceField(
        label="Priority",
        choices=TunixRun.Priority.choices,
        coerce=int,
        initial=TunixRun.Priority.NORMAL,
        required=False,
    )
    reproduces = forms.UUIDField(required=False, widget=forms.HiddenInput)
    output_dir = forms.CharField(
        label="Output directory", max_length=OUTPUT_DIR_LENGTH, required=False, validators=[validation.output_dir]
    )

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        choices: list[tuple[str, Any]] = [(each.key, each) for each in datasets.list_all()]
        wanted = self["dataset_key"].value()
        if wanted and wanted not in dict(choices):
            choices.insert(0, (wanted, None))
        self.datasets = choices
        self.fields["model_id"].widget.attrs |= {"list": "models", "spellcheck": "false", "autocomplete": "off"}
        self.fields["timeout_seconds"].widget.attrs["placeholder"] = str(settings.DEFAULT_TIMEOUT_SECONDS)
        self.fields["output_dir"].widget.attrs["placeholder"] = "./output/tunix_run_…"

    @classmethod
    def first_training(cls) -> "LaunchForm":
        """With what a newcomer trains first. Its fields are hidden, and without IDs: another form is on the page."""
        return cls(initial=FIRST_TRAINING, auto_id=False)

    @classmethod
    def repeating(cls, run: TunixRun, *, reproduce: bool = False) -> "LaunchForm":
        """The form, filled with what `run` was launched with; to `reproduce` it, the result is compared with it."""
        config = {name: as_typed(run.config.get(name, limit.default)) for name, limit in TRAINING.items()}
        others = {"dataset_key": run.dataset_key, "model_id": run.model_id, "priority": run.priority}
        return cls(initial=others | config | ({"reproduces": run.run_id} if reproduce else {}))

    def clean_reproduces(self) -> TunixRun | None:
        run_id = self.cleaned_data["reproduces"]
        if run_id is None:
            return None
        run = TunixRun.objects.alive().filter(pk=run_id).first()
        if run is None:
            raise ValidationError("the run to reproduce is no longer here")
        return run

    def main_numbers(self) -> list[forms.BoundField]:
        return [self[name] for name in MAIN]

    def more_numbers(self) -> list[forms.BoundField]:
        return [self[name] for name in TRAINING if name not in MAIN]

    def more_is_open(self) -> bool:
        """Whether what is folded away says something: an error, or a value that is not the default."""
        folded = [self[name] for name in ("priority", "output_dir")] + self.more_numbers()
        return any(each.errors or str(each.value() or "") != str(each.field.initial or "") for each in folded)

    def to_request(self, owner: Any, *, dry_run: bool = True) -> LaunchRequest:
        given = self.cleaned_data
        config = {name: given[name] for name in TRAINING}
        config["timeout_seconds"] = config["timeout_seconds"] or settings.DEFAULT_TIMEOUT_SECONDS
        return LaunchRequest(
            dataset_key=given["dataset_key"],
            model_id=given["model_id"],
            output_dir=given["output_dir"],
            config=config,
            dry_run=dry_run,
            priority=TunixRun.Priority.NORMAL if given["priority"] == "" else given["priority"],
            reproduces=given["reproduces"],
            owner=owner,
        )


class TagsField(forms.CharField):
    """Tags with commas between them, as a list without repeats."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        tags = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
        validation.tags(tags)
        return tags


class AnnotateForm(AccessibleForm):
    tags = TagsField(required=False)
    notes = forms.CharField(
        required=False, max_length=NOTES_LENGTH, strip=False, widget=forms.Textarea(attrs={"rows": 6})
    )

    @classmethod
    def of(cls, run: TunixRun) -> "AnnotateForm":
        return cls(initial={"notes": run.notes, "tags": ", ".join(tag.name for tag in run.tags.all())})


class UploadForm(AccessibleForm):
    """Its inputs name the form that they belong to, so that they can be shown in the midst of another one."""

    ID = "upload-form"

    dataset_name = forms.CharField(label="Name", max_length=KEY_LENGTH)
    dataset_version = forms.CharField(label="Version", max_length=KEY_LENGTH, initial="v1")
    file = forms.FileField(label="File of rows", widget=forms.FileInput(attrs={"accept": ".jsonl,.ndjson,.json,.gz"}))

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        for field in self.fields.values():
            field.widget.attrs["form"] = self.ID


class MappingForm(AccessibleForm):
    """What becomes of each field of somebody else's rows. Unbound, it says what their names suggest."""

    CHOICES = (("", "kept as it is"), ("prompt", "prompt"), ("response", "response"))
    skip_invalid = forms.BooleanField(label="Leave out rows that cannot be used", required=False)

    def __init__(self, row: dict[str, Any], data: Any = None):
        super().__init__(data)
        self._names = {f"field_{number}": name for number, name in enumerate(list(row)[:MAX_PAIRS])}
        suggested = dict(suggest(row).pairs)
        for key, name in self._names.items():
            self.fields[key] = forms.ChoiceField(
                label=name, choices=self.CHOICES, initial=suggested.get(name, ""), required=False
            )

    @property
    def targets(self) -> list[Any]:
        return [self[key] for key in self._names]

    @property
    def mapping(self) -> datasets.Mapping:
        """A field that is kept under the name that it has needs no pair. What is no choice is kept."""
        said = self.cleaned_data if self.is_bound and self.is_valid() else {}
        chosen = {name: said.get(key, "") if self.is_bound else self[key].value() for key, name in self._names.items()}
        return datasets.Mapping.of(
            (name, target)
            for name, target in chosen.items()
            if target and (name != target or list(chosen.values()).count(target) > 1)
        )

    @property
    def leaves_out(self) -> bool:
        return bool(self.is_bound and self.is_valid() and self.cleaned_data["skip_invalid"])


class LoginForm(AuthenticationForm):
    """Django's, with the length of a name checked before anybody asks a database for it."""

    username = UsernameField(max_length=150)


class TokenForm(AccessibleForm):
    name = forms.CharField(label="What is it for?", max_length=TOKEN_NAME_LENGTH)
    scope = forms.ChoiceField(label="It may", choices=ApiToken.Scope.choices)
    days = forms.TypedChoiceField(
        label="For", coerce=int, initial=90, choices=[(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "a year")]
    )


class SavedViewForm(AccessibleForm):
    name = forms.CharField(max_length=VIEW_NAME_LENGTH)
    query = forms.CharField(max_length=VIEW_QUERY_LENGTH, required=False)

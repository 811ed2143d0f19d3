"""A refusal is one sentence, with a status where there is one, whoever asks: the API, a page, a command."""

import json

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import CommandError, call_command

from core.errors import STATUS, Kind, Refusal
from runs import services
from runs.tests.helpers import LAUNCH, assert_error
from tunix_rt.middleware import refusals

pytestmark = pytest.mark.django_db


def all_kinds(base=Refusal):
    for each in base.__subclasses__():
        yield each
        yield from all_kinds(each)


def test_every_refusal_has_a_status():
    assert set(STATUS) == set(Kind)
    found = {each.__name__: each.kind for each in all_kinds()}
    assert len(found) > 15
    assert {name: kind for name, kind in found.items() if kind not in STATUS} == {}


@pytest.fixture
def full_disk(settings):
    settings.MIN_FREE_BYTES = 10**18


@pytest.fixture
def trains(settings):
    settings.TUNIX_COMMAND = "/bin/true"


def test_an_almost_full_disk_is_a_sentence_for_whoever_launches(api, client, dataset, full_disk, trains):
    """`manage.py train` ended in a traceback."""
    assert_error(api.post("/api/tunix/run", LAUNCH | {"dry_run": False}, format="json"), 507)
    page = client.post("/launch/", LAUNCH | {"action": "train", **FORM}, follow=True)
    assert (page.status_code, b"stay free for what runs already" in page.content) == (200, True)
    with pytest.raises(CommandError, match="stay free for what runs already"):
        call_command("train", "arithmetic-v1", "tunix-rt/tiny-qwen3")


FORM = {
    "learning_rate": "1e-4",
    "num_epochs": "1",
    "batch_size": "8",
    "max_seq_length": "128",
    "seed": "0",
    "lora_rank": "0",
}


def test_launches_that_are_too_many_for_whoever_launches(api, client, dataset, settings):
    settings.LAUNCHES_PER_MINUTE = 1
    assert api.post("/api/tunix/run", LAUNCH, format="json").status_code == 200
    answer = api.post("/api/tunix/run", LAUNCH, format="json")
    assert (answer.status_code, answer["Retry-After"]) == (429, "60")
    assert b"You may launch 1 runs a minute" in client.post("/launch/", LAUNCH | FORM, follow=True).content


@pytest.mark.parametrize(
    ("refusal", "status"), [(services.NotEnded, 409), (services.TooOften, 429), (services.LocalRunsUnavailable, 501)]
)
def test_what_no_view_catches_is_a_page_with_the_sentence(rf, refusal, status):
    request = rf.post("/runs/")
    request.user, request.htmx = AnonymousUser(), None
    answer = refusals(lambda _: None).process_exception(request, refusal("Not this time."))
    assert (answer.status_code, b"Not this time." in answer.content) == (status, True)
    assert refusals(lambda _: None).process_exception(request, ValueError("a defect")) is None


def test_a_command_says_the_rows_as_well(tmp_path, data_dir):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "1"}) + "\n")
    with pytest.raises(CommandError) as caught:
        call_command("add_dataset", path, name="mine", dataset_version="v1")
    assert str(caught.value).splitlines() == [
        "1 of 1 rows cannot be used. Nothing was stored.",
        "line 1: response is missing",
    ]
    assert services.datasets.list_all() == []

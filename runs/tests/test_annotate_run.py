"""PATCH /api/tunix/runs/{id}: tags and notes, and nothing else."""

import pytest

from runs.models import TunixRun
from runs.tests.helpers import assert_error, create_run, random_id

pytestmark = pytest.mark.django_db
TAG_RULE = "must have 1–64 characters each, no comma, and no space at their ends"


@pytest.fixture
def run():
    return create_run(tags=("old",), notes="old notes", stdout="out")


def patch(api, run, body):
    return api.patch(f"/api/tunix/runs/{run.run_id}", body)


def test_it_works(api, run):
    answer = patch(api, run, {"tags": ["baseline", "a b"], "notes": "New\nnotes"})
    assert answer.status_code == 200
    assert (answer.json()["tags"], answer.json()["notes"]) == (["a b", "baseline"], "New\nnotes")
    assert answer.json() == api.get(f"/api/tunix/runs/{run.run_id}").json()


def test_nothing_else_is_touched(api, run):
    before = TunixRun.objects.filter(pk=run.pk).values().get()
    patch(api, run, {"notes": "new"})
    assert TunixRun.objects.filter(pk=run.pk).values().get() == before | {"notes": "new"}


def test_what_is_not_given_stays(api, run):
    assert patch(api, run, {"notes": "new"}).json()["tags"] == ["old"]
    assert patch(api, run, {"tags": ["new"]}).json()["notes"] == "new"
    body = patch(api, run, {}).json()
    assert (body["tags"], body["notes"]) == (["new"], "new")


def test_both_can_be_emptied(api, run):
    body = patch(api, run, {"tags": [], "notes": ""}).json()
    assert (body["tags"], body["notes"]) == ([], "")


def test_a_tag_given_twice_is_one_tag(api, run):
    assert patch(api, run, {"tags": ["b", "a", "b", "old"]}).json()["tags"] == ["a", "b", "old"]


def test_a_running_run_can_be_annotated(api):
    assert patch(api, create_run(status="running"), {"notes": "watch this"}).status_code == 200


@pytest.mark.parametrize("name", ["status", "message", "stdout", "run_id", "model_id", "tag", "deleted_at", "owner"])
def test_every_other_field_is_refused(api, run, name):
    body = assert_error(patch(api, run, {name: "completed", "notes": "new"}), 422)
    assert body["errors"] == {name: ["is not a known field"]}
    assert TunixRun.objects.get().notes == "old notes"


@pytest.mark.parametrize("tag", ["", " ", "a,b", " a", "a ", "a\nb", "a\tb", "x" * 65, "é" * 65])
def test_a_tag_that_is_refused(api, run, tag):
    assert assert_error(patch(api, run, {"tags": ["good", tag]}), 422)["detail"].startswith("tags")
    assert list(run.tags.values_list("name", flat=True)) == ["old"]


@pytest.mark.parametrize("tag", ["x" * 64, "é" * 64, "lr=2e-5", "a b", "😀", "#1", "<b>"])
def test_a_tag_that_is_taken(api, run, tag):
    assert patch(api, run, {"tags": [tag]}).json()["tags"] == [tag]


def test_the_rule_of_tags_is_said(api, run):
    assert assert_error(patch(api, run, {"tags": ["a,b"]}), 422)["errors"] == {"tags": [TAG_RULE]}


def test_a_run_has_at_most_20_tags(api, run):
    assert patch(api, run, {"tags": [f"t{n}" for n in range(20)]}).status_code == 200
    assert_error(patch(api, run, {"tags": [f"t{n}" for n in range(21)]}), 422, "tags must be at most 20")


@pytest.mark.parametrize("value", ["a,b", None, 5, True, {"a": 1}, [5], [None], [["a"]], ["a\0b"]])
def test_tags_must_be_a_list_of_texts(api, run, value):
    assert_error(patch(api, run, {"tags": value}), 422)


@pytest.mark.parametrize("value", [None, 5, True, [], {}, "a\0b", "x" * 20_001])
def test_notes_must_be_a_text(api, run, value):
    assert set(assert_error(patch(api, run, {"notes": value}), 422)["errors"]) == {"notes"}


def test_notes_keep_their_spaces_and_their_markup(api, run):
    text = "  <script>alert(1)</script>\n\n  end  \n"
    assert patch(api, run, {"notes": text}).json()["notes"] == text
    assert len(patch(api, run, {"notes": "é" * 20_000}).json()["notes"]) == 20_000


def test_not_found_and_not_a_uuid(api):
    nobody = random_id()
    assert_error(api.patch(f"/api/tunix/runs/{nobody}", {"notes": "x"}), 404, f"Tunix run not found: {nobody}")
    assert_error(api.patch("/api/tunix/runs/nonsense", {"notes": "x"}), 422)

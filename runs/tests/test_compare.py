"""Several runs side by side, acts on several at once, and the list as a file."""

import csv
import io
import json
import re

import pytest
from django.utils import timezone

from runs import comparison, metrics
from runs.models import TunixRun
from runs.tests.helpers import CONFIG, create_run, random_id

pytestmark = pytest.mark.django_db


def compare(client, *runs):
    return client.get("/compare/?" + "&".join(f"run={getattr(run, 'run_id', run)}" for run in runs))


@pytest.fixture
def pair():
    first = create_run(
        mode="local", config=CONFIG, provenance={"versions": {"jax": "0.10.2"}, "seed": 0}, stdout="a\nb\nc\n"
    )
    second = create_run(
        mode="local",
        config=CONFIG | {"learning_rate": 1e-3},
        provenance={"versions": {"jax": "0.10.3"}, "seed": 0},
        stdout="a\nx\nc\n",
    )
    for run, scale in ((first, 1.0), (second, 2.0)):
        metrics.append(run.run_id, {"train/loss": [(n, scale / n, 1.7e9) for n in range(1, 11)]})
        metrics.append(run.run_id, {"system/cpu_percent": [(1, scale, 1.7e9)]})
    return first, second


def rows_of(*runs):
    alive = TunixRun.objects.prefetch_related("metrics").in_bulk()
    sections = comparison.sections([alive[run.pk] for run in runs])
    return {(section.name, row.name): row for section in sections for row in section.rows}


def test_what_differs_and_which_is_best(pair):
    rows = rows_of(*pair)
    loss = rows["Results", "train/loss"]
    assert (loss.values, loss.best, loss.same) == ([0.1, 0.2], 0, False)
    assert rows["Configuration", "learning_rate"].values == [2e-5, 1e-3]
    assert rows["Configuration", "batch_size"].same and rows["Environment", "seed"].same
    assert rows["Packages", "jax"].cells() == [("0.10.2", False, False), ("0.10.3", True, False)]
    assert ("Results", "system/cpu_percent") not in rows


def test_rubbish_in_a_provenance_is_compared_all_the_same():
    runs = [create_run(mode="local", provenance=each) for each in ({}, {"versions": [1]}, {"model": {"a": [1]}})]
    rows = rows_of(*runs)
    assert rows["Environment", "model.a"].values == [None, None, [1]]


def test_the_page(client, pair):
    page = compare(client, *pair).content.decode()
    assert "Compare 2 runs" in page and page.count('class="line line-') == 2
    assert re.search(r'<span class="differs">0.001</span>', page)
    assert '<span data-kind="-">- b\n' in page and '<span data-kind="+">+ x\n' in page
    assert "row is the same" not in page and "rows are the same" in page


def test_the_order_is_that_of_the_address_and_repeats_count_once(client, pair):
    first, second = pair
    page = compare(client, second, first, second).content.decode()
    assert f"Compared with {second.short_id}" in page and "Compare 2 runs" in page


def test_what_cannot_be_compared(client, pair):
    assert compare(client).status_code == 200 and "Two runs make a comparison" in compare(client).content.decode()
    assert compare(client, pair[0]).status_code == 422
    assert compare(client, "nonsense", pair[0]).status_code == 404
    nobody = random_id()
    page = compare(client, *pair, nobody)
    assert page.status_code == 200 and f"1 of them is not here, or in the trash: {nobody}" in page.content.decode()
    assert "At most 100 runs" in compare(client, *[random_id() for _ in range(99)], *pair).content.decode()


def test_a_hundred_runs_are_one_page(client, django_assert_max_num_queries):
    runs = [create_run(mode="local") for _ in range(100)]
    for run in runs:
        metrics.append(run.run_id, {"train/loss": [(n, 1 / n, 1.7e9) for n in range(1, 5)]})
    with django_assert_max_num_queries(220):
        page = compare(client, *runs).content.decode()
    assert page.count('class="line line-') == 100 and "of the first 10" in page


# --- several at once --------------------------------------------------------------------------------------------------


def act(client, action, *runs, query="", **more):
    form = {"action": action, "run": [str(run.run_id) for run in runs], **more}
    return client.post(f"/runs/bulk/{query}", form, follow=True)


def test_compare_and_tag(client, pair):
    page = act(client, "compare", *pair)
    assert page.request["PATH_INFO"] == "/compare/" and "Compare 2 runs" in page.content.decode()
    assert "2 runs tagged “sweep”" in act(client, "tag", *pair, tag=" sweep ").content.decode()
    assert "2 runs tagged “sweep”" in act(client, "tag", *pair, tag="sweep").content.decode()
    assert [[tag.name for tag in run.tags.all()] for run in TunixRun.objects.all()] == [["sweep"], ["sweep"]]


@pytest.mark.parametrize("tag", ["", "a,b", "x" * 65, "a\0"])
def test_a_tag_that_cannot_be_one(client, pair, tag):
    assert "The tag cannot be used" in act(client, "tag", *pair, tag=tag).content.decode()
    assert not TunixRun.objects.filter(tags__isnull=False).exists()


def test_a_tag_too_many_tags_none(client, pair):
    full = create_run(tags=[f"t{n}" for n in range(20)])
    assert "The tag cannot be used" in act(client, "tag", pair[0], full, tag="one").content.decode()
    assert not pair[0].tags.exists()


def test_delete_says_first_and_does_it_when_sure(client, pair):
    running = create_run(mode="local", status="running")
    page = act(client, "delete", *pair, running).content.decode()
    assert "Delete 2 runs?" in page and "1 of those that were selected is left as it is" in page
    assert TunixRun.objects.alive().count() == 3
    page = act(client, "delete", *pair, running, sure="on").content.decode()
    assert "2 runs moved to the trash" in page
    assert list(TunixRun.objects.alive()) == [running]


def test_cancel_several(client):
    waiting = [create_run(mode="local", status="pending") for _ in range(2)]
    ended = create_run(mode="local")
    assert "Cancel 2 runs?" in act(client, "cancel", *waiting, ended).content.decode()
    assert "Cancel was asked for 2 runs" in act(client, "cancel", *waiting, ended, sure="on").content.decode()
    assert {run.status for run in TunixRun.objects.exclude(pk=ended.pk)} == {"cancelled"}


def test_all_that_match(client, pair):
    create_run(dataset_key="other-v1")
    page = act(client, "delete", query="?dataset_key=other-v1", all="on").content.decode()
    assert "Delete 1 run?" in page
    act(client, "delete", query="?dataset_key=other-v1", all="on", sure="on")
    assert set(TunixRun.objects.alive()) == set(pair)
    assert "No run was selected" in act(client, "delete", query="?status=nonsense", all="on").content.decode()


def test_all_of_a_thousand_and_none_that_came_later(client):
    TunixRun.objects.bulk_create(
        TunixRun(dataset_key="d-v1", model_id="m", mode="dry-run", status="failed", completed_at=timezone.now())
        for _ in range(1_500)
    )
    page = act(client, "delete", all="on").content.decode()
    assert "Delete 1,500 runs?" in page and page.count('type="hidden" name="run"') == 0
    asked_at = re.search(r'name="asked_at" value="([^"]+)"', page)[1]
    late = create_run()
    assert "1,500 runs moved" in act(client, "delete", all="on", sure="on", asked_at=asked_at).content.decode()
    assert list(TunixRun.objects.alive()) == [late]
    assert act(client, "delete", all="on", asked_at="2025-13-99T00:00:00").status_code == 200


def test_nothing_and_nonsense(client, pair):
    assert "No run was selected" in act(client, "delete").content.decode()
    assert "nothing of that name" in act(client, "explode", *pair).content.decode()
    assert client.post("/runs/bulk/", {"action": "delete", "run": "nonsense"}).status_code == 404
    assert client.get("/runs/bulk/").status_code == 405


# --- the list as a file -----------------------------------------------------------------------------------------------


def body(answer):
    return b"".join(answer.streaming_content).decode()


def test_csv_is_what_is_filtered_in_its_order(client, pair):
    create_run(dataset_key="other-v1", tags=("a", "b"), notes="one, two\nthree")
    rows = list(csv.DictReader(io.StringIO(body(client.get("/runs/export.csv?sort=started")))))
    assert [row["dataset_key"] for row in rows] == ["arithmetic-v1", "arithmetic-v1", "other-v1"]
    assert (rows[2]["tags"], rows[2]["notes"]) == ("a, b", "one, two\nthree")
    assert json.loads(rows[0]["metrics"])["train/loss"] == 0.1 and rows[0]["learning_rate"] == "2e-05"
    assert len(list(csv.DictReader(io.StringIO(body(client.get("/runs/export.csv?dataset_key=other-v1")))))) == 1


def test_json_lines(client, pair):
    answer = client.get("/runs/export.jsonl")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="runs.jsonl"'
    rows = [json.loads(line) for line in body(answer).splitlines()]
    assert {row["run_id"] for row in rows} == {str(run.run_id) for run in pair}
    assert rows[0]["tags"] == [] and rows[0]["started_at"].endswith("Z")


def test_a_formula_stays_a_text(client):
    create_run(notes='=HYPERLINK("http://x")', model_id="-1+1")
    (row,) = csv.DictReader(io.StringIO(body(client.get("/runs/export.csv"))))
    assert row["notes"].startswith("'=") and row["model_id"] == "'-1+1"


def test_an_export_of_wrong_filters_is_refused(client):
    answer = client.get("/runs/export.csv?status=nonsense")
    assert answer.status_code == 422 and b"status must be among" in answer.content
    assert client.get("/runs/export.xlsx").status_code == 404


def test_an_export_takes_few_queries(client, django_assert_max_num_queries):
    for _ in range(30):
        create_run(tags=("a",))
    with django_assert_max_num_queries(8):
        assert len(body(client.get("/runs/export.jsonl")).splitlines()) == 30

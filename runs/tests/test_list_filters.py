"""GET /api/tunix/runs: every filter, alone and together."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import pytest

from runs.models import TunixRun
from runs.tests.helpers import assert_error, create_run, ids

pytestmark = pytest.mark.django_db
MOMENT = datetime(2025, 12, 22, 14, 30, tzinfo=UTC)
STATUSES = list(TunixRun.Status.values)


def listed(api, query):
    """The names (dataset keys) of the runs that `query` finds."""
    answer = api.get(f"/api/tunix/runs?{query if isinstance(query, str) else urlencode(query)}")
    assert answer.status_code == 200, answer.content
    return sorted(row["dataset_key"] for row in answer.json()["data"])


@pytest.fixture
def one_of_each_status():
    return {status: create_run(status=status, dataset_key=f"{status}-v1") for status in STATUSES}


@pytest.mark.parametrize("status", STATUSES)
def test_status(api, one_of_each_status, status):
    assert listed(api, {"status": status}) == [f"{status}-v1"]


@pytest.mark.parametrize(
    "query", ["status=failed,lost", "status=failed&status=lost", "status=lost,,failed,lost", "status=failed, lost"]
)
def test_several_by_comma_and_by_repeating(api, one_of_each_status, query):
    assert listed(api, query) == ["failed-v1", "lost-v1"]


def test_an_empty_filter_filters_nothing(api, one_of_each_status):
    assert len(listed(api, "status=&mode=&dataset_key=&model_id=&tag=&q=&started_after=&started_before=")) == 7


@pytest.mark.parametrize(
    "value", ["done", "COMPLETED", "Completed", "completed;failed", "'", "completed failed", "*", "%"]
)
def test_an_unknown_status_names_the_allowed_ones(api, value):
    body = assert_error(api.get("/api/tunix/runs?" + urlencode({"status": value})), 422)
    allowed = "pending, running, completed, failed, timeout, cancelled, lost"
    assert body["errors"] == {"status": [f"must be among {allowed}, not {value!r}"]}
    assert body["detail"] == f"status must be among {allowed}, not {value!r}"


def test_an_unknown_status_among_known_ones_is_refused(api):
    assert_error(api.get("/api/tunix/runs?status=completed,nonsense"), 422)


def test_mode(api):
    create_run(mode="local", dataset_key="l-v1")
    create_run(mode="dry-run", dataset_key="d-v1")
    assert listed(api, "mode=local") == ["l-v1"]
    assert listed(api, "mode=dry-run") == ["d-v1"]
    assert listed(api, "mode=dry-run,local") == ["d-v1", "l-v1"]


def test_an_unknown_mode_names_the_allowed_ones(api):
    detail = "mode must be among dry-run, local, not 'dryrun'"
    assert_error(api.get("/api/tunix/runs?mode=dryrun"), 422, detail)


def test_dataset_key_is_exact(api):
    create_run(dataset_key="gsm8k-v1")
    create_run(dataset_key="gsm8k-v10")
    create_run(dataset_key="GSM8K-v1")
    assert listed(api, "dataset_key=gsm8k-v1") == ["gsm8k-v1"]
    assert listed(api, "dataset_key=gsm8k-v1,gsm8k-v10") == ["gsm8k-v1", "gsm8k-v10"]
    assert listed(api, "dataset_key=gsm8k-v1&dataset_key=other") == ["gsm8k-v1"]
    assert listed(api, "dataset_key=gsm8k-%25") == []


def test_model_id_is_exact_and_may_have_a_comma(api):
    create_run(model_id="/models/a,b", dataset_key="comma-v1")
    create_run(model_id="/models/a", dataset_key="plain-v1")
    assert listed(api, {"model_id": "/models/a,b"}) == ["comma-v1"]
    assert listed(api, "model_id=/models/a&model_id=/models/a,b") == ["comma-v1", "plain-v1"]


def test_tag_finds_a_run_once_that_has_one_of_them(api):
    create_run(dataset_key="both-v1", tags=("baseline", "sweep"))
    create_run(dataset_key="one-v1", tags=("sweep",))
    create_run(dataset_key="none-v1")
    assert listed(api, "tag=sweep") == ["both-v1", "one-v1"]
    assert listed(api, "tag=baseline,sweep") == ["both-v1", "one-v1"]
    assert listed(api, "tag=swee") == []


def test_filters_are_all_required(api):
    create_run(dataset_key="a-v1", status="failed", tags=("x",))
    create_run(dataset_key="a-v1", status="completed", tags=("x",))
    create_run(dataset_key="b-v1", status="failed", tags=("x",))
    assert listed(api, "dataset_key=a-v1&status=failed&tag=x&mode=dry-run") == ["a-v1"]
    assert listed(api, "dataset_key=a-v1&status=failed&tag=y") == []


@pytest.fixture
def three_days():
    for day in (21, 22, 23):
        create_run(dataset_key=f"{day}-v1", started_at=datetime(2025, 12, day, 23, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"started_after": "2025-12-22"}, ["22-v1", "23-v1"]),
        ({"started_before": "2025-12-22"}, ["21-v1", "22-v1"]),
        ({"started_after": "2025-12-22", "started_before": "2025-12-22"}, ["22-v1"]),
        ({"started_after": "2025-12-22T23:30:00Z"}, ["22-v1", "23-v1"]),
        ({"started_after": "2025-12-22T23:30:00.000001Z"}, ["23-v1"]),
        ({"started_before": "2025-12-22T23:30:00Z"}, ["21-v1", "22-v1"]),
        ({"started_before": "2025-12-22T23:30"}, ["21-v1", "22-v1"]),
        ({"started_before": "2025-12-23T00:30:00+01:00"}, ["21-v1", "22-v1"]),
        ({"started_before": "2025-12-22T23:30:00+01:00"}, ["21-v1"]),
        ({"started_after": "2026-01-01"}, []),
    ],
)
def test_started(api, three_days, query, expected):
    assert listed(api, query) == expected


@pytest.mark.parametrize("name", ["started_after", "started_before"])
@pytest.mark.parametrize(
    "value",
    ["yesterday", "2025-13-01", "2025-02-30", "2025", "22.12.2025", "2025-12-22T25:00", "1766413800", "2025-12-22T14:30+99:00",
     "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "10000-01-01", "-1"],
)  # fmt: skip
def test_a_moment_that_is_none_is_refused(api, name, value):
    body = assert_error(api.get("/api/tunix/runs?" + urlencode({name: value})), 422)
    assert body["errors"] == {name: ["must be a date or time such as 2025-12-22 or 2025-12-22T14:30:00Z"]}


@pytest.mark.parametrize("value", ["0001-01-01", "9999-12-31", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_ends_of_time_can_be_asked_for(api, value):
    create_run()
    assert len(listed(api, {"started_after": value}) + listed(api, {"started_before": value})) == 1


def test_q_finds_words_in_dataset_model_and_tags_and_at_the_head_of_the_id(api):
    run = create_run(dataset_key="gsm8k-v1", model_id="google/gemma-2b-it", tags=("baseline",))
    create_run(dataset_key="other-v1", model_id="Qwen/Qwen3-0.6B", status="failed")
    head = str(run.run_id)[:13]
    for text in ("gsm8k", "GSM8K", "gemma", "aseline", "gsm8k gemma", "BASE 2b", str(run.run_id), head, head.upper()):
        assert listed(api, {"q": text}) == ["gsm8k-v1"], text
    assert listed(api, {"q": "gsm8k qwen"}) == []
    assert listed(api, {"q": "v1"}) == ["gsm8k-v1", "other-v1"]
    assert listed(api, {"q": "  "}) == ["gsm8k-v1", "other-v1"]
    assert listed(api, {"q": str(run.run_id)[1:9]}) == []


@pytest.mark.parametrize("text", ["%", "_", "\\", "a%b", "'", "[", "*", ";--", "\U0001f600"])
def test_q_takes_wildcards_for_what_they_are(api, text):
    create_run(dataset_key="plain-v1")
    create_run(dataset_key="special-v1", model_id=f"x{text}y")
    assert listed(api, {"q": text}) == ["special-v1"]


def test_q_of_broken_utf8_is_answered(api):
    create_run()
    assert api.get("/api/tunix/runs?q=%ED%A0%80%FF").json()["data"] == []


def test_q_is_not_longer_than_a_line(api):
    assert api.get("/api/tunix/runs?q=" + "a " * 100).status_code == 200
    assert "q" in assert_error(api.get("/api/tunix/runs?q=" + "a" * 1_001), 422)["errors"]


@pytest.mark.parametrize("name", ["dataset_key", "model_id", "tag"])
def test_a_value_that_no_run_can_have_is_refused(api, name):
    length = 64 if name == "tag" else 256
    assert api.get(f"/api/tunix/runs?{name}={'é' * length}").status_code == 200
    errors = assert_error(api.get(f"/api/tunix/runs?{name}={'é' * (length + 1)}"), 422)["errors"]
    assert errors == {name: [f"a value has at most {length} characters"]}


def test_no_filter_takes_more_than_50_values(api):
    fifty = ",".join(f"d{number}" for number in range(50))
    assert api.get(f"/api/tunix/runs?dataset_key={fifty}").status_code == 200
    errors = assert_error(api.get(f"/api/tunix/runs?dataset_key={fifty},one-more"), 422)["errors"]
    assert errors == {"dataset_key": ["must have at most 50 values"]}


def test_a_filter_and_a_page_go_together(api):
    for number in range(6):
        create_run(status="failed" if number % 2 else "completed", started_at=MOMENT + timedelta(seconds=number))
    first = api.get("/api/tunix/runs?status=failed&limit=2")
    assert len(ids(first)) == 2
    assert first.json()["pagination"]["next_offset"] == 2
    assert len(ids(api.get("/api/tunix/runs?status=failed&limit=2&offset=2"))) == 1


@pytest.mark.parametrize("text", ["'; DROP TABLE tunix_runs; --", '" OR 1=1', "%' OR '1'='1", "$1", "{}", "%s"])
def test_sql_is_text(api, text):
    create_run()
    # In a search, quotes and an equals sign are of its language: within quotes they are text.
    quoted = '"{}"'.format(text.replace('"', '""'))
    assert api.get(f"/api/tunix/runs?q={quote(quoted)}").json()["data"] == []
    for name in ("dataset_key", "model_id", "tag"):
        assert api.get(f"/api/tunix/runs?{name}={quote(text)}").json()["data"] == []
    assert TunixRun.objects.count() == 1

"""GET /api/tunix/runs: the shape of a page, its order, and pages by offset."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from runs.models import TunixRun
from runs.querysets import DEEP_OFFSET
from runs.tests.helpers import assert_error, create_run, ids

pytestmark = pytest.mark.django_db
MOMENT = datetime(2025, 12, 22, 14, 30, tzinfo=UTC)


def test_it_works(api):
    run = create_run(started_at=MOMENT, duration_seconds=5.2)
    answer = api.get("/api/tunix/runs")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "data": [
            {
                "run_id": str(run.run_id),
                "dataset_key": "arithmetic-v1",
                "model_id": "google/gemma-2b-it",
                "mode": "dry-run",
                "status": "completed",
                "started_at": "2025-12-22T14:30:00Z",
                "duration_seconds": 5.2,
            }
        ],
        "pagination": {"limit": 20, "offset": 0, "next_offset": None},
    }


def test_a_trailing_slash_works_without_a_redirect(api):
    run = create_run()
    assert ids(api.get("/api/tunix/runs/")) == [str(run.run_id)]


def test_a_running_run_has_no_duration(api):
    create_run(status="running")
    assert api.get("/api/tunix/runs").json()["data"][0]["duration_seconds"] is None


def test_newest_first(api):
    middle = create_run(started_at=MOMENT)
    oldest = create_run(started_at=MOMENT - timedelta(microseconds=1))
    newest = create_run(started_at=MOMENT + timedelta(microseconds=1))
    assert ids(api.get("/api/tunix/runs")) == [str(run.run_id) for run in (newest, middle, oldest)]


def test_runs_of_one_moment_go_by_id_downwards(api):
    created = [create_run(started_at=MOMENT) for _ in range(20)]
    assert ids(api.get("/api/tunix/runs")) == [
        str(run_id) for run_id in sorted((r.run_id for r in created), reverse=True)
    ]


def test_a_run_in_the_trash_is_in_no_list(api):
    kept = create_run()
    create_run(deleted_at=MOMENT)
    assert ids(api.get("/api/tunix/runs")) == [str(kept.run_id)]


def test_the_limit_is_20_by_default(api):
    for _ in range(21):
        create_run()
    answer = api.get("/api/tunix/runs")
    assert len(ids(answer)) == 20
    assert answer.json()["pagination"] == {"limit": 20, "offset": 0, "next_offset": 20}


def test_a_last_page_that_is_just_full_is_the_last(api):
    for _ in range(4):
        create_run()
    assert api.get("/api/tunix/runs?limit=2&offset=2").json()["pagination"]["next_offset"] is None
    assert api.get("/api/tunix/runs?limit=4").json()["pagination"]["next_offset"] is None
    assert api.get("/api/tunix/runs?limit=3").json()["pagination"]["next_offset"] == 3


def test_an_offset_beyond_the_end_is_an_empty_page(api):
    create_run()
    expected = {"data": [], "pagination": {"limit": 20, "offset": 5, "next_offset": None}}
    assert api.get("/api/tunix/runs?offset=5").json() == expected


def test_offsets_visit_every_run_once_where_moments_are_equal(api):
    for number in range(30):
        create_run(started_at=MOMENT + timedelta(seconds=number // 10))
    seen, offset = [], 0
    while offset is not None:
        answer = api.get(f"/api/tunix/runs?limit=7&offset={offset}")
        seen += ids(answer)
        offset = answer.json()["pagination"]["next_offset"]
    assert len(seen) == len(set(seen)) == 30


LIMIT = "limit must be between 1 and 100"
OFFSET = "offset must be non-negative"
NUMBERS_THAT_ARE_NONE = [
    "",
    "abc",
    "1.0",
    "1e1",
    "+1",
    " 1",
    "1 ",
    "1_0",
    "0x1",
    "٣",
    "１",
    "null",
    "true",
    "1,2",
    "%001",
]


@pytest.mark.parametrize("value", ["0", "-1", "101", "1000", "99999999999999999999", *NUMBERS_THAT_ARE_NONE])
def test_a_limit_that_is_refused(api, value):
    body = assert_error(api.get(f"/api/tunix/runs?limit={value.replace('+', '%2B').replace(' ', '%20')}"), 422)
    assert body["errors"]["limit"] in (["must be between 1 and 100"], ["must not contain a NUL character"])
    assert body["detail"] == LIMIT or "\0" in body["detail"] or value == "%001"


@pytest.mark.parametrize("value", ["-1", "-0", "2147483648", "99999999999999999999", "9" * 400, *NUMBERS_THAT_ARE_NONE])
def test_an_offset_that_is_refused(api, value):
    body = assert_error(api.get(f"/api/tunix/runs?offset={value.replace('+', '%2B').replace(' ', '%20')}"), 422)
    assert body["errors"]["offset"] in (["must be non-negative"], ["must not contain a NUL character"])
    assert body["detail"] == OFFSET or value == "%001"


@pytest.mark.parametrize(("limit", "offset"), [("1", "0"), ("100", "0"), ("20", "2147483647"), ("007", "00")])
def test_a_limit_and_an_offset_that_are_taken(api, limit, offset):
    block = api.get(f"/api/tunix/runs?limit={limit}&offset={offset}").json()["pagination"]
    assert block == {"limit": int(limit), "offset": int(offset), "next_offset": None}


def test_both_wrong_are_both_named(api):
    errors = assert_error(api.get("/api/tunix/runs?limit=0&offset=-1"), 422)["errors"]
    assert errors == {"limit": ["must be between 1 and 100"], "offset": ["must be non-negative"]}


@pytest.mark.parametrize("name", ["statsu", "page", "order", "sort", "LIMIT", "dataset", "run_id", "started_at"])
def test_an_unknown_parameter_is_named(api, name):
    body = assert_error(api.get(f"/api/tunix/runs?{name}=1"), 422)
    assert body["errors"] == {name: ["is not a known query parameter"]}


NAMES = ["status", "dataset_key", "mode", "model_id", "tag", "started_after", "started_before", "q", "cursor", "limit"]


@pytest.mark.parametrize("name", [*NAMES, "offset"])
def test_a_nul_is_refused_in_every_parameter(api, name):
    body = assert_error(api.get(f"/api/tunix/runs?{name}=a%00b"), 422)
    assert body["errors"] == {name: ["must not contain a NUL character"]}


def test_a_deep_offset_reads_the_same_order(api):
    """From DEEP_OFFSET on the keys are found first and the rows second; nobody may be able to tell."""
    TunixRun.objects.bulk_create(
        TunixRun(
            run_id=uuid.UUID(int=number * 0x9E3779B97F4A7C15 % 2**128),
            dataset_key="d-v1", model_id="m", mode="dry-run", status="completed",
            started_at=MOMENT + timedelta(seconds=number // 4), completed_at=MOMENT, duration_seconds=0.1,
        )
        for number in range(DEEP_OFFSET + 30)
    )  # fmt: skip
    expected = [str(pk) for pk in TunixRun.objects.newest_first().values_list("pk", flat=True)]
    for offset in (DEEP_OFFSET - 1, DEEP_OFFSET, DEEP_OFFSET + 1, DEEP_OFFSET + 10):
        answer = api.get(f"/api/tunix/runs?limit=10&offset={offset}")
        assert ids(answer) == expected[offset : offset + 10]
        assert answer.json()["pagination"]["next_offset"] == offset + 10
        assert list(answer.json()["data"][0]) == list(api.get("/api/tunix/runs?limit=1").json()["data"][0])
    last = api.get(f"/api/tunix/runs?limit=10&offset={DEEP_OFFSET + 25}&status=completed&dataset_key=d-v1")
    assert ids(last) == expected[DEEP_OFFSET + 25 :]
    assert last.json()["pagination"]["next_offset"] is None

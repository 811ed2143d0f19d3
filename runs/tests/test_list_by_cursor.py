"""GET /api/tunix/runs?cursor=: pages for deep reading."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from runs.tests.helpers import assert_error, create_run, ids

pytestmark = pytest.mark.django_db
MOMENT = datetime(2025, 12, 22, 14, 30, tzinfo=UTC)


def walk(api, query="", *, limit=3):
    """The run IDs of all pages, in order."""
    seen, cursor = [], ""
    while cursor is not None:
        answer = api.get(f"/api/tunix/runs?limit={limit}&cursor={cursor}{query}")
        seen += ids(answer)
        cursor = answer.json()["pagination"]["next_cursor"]
    return seen


def test_it_works(api):
    run = create_run()
    answer = api.get("/api/tunix/runs?cursor=")
    assert ids(answer) == [str(run.run_id)]
    assert answer.json()["pagination"] == {"limit": 20, "next_cursor": None}


def test_no_runs(api):
    assert api.get("/api/tunix/runs?cursor=").json() == {"data": [], "pagination": {"limit": 20, "next_cursor": None}}


def test_the_walk_visits_every_run_once_in_the_lists_order(api):
    for number in range(25):
        create_run(started_at=MOMENT + timedelta(microseconds=number // 9))
    assert walk(api) == ids(api.get("/api/tunix/runs?limit=100"))


@pytest.mark.parametrize("limit", [1, 4, 5, 10, 11, 100])
def test_the_walk_ends_whatever_the_limit(api, limit):
    created = {str(create_run(started_at=MOMENT).run_id) for _ in range(10)}
    seen = walk(api, limit=limit)
    assert len(seen) == 10
    assert set(seen) == created


def test_a_filter_stays_on_the_way(api):
    for number in range(20):
        create_run(started_at=MOMENT, status="failed" if number % 2 else "completed")
    seen = walk(api, "&status=failed")
    assert len(seen) == 10
    assert seen == ids(api.get("/api/tunix/runs?status=failed"))


def test_a_run_that_arrives_meanwhile_repeats_none(api):
    created = [create_run(started_at=MOMENT + timedelta(seconds=number)) for number in range(6)]
    first = api.get("/api/tunix/runs?limit=3&cursor=")
    create_run(started_at=MOMENT + timedelta(days=1))
    second = api.get(f"/api/tunix/runs?limit=3&cursor={first.json()['pagination']['next_cursor']}")
    assert ids(first) + ids(second) == [str(run.run_id) for run in created[::-1]]


def test_a_cursor_of_a_run_that_is_gone_still_leads_on(api):
    created = [create_run(started_at=MOMENT + timedelta(seconds=number)) for number in range(4)]
    first = api.get("/api/tunix/runs?limit=2&cursor=").json()["pagination"]["next_cursor"]
    created[2].delete()
    assert ids(api.get(f"/api/tunix/runs?cursor={first}")) == [str(created[1].run_id), str(created[0].run_id)]


@pytest.mark.parametrize("query", ["cursor=&offset=0", "offset=5&cursor=", "cursor=abc&offset=1"])
def test_a_cursor_with_an_offset_is_refused(api, query):
    assert_error(api.get(f"/api/tunix/runs?{query}"), 422, "cursor cannot be combined with offset")


def encoded(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


NOBODY = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "abc", "....", "%20", "=", "a" * 1000, "é", "null", "0", encoded("nonsense"), encoded(NOBODY),
        encoded(f"2025-12-22T14:30:00 {NOBODY}"), encoded(f"2025-12-22T14:30:00+00:00 {NOBODY[:-1]}"),
        encoded(f"2025-13-22T14:30:00+00:00 {NOBODY}"), encoded(f"0001-01-01T00:00:00+23:59 {NOBODY}"),
        encoded(f"9999-12-31T23:59:59-23:59 {NOBODY}"), encoded(f"2025-12-22T14:30:00+00:00 {NOBODY} x"),
    ],
)  # fmt: skip
def test_a_cursor_that_was_never_given_is_refused(api, cursor):
    assert_error(api.get(f"/api/tunix/runs?cursor={cursor}"), 422, "cursor is not one that this API gave")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"])
def test_a_cursor_at_the_ends_of_time_is_answered(api, moment):
    create_run()
    assert api.get(f"/api/tunix/runs?cursor={encoded(f'{moment} {NOBODY}')}").status_code == 200

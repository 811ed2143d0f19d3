"""What was lost or left out beside a run: one bounded list in its record, on its page and in the API."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection

from runs import lifecycle, notices
from runs.execution.report import Report, record_end
from runs.models import TunixRun
from runs.notices import DETAIL_LENGTH, Kind, notice, parsed
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run():
    return create_run(mode="local", status="running", claim=lifecycle.hashed("token"))


def stored(run):
    run.refresh_from_db()
    return [(each.kind, each.count, each.detail) for each in parsed(run.notices)]


def test_each_kind_is_there_once_with_how_often_and_the_first_reason(run):
    notices.store(run.pk, [notice(Kind.OUTPUT_LOST, "stdout: first", 5), notice(Kind.REPORT_MISSED)])
    notices.store(run.pk, [notice(Kind.OUTPUT_LOST, "stderr: second", 7)] * 1000)
    assert stored(run) == [(Kind.OUTPUT_LOST, 7_005, "stdout: first"), (Kind.REPORT_MISSED, 1, "")]
    (lost, _) = parsed(run.notices)
    assert lost.first_at < lost.last_at
    assert lost.text == "6.8 KB of output could not be written to disk and are lost"


@pytest.mark.django_db(transaction=True)
def test_two_that_store_at_once_lose_nothing(run):
    def store(number):
        try:
            for _ in range(5):
                notices.store(run.pk, [notice(Kind.REPORT_MISSED, f"by {number}")])
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, range(4)))
    ((kind, count, _),) = stored(run)
    assert (kind, count) == (Kind.REPORT_MISSED, 20)


def test_a_run_that_is_gone_takes_none():
    gone = create_run()
    TunixRun.objects.all().delete()
    notices.store(gone.pk, [notice(Kind.REPORT_MISSED)])


@pytest.mark.parametrize(
    "rubbish",
    [
        None, 3, "text", {}, [1], [{}], [{"kind": "of a newer version"}], [[]] * 10_000,
        [{"kind": "output_lost", "count": -1, "detail": "", "first_at": "2025-01-01T00:00:00Z", "last_at": "2025-01-01T00:00:00Z"}],
        [{"kind": "output_lost", "count": True, "detail": "", "first_at": "2025-01-01T00:00:00Z", "last_at": "2025-01-01T00:00:00Z"}],
        [{"kind": "output_lost", "count": 1, "detail": 5, "first_at": "2025-01-01T00:00:00Z", "last_at": "2025-01-01T00:00:00Z"}],
        [{"kind": "output_lost", "count": 1, "detail": "", "first_at": "2025-01-01T00:00:00", "last_at": "2025-01-01T00:00:00Z"}],
        [{"kind": "output_lost", "count": 1, "detail": "", "first_at": 17, "last_at": "yesterday"}],
        [{"kind": ["output_lost"], "count": 1, "detail": "", "first_at": "2025-01-01T00:00:00Z", "last_at": "2025-01-01T00:00:00Z"}],
    ],
)  # fmt: skip
def test_what_no_notice_is_is_left_out(rubbish, client, api):
    """Of a file that a training may have forged, or of a record that a newer version wrote."""
    assert parsed(rubbish) == []
    run = create_run(notices=rubbish if rubbish is not None else [])
    assert api.get(f"/api/tunix/runs/{run.run_id}").json()["notices"] == []
    assert client.get(f"/runs/{run.run_id}/").status_code == 200


def test_whatever_a_detail_is_every_database_takes_it_and_no_secret_is_in_it(run):
    secret = "hf_" + "aB3dE" * 7
    notices.store(run.pk, [notice(Kind.OUTPUT_LOST, f"\0 \ud800 {secret} " + "x" * 10_000)])
    ((_, _, detail),) = stored(run)
    assert len(detail) == DETAIL_LENGTH and secret not in detail and "\0" not in detail


def test_the_page_and_the_api_show_them(client, api, run):
    assert 'id="run-notices"' in client.get(f"/runs/{run.run_id}/").content.decode(), "a poll can bring the first"
    notices.store(run.pk, [notice(Kind.OUTPUT_LOST, "<b>stdout</b>", 2048)])
    sentence = "2.0 KB of output could not be written to disk and are lost"
    for address in (f"/runs/{run.run_id}/", f"/runs/{run.run_id}/news/?seen=running"):
        page = client.get(address).content.decode()
        assert f"{sentence}: <code>&lt;b&gt;stdout&lt;/b&gt;</code>" in page
    (answered,) = api.get(f"/api/tunix/runs/{run.run_id}").json()["notices"]
    assert list(answered) == ["text", "kind", "count", "detail", "first_at", "last_at"]
    assert (answered["text"], answered["count"]) == (sentence, 2048)


def test_every_kind_has_its_sentences():
    for kind in Kind:
        for count in (1, 3):
            text = notice(kind, count=count).text
            assert text[0].isupper() or text[0].isdigit()
            assert "{" not in text and not text.endswith(".")


# --- by a supervisor's report -----------------------------------------------------------------------------------------


def deliver(run, report):
    return report.deliver(lambda **columns: lifecycle.note(run.pk, run.claim, **columns))


def test_a_report_stores_what_was_noticed_once(run):
    report = Report(run)
    report.notice(Kind.OUTPUT_LOST, "why", 10)
    assert deliver(run, report) and deliver(run, report)
    assert stored(run) == [(Kind.OUTPUT_LOST, 10, "why")]


def test_what_the_database_did_not_take_waits(run):
    report = Report(run)
    report.notice(Kind.OUTPUT_LOST, "why", 10)

    def away(**_):
        raise OperationalError("away")

    for _ in range(3):
        with pytest.raises(OperationalError):
            report.deliver(away)
    assert stored(run) == []
    report.notice(Kind.OUTPUT_LOST, "again", 5)
    assert deliver(run, report) and stored(run) == [(Kind.OUTPUT_LOST, 15, "why")]


def test_one_whose_lease_is_anothers_stores_nothing(run):
    report = Report(run)
    report.notice(Kind.OUTPUT_LOST)
    assert not report.deliver(lambda **columns: lifecycle.note(run.pk, lifecycle.hashed("another"), **columns))
    assert stored(run) == []


def test_those_in_a_result_that_the_dispatcher_brings_in_are_stored(run):
    waiting = notices.as_stored([notice(Kind.REPORT_MISSED, "the database is away", 3)])
    result = {"status": "failed", "completed_at": run.started_at, "notices": waiting}
    assert record_end(Report(run), run.claim, result)
    assert stored(run) == [(Kind.REPORT_MISSED, 3, "the database is away")] and run.status == "failed"


def test_several_threads_collect(run):
    collected = notices.Notices()
    threads = [
        threading.Thread(target=lambda: [collected.add([notice(Kind.OUTPUT_LOST)]) for _ in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = collected.take()
    assert found.count == 2_000 and collected.take() == []

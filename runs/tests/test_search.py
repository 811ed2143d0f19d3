"""The filter language of `q=`: what it finds, where its errors point, and that it cannot be made slow."""

import contextlib
import time
import uuid
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from runs import metrics, search
from runs.models import TunixRun
from runs.tests.helpers import CONFIG, assert_error, create_run
from runs.time_limit import TooSlow, time_limit

pytestmark = pytest.mark.django_db


@pytest.fixture
def runs():
    now = timezone.now()
    made = {
        "good": create_run(
            mode="local", dataset_key="gsm8k-v1", model_id="google/gemma-2b-it", tags=("sweep7", "best"), step=100,
            config=CONFIG | {"learning_rate": 1e-3, "batch_size": 16}, started_at=now - timedelta(days=2),
            duration_seconds=7200, exit_code=0,
        ),
        "bad": create_run(
            mode="local", dataset_key="gsm8k-v1", model_id="Qwen/Qwen3-0.6B", status="failed", cause="nan_loss",
            config=CONFIG | {"learning_rate": 1e-2}, started_at=now - timedelta(hours=1), duration_seconds=30, exit_code=1,
            priority=TunixRun.Priority.HIGH,
        ),
        "late": create_run(
            mode="local", dataset_key="other-v1", status="timeout", cause="timeout", tags=("sweep7",),
            started_at=now - timedelta(days=30), duration_seconds=86_400,
        ),
        "dry": create_run(dataset_key="other-v2", started_at=now - timedelta(days=10), duration_seconds=0.01, exit_code=0),
    }  # fmt: skip
    for name, loss in (("good", 0.25), ("bad", 5.0), ("late", 0.75)):
        metrics.append(made[name].run_id, {"train/loss": [(1, 9.0, 1.7e9), (2, loss, 1.7e9)]})
    return made


def found(api, text):
    answer = api.get("/api/tunix/runs?" + urlencode({"q": text}))
    assert answer.status_code == 200, answer.content
    names = {str(run.run_id): name for name, run in RUNS.items()}
    return {names[row["run_id"]] for row in answer.json()["data"]}


RUNS: dict[str, TunixRun] = {}


@pytest.fixture(autouse=True)
def known(runs):
    RUNS.clear()
    RUNS.update(runs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status:failed", "bad"),
        ("status:failed,timeout", "bad late"),
        ("status=FAILED", "bad"),
        ("status!=completed", "bad late"),
        ("not status:completed", "bad late"),
        ("cause:nan_loss", "bad"),
        ("mode:dry-run", "dry"),
        ("priority:high", "bad"),
        ("dataset:gsm8k-v1", "good bad"),
        ('model:"Qwen/Qwen3-0.6B"', "bad"),
        ("model:Qwen/Qwen3-0.6B", "bad"),
        ("tag:sweep7", "good late"),
        ("tag!=sweep7", "bad dry"),
        ("tag:best,nothing", "good"),
        ("lr>=1e-3 mode:local", "good bad"),
        ("lr=0.01", "bad"),
        ("learning_rate<1e-3", "late dry"),
        ("batch:16", "good"),
        ("train/loss<0.5", "good"),
        ("train/loss<=0.75", "good late"),
        ("metric.train/loss>1", "bad"),
        ("train/loss:0.25,5", "good bad"),
        ("nothing/such>0", ""),
        ("started>7d", "good bad"),
        ("started<7d", "late dry"),
        ("started>2020-01-01", "good bad late dry"),
        ("started>2020-01-01T12:00:00Z started<90m", "good late dry"),
        ("ended>7d", "good bad"),
        ("duration>10m", "good late"),
        ("duration<1", "dry"),
        ("exit:1", "bad"),
        ("exit!=0", "bad late"),
        ("step>=100", "good"),
        ("gemma", "good late dry"),
        ("qwen status:failed", "bad"),
        ("gsm8k not qwen", "good"),
        ("status:failed or tag:sweep7", "good bad late"),
        ("status:failed OR tag:sweep7 AND train/loss<0.5", "good bad"),
        ("(status:failed or tag:sweep7) train/loss>0.5", "bad late"),
        ("not (status:failed or tag:sweep7)", "dry"),
        ("status:failed,timeout (lr>=1e-2 or tag:sweep7) train/loss<1 started>60d", "late"),
        ('"status:failed"', ""),
        ("  ", "good bad late dry"),
        ('""', "good bad late dry"),
    ],
)
def test_it_finds(api, text, expected):
    assert found(api, text) == set(expected.split())


def test_the_head_of_an_id(api):
    run = RUNS["bad"]
    assert found(api, f"id:{str(run.run_id)[:13]}") == {"bad"}
    assert found(api, f"id:{run.run_id},{RUNS['dry'].run_id}") == {"bad", "dry"}
    assert found(api, "id:xyz") == set()


@pytest.mark.parametrize(
    ("text", "character", "why"),
    [
        ("stauts:failed", 1, "'stauts' is no field. There are status, "),
        ("gemma stauts:failed", 7, "'stauts' is no field"),
        ("status:done", 8, "'done' is none of pending, running, "),
        ("lr>x", 4, "'x' is no number"),
        ("lr>1e999", 4, "is no number"),
        ("lr>1,2", 4, "compared with one value"),
        ("status>failed", 7, "only :, = and != go with it"),
        ("status:", 1, "'status:' has no value"),
        ("started>yesterday", 9, "is no time such as 7d"),
        ("started>2025-13-45", 9, "is no time such as 7d"),
        ("started>99999999w", 9, "is before all time"),
        ("step>1.5", 6, "is no whole number"),
        ("(status:failed", 15, "something is missing at the end"),
        ("status:failed)", 14, "')' is not expected here"),
        ("a or", 5, "something is missing at the end"),
        ("()", 2, "')' is not expected here"),
    ],
)
def test_an_error_points_at_the_character(api, text, character, why):
    body = assert_error(api.get("/api/tunix/runs?" + urlencode({"q": text})), 422)
    (sentence,) = body["errors"]["q"]
    assert sentence.startswith(f"cannot be read at character {character}: ") and why in sentence


def test_the_page_says_it_too(client):
    page = client.get("/runs/?" + urlencode({"q": "lr>x"}))
    assert page.status_code == 422 and "cannot be read at character 4" in page.content.decode()


def test_it_goes_with_the_admin(client):
    from django.contrib.auth import get_user_model

    client.force_login(get_user_model().objects.create_superuser("boss", password="x"))
    assert "1 run" in client.get("/admin/runs/tunixrun/?q=status:failed").content.decode()
    assert "cannot be read at character 1" in client.get("/admin/runs/tunixrun/?q=stauts:x").content.decode()


@given(st.text(alphabet="ab:=<>!()\"', -/.019\x00or nt_sau", max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_is_typed_is_read_or_refused(text):
    with contextlib.suppress(search.SearchError):  # any other error fails
        search.parse(text)


def test_deep_brackets_are_read_or_refused(api):
    for text in ("(" * 90 + "a" + ")" * 90, "not " * 45 + "a", "a or " * 39 + "a"):
        assert api.get("/api/tunix/runs?" + urlencode({"q": text})).status_code in (200, 422)


# --- none of it can be made slow --------------------------------------------------------------------------------------

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_would_take_for_ever_is_stopped():
    began = time.monotonic()
    with pytest.raises(TooSlow), time_limit(0.3), connection.cursor() as cursor:
        cursor.execute(FOREVER)
    assert time.monotonic() - began < 10
    assert TunixRun.objects.count() == 4, "the connection is as good as before"
    with time_limit(0.3):
        assert TunixRun.objects.count() == 4
    time.sleep(0.4)
    assert TunixRun.objects.filter(pk=uuid.UUID(int=5)).count() == 0


@pytest.mark.parametrize("address", ["/api/tunix/runs", "/runs/"])
def test_one_that_takes_too_long_is_an_error_of_the_search(client, monkeypatch, address):
    from runs import filters

    monkeypatch.setattr(filters, "time_limit", lambda: time_limit(1e-9 if connection.vendor == "sqlite" else 0.001))
    monkeypatch.setattr("runs.time_limit.INSTRUCTIONS", 1)
    TunixRun.objects.bulk_create(
        TunixRun(dataset_key="d-v1", model_id="m", mode="dry-run", status="running", config=CONFIG)
        for _ in range(3_000)
    )
    answer = client.get(address, {"q": "lr>0.5 or not (lr<0.4 or batch>9) or duration>3h"})
    assert answer.status_code == 422 and "takes the database too long" in answer.content.decode()
    assert client.get(address).status_code == 200

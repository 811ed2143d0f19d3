"""Whatever can be stored can be asked for, and what is no condition is refused and not looked for as a text."""

import math
import uuid
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runs import metrics, validation
from runs.models import RunTag, TunixRun
from runs.tests.helpers import assert_error, create_run

pytestmark = pytest.mark.django_db
ANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
# What PostgreSQL takes as a text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=64)


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def found(api, text):
    answer = api.get("/api/tunix/runs?" + urlencode({"q": text}))
    assert answer.status_code == 200, (text, answer.content)
    return {uuid.UUID(row["run_id"]) for row in answer.json()["data"]}


def logged(value, name="eval/acc"):
    run = create_run(mode="local")
    metrics.append(run.pk, {name: [(1, 0.5, 1.7e9), (2, value, 1.7e9)]})
    return run.pk


@given(TEXTS.filter(lambda name: metrics.NAME.fullmatch(name)), st.floats())
@example("val/acc@5", 0.5)
@example("a b", -0.0)
@example('"', math.inf)
@example("metric.x", -math.inf)
@example("\\", math.nan)
@example("and", 1e-300)
@ANY
def test_a_metric_of_any_name_and_value(api, name, value):
    TunixRun.objects.all().delete()  # those of the example before
    run, other = logged(value, name), logged(value, "other/" + name[:50])
    value = float(value)
    assert found(api, f"metric.{quoted(name)}={value!r}") == {run}
    assert found(api, f"metric.{quoted(name)}!={value!r}") == set()
    assert other not in found(api, f"metric.{quoted(name)} : nan,{value!r}")


@given(TEXTS.filter(lambda text: text == text.strip()))
@example('say "hi"')
@example("a:b>=c")
@example("not (a or b)")
@ANY
def test_a_tag_a_model_and_a_note(api, text):
    TunixRun.objects.all().delete()
    try:
        validation.tags([text])
    except validation.ValidationError:
        text = "a tag"
    run, other = create_run(model_id=text, notes=f"<{text}>"), create_run(model_id=text + "x", notes="")
    RunTag.objects.bulk_create([RunTag(run=run, name=text), RunTag(run=other, name=(text + "x")[-64:])])
    for name in ("tag", "model"):
        assert run.pk in found(api, f"{name}:{quoted(text)}")
        assert other.pk not in found(api, f"{name}:{quoted(text)}"), name
    assert run.pk in found(api, f"notes:{quoted('<' + text)}") and run.pk in found(api, quoted(text))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("eval/acc:nan", "nan"),
        ("eval/acc=NaN", "nan"),
        ("eval/acc!=nan", "0.5 inf -inf"),
        ("eval/acc:inf", "inf"),
        ("eval/acc:-inf", "-inf"),
        ("eval/acc:+∞,−∞", "inf -inf"),
        ("eval/acc>0", "0.5 inf"),
        ("eval/acc<1e3", "0.5 -inf"),
        ("eval/acc>=-1e-3", "0.5 inf"),
        ("eval/acc > 0", "0.5 inf"),
        ('metric."eval/acc" >0', "0.5 inf"),
        ("not eval/acc:nan mode:local", "0.5 inf -inf"),
    ],
)
def test_nan_and_infinities(api, text, values):
    runs = {str(value): logged(value) for value in (0.5, math.nan, math.inf, -math.inf)}
    assert found(api, text) == {runs[value] for value in values.split()}


def test_what_else_was_not_to_be_had(api):
    run = create_run(
        mode="local", step=5_000_000_000, host="node-7", started_at=datetime(2025, 12, 22, 14, 30, 0, 250_000, UTC), model_id="x" * 256,
        exit_code=-9, dataset_key="d-v1",
    )  # fmt: skip
    create_run(mode="local", host="node-8", started_at=datetime(2025, 12, 23, tzinfo=UTC))
    metrics.append(run.pk, {"val/acc@5": [(1, -0.25, 1.7e9)], "loss": [(1, 1e-7, 1.7e9)]})
    for text in (
        "val/acc@5<0",
        "metric.loss<1e-6",
        'metric."loss"=1e-7',
        "step>4000000000",
        "host:node-7",
        "started:2025-12-22",
        "started<=2025-12-22",
        "started=2025-12-21,2025-12-22",
        "started!=2025-12-23",
        f"id!={TunixRun.objects.get(host='node-8').pk}",
        f"model:{'x' * 256}",
        f'model : "{"x" * 256}"',
        "exit:-9",
        "exit = -9",
    ):
        assert found(api, text) == {run.pk}, text


@pytest.mark.parametrize(
    ("text", "character", "why"),
    [
        ("status:failed, timeout", 1, "is no condition"),
        ("status:failed ,timeout", 15, "a comma stands between two values"),
        ("model:foo(bar)", 1, "in double quotes"),
        ('"train/loss">0.5', 13, 'has no name before it. A name in quotes is written metric."any name"'),
        ("gemma >5", 1, "'gemma' is no field"),
        ("a (>5)", 4, "has no name before it"),
        ("lr==1e-4", 1, "is no condition"),
        ("lr=>1e-4", 1, "is no condition"),
        ('tag:"a b', 1, "'tag:' has no value"),
        ('gemma "a b', 7, "the quote has no end"),
        ("id>abc", 3, "only :, = and != go with it"),
        ("tag<x", 4, "only :, = and != go with it"),
        ("eval/acc<nan", 10, "NaN is neither more nor less"),
        ("eval/acc:x", 10, "'x' is no number"),
        ("lr:nan", 4, "'nan' is no number"),
        ('metric."">1', 1, "a metric's name has 1 to 128 characters"),
        ("started:7d", 9, "with : and = goes a day"),
        ("started=2025-12-22T14:30:00Z", 9, "with : and = goes a day"),
        ("loss<0.5", 1, "metric.accuracy"),
        ("7b:x", 1, "'7b' is no field"),
        ("a or " * 100 + "a", 1, "more than 100 words and conditions"),
        ("not " * 120 + "a", 1, "nested deeper"),
    ],
)
def test_what_is_no_condition_is_refused(api, client, text, character, why):
    (sentence,) = assert_error(api.get("/api/tunix/runs?" + urlencode({"q": text})), 422)["errors"]["q"]
    assert sentence.startswith(f"cannot be read at character {character}: ") and why in sentence
    page = client.get("/runs/?" + urlencode({"q": text}))
    assert page.status_code == 422 and f"cannot be read at character {character}" in page.content.decode()


def test_a_list_of_many_terms_is_one_statement_still(api):
    create_run(mode="local")
    assert found(api, "not status:failed " * 50) and found(api, "(" * 40 + "gemma" + ")" * 40)
    assert found(api, "status:" + ",".join(["completed"] * 90))

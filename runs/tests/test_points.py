"""What a point of a metric is, and what is said of lines that are none."""

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import metrics, notices, points
from runs.execution import metrics_file
from runs.execution.metrics_file import MetricsFile
from runs.execution.report import Report
from runs.rundir import RunDirectory
from runs.tests.helpers import create_run

NOW = 1.76e9
# A time, 2025-01-01T00:00:00Z, as seconds.
THEN = 1735689600.0


def read(line):
    return points.of_line(json.loads(line), NOW)


def said(line):
    return {name: (step, value) for name, (step, value, _) in read(line).points}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"name": "a", "step": 1, "value": 0.5}', {"a": (1, 0.5)}),
        ('{"name": "a", "step": 10.0, "value": 2}', {"a": (10, 2.0)}),
        ('{"name": "a", "global_step": 3, "value": 2, "host": "x"}', {"a": (3, 2.0)}),
        ('{"name": "a", "step": 1, "value": Infinity}', {"a": (1, math.inf)}),
        ('{"name": "a", "step": 1, "value": "-inf"}', {"a": (1, -math.inf)}),
        # Hugging Face's log_history, then what wandb, Lightning and loops of one's own write
        (
            '{"loss": 1.25, "grad_norm": 0.5, "learning_rate": 1e-4, "epoch": 0.5, "step": 10}',
            {"loss": (10, 1.25), "grad_norm": (10, 0.5), "learning_rate": (10, 1e-4), "epoch": (10, 0.5)},
        ),
        ('{"_step": 7, "_timestamp": 1735689600.5, "train/loss": 1, "_runtime": 9}', {"train/loss": (7, 1), "_runtime": (7, 9)}),
        ('{"iter": 5, "loss": 1, "time": 0.34, "mode": "train"}', {"loss": (5, 1), "time": (5, 0.34)}),
        ('{"epoch": 2, "val_loss": 0.5, "done": false, "best": null, "shape": [1, 2]}', {"val_loss": (2, 0.5)}),
        ('{"step": 3, "train": {"loss": 1, "lr": {"max": 2}}, "x": 3}', {"train/loss": (3, 1), "train/lr/max": (3, 2), "x": (3, 3)}),
        ('{"step": 1, "global_step": 8, "value": 0.5}', {"global_step": (1, 8), "value": (1, 0.5)}),
        ('{"iteration": 4, "loss": "NaN", "acc": "inf"}', {"acc": (4, math.inf)}),
    ],
)  # fmt: skip
def test_a_line(line, expected):
    found = said(line)
    if "NaN" in line:
        assert math.isnan(found.pop("loss")[1])
    assert found == expected and not read(line).problem


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[]", "must be an object"),
        ('{"loss": 0.5}', "has no step: one of step, global_step"),
        ('{"epoch": 0.5, "loss": 1}', "step must be a whole number from 0 on"),
        ('{"name": "a", "step": -1, "value": 1}', "step must be a whole number from 0 on"),
        ('{"name": "a", "step": true, "value": 1}', "step must be a whole number from 0 on"),
        ('{"name": "a", "step": "1", "value": 1}', "step must be a whole number from 0 on"),
        ('{"name": "a", "step": 1e300, "value": 1}', "step must be a whole number from 0 on"),
        ('{"name": "a", "step": 1, "value": "0.5"}', "value must be a number or null"),
        ('{"name": " a", "step": 1, "value": 1}', "must be the name of a metric"),
        ('{"name": 5, "step": 1, "value": 1}', "must be the name of a metric"),
        ('{"step": 1, "phase": "train"}', "has no number but the step"),
    ],
)
def test_a_line_that_is_none(line, reason):
    with pytest.raises(ValueError, match=reason):
        read(line)


def test_one_bad_value_costs_no_other():
    found = read('{"step": 1, "loss": 0.5, "acc": "0.9", "%s": 1, "lr": 1e-4}' % ("x" * 129))
    assert [name for name, _ in found.points] == ["loss", "lr"]
    assert found.problem == "'acc' value must be a number or null"
    assert read(json.dumps({"step": 1} | {str(n): n for n in range(5_000)})).points[-1][0] == "4999"
    deep = '{"step": 1, "a": 1, "b": ' + '{"c": ' * 900 + "1" + "}" * 900 + "}"
    assert [name for name, _ in read(deep).points] == ["a"] and "must be the name of a metric" in read(deep).problem


@pytest.mark.parametrize(
    "moment",
    [
        "2025-01-01T00:00:00Z", "2025-01-01 00:00:00", "2025-01-01T01:00:00.000+01:00",
        int(THEN), THEN, THEN * 1e3, int(THEN) * 10**6, int(THEN) * 10**9,
    ],
)  # fmt: skip
def test_a_time(moment):
    assert points.moment_of(moment) == THEN
    (_, (_, _, seconds)), *_ = points.of_line({"name": "a", "step": 1, "value": 1, "time": moment}, NOW).points
    assert seconds == THEN


@pytest.mark.parametrize("moment", [5, -1, 1e300, math.nan, True, "soon", "", None, [], "9999-12-31T23:59:59-14:00"])
def test_a_point_whose_time_is_none_is_of_now(moment):
    ((_, (_, _, seconds)),) = points.of_line({"name": "a", "step": 1, "value": 1, "time": moment}, NOW).points
    assert seconds == NOW
    with pytest.raises(ValueError, match="time must be one such as"):
        points.moment_of(moment)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_is_read_and_written(moment):
    assert (
        datetime.fromtimestamp(points.moment_of(moment.isoformat()), UTC) - moment
        < (moment - moment) + moment.resolution * 100
    )


# --- the file ---------------------------------------------------------------------------------------------------------


def everything_of(file):
    batch, unread, reasons = {}, 0, []
    while True:
        piece = file.next()
        for name, found in piece.batch.items():
            batch.setdefault(name, []).extend((step, value) for step, value, _ in found)
        unread, reasons = unread + piece.unread, reasons + [piece.reason] * bool(piece.reason)
        if piece.end == file.offset:
            return batch, unread, reasons
        file.offset = piece.end


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_lines_that_are_no_points_are_counted_and_the_first_is_told(path):
    """Of six lines that people write, four are read now."""
    path.write_text(
        '{"name": "neg", "step": -1, "value": 1.0}\n'
        '{"name": "epoch_as_float", "step": 1.0, "value": 1.0}\n'
        '{"name": "text", "step": 1, "value": "0.5"}\n'
        '{"step": 3, "loss": 0.5, "learning_rate": 0.001, "epoch": 0.1}\n'
        '{"name": "iso_time", "step": 1, "value": 1.0, "time": "2025-01-01T00:00:00Z"}\n'
        '{"name": "ms_time", "step": 1, "value": 1.0, "time": 1735689600000}\n'
    )
    piece = MetricsFile(path).next()
    assert set(piece.batch) == {"epoch_as_float", "loss", "learning_rate", "epoch", "iso_time", "ms_time"}
    assert piece.batch["iso_time"] == piece.batch["ms_time"] == [(1, 1.0, THEN)]
    assert piece.unread == 2
    assert piece.reason == ('line 1 step must be a whole number from 0 on: {"name": "neg", "step": -1, "value": 1.0}')


def test_the_number_of_a_line_in_a_later_piece(path, monkeypatch):
    monkeypatch.setattr(metrics_file, "CHUNK_BYTES", 200)
    path.write_text(
        '{"name": "a", "step": 1, "value": 1}\n' * 50 + "oops\n" + '{"name": "a", "step": 2, "value": 1}\n' * 9
    )
    batch, unread, reasons = everything_of(MetricsFile(path))
    assert (len(batch["a"]), unread, reasons) == (59, 1, ["line 51 is no JSON: oops"])
    # Whoever goes on with the file, another process, says the same.
    assert everything_of(MetricsFile(path, 37 * 45))[2] == ["line 51 is no JSON: oops"]


def test_a_line_of_any_length_is_one_line(path, monkeypatch):
    monkeypatch.setattr(metrics_file, "CHUNK_BYTES", 200)
    good = '{"name": "a", "step": %d, "value": 1}\n'
    path.write_text(good % 1 + "x" * 1_000 + "\n" + good % 2 + good % 3)
    batch, unread, reasons = everything_of(MetricsFile(path))
    assert (batch["a"], unread, reasons) == ([(1, 1.0), (2, 1.0), (3, 1.0)], 1, ["line 2 is longer than 200 bytes"])


def test_the_last_line_without_a_line_feed_is_read_at_the_end(path):
    path.write_text('{"name": "a", "step": 1, "value": 1}\n{"name": "a", "step": 2, "value": 1}')
    file = MetricsFile(path)
    assert everything_of(file)[0] == {"a": [(1, 1.0)]}
    file.ended = True
    assert everything_of(file) == ({"a": [(2, 1.0)]}, 0, [])
    assert file.offset == path.stat().st_size


# --- what the record says ---------------------------------------------------------------------------------------------


def reported(lines, **fields):
    run = create_run(mode="local", status="running", **fields)
    report, path = Report(run), RunDirectory(run.run_id).metrics
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert report.catch_up(lambda **columns: True)
    run.refresh_from_db()
    return run, {each.kind: each for each in notices.parsed(run.notices)}


@pytest.mark.django_db
def test_the_page_and_the_api_say_what_was_no_point(data_dir, client, api):
    run, said = reported([{"step": 1, "loss": 0.5}, {"step": -1, "loss": 1}, ["x"]])
    assert said["metric_lines_unread"].count == 2
    page = client.get(f"/runs/{run.run_id}/").content.decode()
    assert "2 lines of metrics.jsonl are no points" in page and "line 2 step must be a whole number from 0 on" in page
    (notice,) = api.get(f"/api/tunix/runs/{run.run_id}").json()["notices"]
    assert notice["count"] == 2 and notice["detail"].startswith("line 2 ")


@pytest.mark.django_db
def test_of_too_many_names_the_surplus_is_left_out_and_told(data_dir, client, monkeypatch):
    """The names beyond cost neither the loss beside them nor what the machine is measured by."""
    monkeypatch.setattr(metrics, "MAX_SERIES", 50)
    lines = [{"step": s, "train/loss": 3 / s} for s in range(1, 31)]
    lines[9]["grad_norm"] = {f"layer_{n}": 1.0 for n in range(60)}
    run, said = reported(lines)
    assert metrics.read(run)["train/loss"].steps.tolist() == list(range(1, 31))
    assert len(metrics.series(run)) == 50
    assert said["metric_points_omitted"].count == 11
    assert (
        "at most 50 metrics; the first left out was 'grad_norm/layer_49' at step 10"
        in said["metric_points_omitted"].detail
    )
    assert "11 points of metrics were left out" in client.get(f"/runs/{run.run_id}/").content.decode()


@pytest.mark.django_db
def test_the_surplus_of_a_post_is_left_out_and_told(api, monkeypatch):
    monkeypatch.setattr(metrics, "MAX_SERIES", 5)
    run = create_run(mode="local", status="running")
    body = {f"m{n}": [{"step": 1, "value": n}, {"step": 2, "value": n}] for n in range(7)}
    answer = api.post(f"/api/tunix/runs/{run.run_id}/metrics", body)
    reason = "a run has at most 5 metrics; the first left out was 'm5' at step 1"
    assert (answer.status_code, answer.json()) == (200, {"stored": 10, "left_out": 4, "reason": reason})
    answer = api.post(f"/api/tunix/runs/{run.run_id}/metrics", {"m1": [{"step": 3, "value": 0}], "x": []})
    assert answer.json() == {"stored": 1}
    (notice,) = api.get(f"/api/tunix/runs/{run.run_id}").json()["notices"]
    assert (notice["kind"], notice["count"], notice["detail"]) == ("metric_points_omitted", 4, reason)

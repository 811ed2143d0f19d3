"""Metric series as plots, and how far a training is."""

import math
import re
import time
from datetime import timedelta
from itertools import accumulate

import pytest
from django.utils import timezone

from runs import charts, metrics, progress
from runs.tests.helpers import create_run, slowness

pytestmark = pytest.mark.django_db


@pytest.fixture
def run():
    return create_run(mode="local", status="running")


def log(run, name, values):
    metrics.append(run.run_id, {name: [(step, value, 1.7e9) for step, value in enumerate(values, 1)]})


def places(path):
    """Points of an SVG path, each with the letter before it."""
    return [(each[0], float(each[1]), float(each[2])) for each in re.findall(r"([ML])([\d.]+) (-?[\d.]+)", path)]


def plots(run):
    return {plot.name: plot for group in charts.groups(run) for plot in group.plots}


def test_a_series_becomes_a_line_from_corner_to_corner(run):
    log(run, "train/loss", [4, 2, 1])
    plot = plots(run)["train/loss"]
    assert (plot.last, plot.frame) == (1, charts.Frame(1, 3, 1, 4))
    assert places(plot.line) == [("M", 0, 0), ("L", 0, 0), ("L", 300, 80), ("L", 600, 120)]
    assert plot.raw == ""


def test_groups_are_the_models_first_and_each_loss_first(run):
    for name in ("system/cpu_percent", "perf/step_seconds", "eval/loss", "train/accuracy", "train/loss", "alone"):
        log(run, name, [1, 2])
    found = [(group.prefix, [plot.name for plot in group.plots], group.of_the_machine) for group in charts.groups(run)]
    assert found == [
        ("train/", ["train/loss", "train/accuracy"], False),
        ("", ["alone"], False),
        ("eval/", ["eval/loss"], False),
        ("perf/", ["perf/step_seconds"], True),
        ("system/", ["system/cpu_percent"], True),
    ]


def test_what_is_no_number_is_a_gap_and_a_lonely_point_is_seen(run):
    log(run, "train/loss", [1, math.nan, 3, math.inf, 2, 2])
    plot = plots(run)["train/loss"]
    assert [letter for letter, *_ in places(plot.line)] == ["M", "L", "M", "L", "M", "L", "L"]
    assert "nan" not in plot.line and "inf" not in plot.line and (plot.frame.low, plot.frame.high) == (1, 3)


def test_a_series_of_nothing_finite_is_drawn_as_that(run, client):
    log(run, "eval/acc", [math.nan] * 100)
    log(run, "mixed", [1, math.nan, math.nan, math.inf, 2, -math.inf])
    found = plots(run)
    plot = found["eval/acc"]
    assert plot.frame.is_blank and (plot.line, plot.raw) == ("", "") and math.isnan(plot.last)
    assert [(mark.path, mark.said) for mark in plot.marks] == [("M0 60H600", "NaN at steps 1–100")]
    assert [(mark.path, mark.said) for mark in found["mixed"].marks] == [
        ("M120 60H240", "NaN at steps 2–3"), ("M360 2H360", "+∞ at step 4"), ("M600 118H600", "−∞ at step 6"),
    ]  # fmt: skip
    page = client.get(f"/runs/{run.run_id}/").content.decode()
    assert 'data-plot="eval/acc"' in page and "NaN at steps 1–100" in page and "no finite value" in page
    assert '<span data-run="0">NaN</span>' in page and '<span data-run="0">−∞</span>' in page
    assert "nan" not in plot.line and charts.groups(run, charts.Scale(log=True))[0].plots


def test_several_that_are_nan(run, client):
    other = create_run(mode="local")
    for each in (run, other):
        log(each, "eval/acc", [math.nan] * 3)
        log(each, "x/loss", [math.inf] * 2)
    assert [overlay.said for overlay in charts.overlays([run, other])] == [["NaN at steps 1–3"], ["+∞ at steps 1–2"]]
    page = client.get(f"/compare/?run={run.run_id}&run={other.run_id}").content.decode()
    assert (
        page.count('data-plot="eval/acc"') == 1 and page.count("<td>NaN</td>") == 2 and page.count("<td>+∞</td>") == 2
    )
    assert 'class="differs">NaN' not in page


# --- ten thousand of them ---------------------------------------------------------------------------------------------


def many(run, count=10_000):
    batch = {f"grad_norm/layer_{n}": [(10, 1.0, 1.7e9)] for n in range(count - 4)}
    batch |= {name: [(1, 2.0, 1.7e9), (2, 1.0, 1.7e9)] for name in ("train/loss", "train/lr", "eval/acc", "system/cpu")}
    metrics.append(run.pk, batch)


def test_a_page_of_ten_thousand_metrics_is_small_and_quick(run, client):
    many(run)
    address = f"/runs/{run.run_id}/"
    client.get(address)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        page = client.get(address).content.decode()
        taken.append(time.perf_counter() - began)
    print(f"a page of 10,000 metrics: {min(taken):.3f} s, {len(page):,} bytes")
    assert min(taken) < 0.2 * slowness() and len(page) < 100_000
    assert re.findall('data-plot="([^"]+)"', page)[:3] == ["train/loss", "train/lr", "eval/acc"]
    assert page.count("data-plot=") == 4 + 12 and 'data-plot="system/cpu"' in page
    assert "The first 12 of 9,996" in page and "?metric=grad_norm%2F#run-charts" in page


def test_they_are_found_by_a_part_of_their_names_a_page_at_a_time(run, client):
    many(run, 1_000)
    page = client.get(f"/runs/{run.run_id}/?metric=LAYER_9").content.decode()
    assert page.count("data-plot=") == 60 and "Plots 1–60 of 107, of 1,000 metrics" in page
    assert "?metric=LAYER_9&amp;plots=2" in page and "All metrics" in page
    page = client.get(f"/runs/{run.run_id}/charts/?metric=LAYER_9&plots=2&scale=log").content.decode()
    assert page.count("data-plot=") == 47 and "Plots 61–107 of 107" in page
    assert "?scale=log&amp;metric=LAYER_9&amp;plots=2&amp;seen=" in page, "a poll asks for the same"
    assert "No metric has “nothing”" in client.get(f"/runs/{run.run_id}/?metric=nothing").content.decode()
    assert client.get(f"/runs/{run.run_id}/?metric=layer_9&plots=999").content.decode().count("data-plot=") == 47


def test_two_of_ten_thousand_are_compared_a_page_at_a_time(run, client):
    other = create_run(mode="local")
    many(run), many(other, 500)
    address = f"/compare/?run={run.run_id}&run={other.run_id}"
    page = client.get(address).content.decode()
    assert page.count("data-plot=") == 24 and 'data-plot="train/loss"' in page
    assert "Metrics 1–24 of 9,999, here and in the table" in page
    assert len(page) < 200_000
    page = client.get(address + "&metric=layer_77&plots=2").content.decode()
    assert "grad_norm/layer_77" in page and 'data-plot="train/loss"' not in page


def test_one_point_and_a_level_line_are_within_the_picture(run):
    log(run, "a", [5])
    log(run, "b", [5, 5, 5])
    for plot in plots(run).values():
        assert all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for _, x, y in places(plot.line))


def test_noise_is_averaged_and_a_smooth_line_is_not(run):
    log(run, "noisy", [n % 7 for n in range(200)])
    log(run, "smooth", [200 - n for n in range(200)])
    assert plots(run)["noisy"].raw and not plots(run)["smooth"].raw
    averaged = [y for _, _, y in places(plots(run)["noisy"].line)]
    assert max(averaged[50:]) - min(averaged[50:]) < charts.HEIGHT / 2


def test_a_plot_of_many_points_is_small(run):
    log(run, "train/loss", [math.sin(n / 100) for n in range(20_000)])
    assert len(plots(run)["train/loss"].line) < 12_000


def test_a_log_scale_has_no_place_for_what_is_not_above_zero(run):
    log(run, "a", [100, 10, 0, 1])
    log(run, "b", [0, -1])
    (plot,) = charts.groups(run, charts.Scale(log=True))[0].plots
    assert [round(y) for _, _, y in places(plot.line)] == [0, 0, 60, 120, 120] and plot.frame.middle == 10
    (overlay,) = charts.overlays([run], charts.Scale(log=True))
    assert overlay.frame == plot.frame


# --- progress ---------------------------------------------------------------------------------------------------------


def running(**columns):
    return create_run(mode="local", status="running", **columns)


def logged(run, seconds, name="train/loss", first=1):
    """A point a step, each so many seconds after the one before."""
    times = list(accumulate(seconds, initial=1.7e9))[1:]
    steps = range(first, first + len(times))
    metrics.append(run.run_id, {name: [(step, 0.5, time) for step, time in zip(steps, times, strict=True)]})
    run.step = steps[-1]


def test_progress_is_by_the_last_steps_alone():
    """A minute of start and compilation is not in their rate, and neither are an evaluation and a checkpoint."""
    run = running(total_steps=200, started_at=timezone.now() - timedelta(seconds=1000))
    assert progress.of(run) is None
    logged(run, [90, *[2] * 29, 40, *[2] * 19])
    found = progress.of(run)
    assert (found.percent, found.rate, found.seconds_left) == (25, 0.5, 300)


def test_progress_of_one_that_measures_its_steps():
    run = running(total_steps=200)
    logged(run, [90, *[2] * 49])
    metrics.append(
        run.run_id, {"perf/step_seconds": [(step, 9 if step < 30 else 0.25, 1.7e9) for step in range(2, 51)]}
    )
    assert (progress.of(run).rate, progress.of(run).seconds_left) == (4, 37.5)
    metrics.append(run.run_id, {"perf/step_seconds": [(step, math.nan, 1.7e9) for step in range(30, 51)]})
    assert progress.of(run).rate is None


def test_progress_of_one_that_was_resumed():
    """What was done before is not its own speed."""
    run = running(total_steps=200, provenance={"resumed_from_step": 100})
    logged(run, [60, *[4] * 24], first=101)
    assert (progress.of(run).step, progress.of(run).seconds_left) == (125, 300)


def test_progress_of_one_that_logs_now_and_then():
    run = running(total_steps=2000)
    metrics.append(
        run.run_id, {"eval/loss": [(100, 1, 1.7e9)], "train/loss": [(n, 1, 1.7e9 + n / 10) for n in range(0, 1001, 50)]}
    )
    run.step = 1000
    assert progress.of(run).seconds_left == pytest.approx(100)


def test_progress_that_cannot_be_known_is_not_shown():
    run = running(total_steps=200)
    metrics.append(run.run_id, {"system/cpu_percent": [(n, 1, 1.7e9 + n) for n in range(50)]})
    logged(run, [90])
    assert progress.of(run).rate is None and progress.of(run).seconds_left is None
    logged(run, [0] * 50)  # all at one time, by a trainer that writes at the end
    assert progress.of(run).rate is None


def test_progress_without_a_total_or_with_a_wrong_one():
    run = create_run(mode="local", status="running")
    run.step = 50
    assert (progress.of(run).total_steps, progress.of(run).percent, progress.of(run).seconds_left) == (None, None, None)
    run.total_steps = 40
    assert progress.of(run).total_steps is None


def test_one_that_has_ended_has_no_rate():
    run = create_run(mode="local", status="cancelled", step=10, total_steps=40)
    assert (progress.of(run).percent, progress.of(run).rate) == (25, None)


def test_a_part_of_the_steps_fills_the_plot(run):
    log(run, "train/loss", range(1, 5001))
    scale = charts.Scale(first=2000, last=2100)
    (plot,) = charts.groups(run, scale)[0].plots
    assert plot.frame == charts.Frame(2000, 2100, 2000, 2100)
    assert len(places(plot.line)) == 102, "every point of it is drawn"
    (overlay,) = charts.overlays([run], scale)
    assert overlay.frame == plot.frame
    assert charts.groups(run, charts.Scale(first=6000)) == []
    assert charts.overlays([run], charts.Scale(first=300, last=200)) == []


def test_a_scale_says_itself_as_an_address_does():
    scale = charts.Scale(log=True, first=0, last=7)
    assert scale.query == "?scale=log&first_step=0&last_step=7"
    assert (scale.whole.query, scale.other.query) == ("?scale=log", "?first_step=0&last_step=7")
    assert charts.Scale().query == ""


def test_noisy_lines_of_several_runs_are_averages_over_their_points(run):
    log(run, "train/loss", [n % 2 for n in range(100)])
    (overlay,) = charts.overlays([run])
    assert overlay.lines[0].raw and overlay.lines[0].line != overlay.lines[0].raw

"""A page that follows a log with nested progress bars, in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from runs import logs
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db(transaction=True)
BARS = Path(__file__).parents[1] / "logs" / "tqdm-nested.txt"


def test_bars_that_are_followed_are_a_row_each_and_lines_that_come_after_stand_below(site):
    run = create_run(mode="local", status="running")
    path = logs.path(run, "stdout")
    path.parent.mkdir(parents=True)
    written = BARS.read_bytes()
    path.write_bytes(b"begin\n" + written[:2_000])
    site.goto(f"{site.base}/runs/{run.run_id}/log/")
    rows = site.locator(".log li:not(.log-next) > code")
    expect(rows.first).to_have_text("begin")
    expect(rows.nth(2)).to_contain_text("batches:")
    for end in (9_000, 15_000, len(written)):
        path.write_bytes(b"begin\n" + written[:end])
        site.wait_for_timeout(3_500)
    path.write_bytes(b"begin\n" + written + b"and on\n")
    expect(rows.filter(has_text="and on")).to_be_visible(timeout=10_000)
    texts = [text for text in rows.all_inner_texts() if text.strip()]
    assert [text.split()[0] for text in texts] == ["begin", "epoch", "epoch", "epoch", "epochs:", "done", "and"]
    site.reload()
    again = [text for text in rows.all_inner_texts() if text.strip()]
    assert again == texts


def test_a_hit_in_a_bar_leads_to_the_line_as_it_was_written(site):
    run = create_run(mode="local", status="running")
    path = logs.path(run, "stdout")
    path.parent.mkdir(parents=True)
    path.write_bytes(BARS.read_bytes())
    site.goto(f"{site.base}/runs/{run.run_id}/")
    site.get_by_role("searchbox", name="Search stdout").fill(" 43/60")
    site.keyboard.press("Enter")
    hit = site.locator("#run-output mark").first
    expect(hit).to_have_text(" 43/60")
    site.locator(".log li a").first.click()
    expect(site.locator(".log li:target code")).to_contain_text(" 43/60")
    site.get_by_role("link", name="As a terminal shows it").click()
    expect(site.locator(".log li:not(.log-next) > code").filter(has_text=" 43/60")).to_have_count(0)

"""The "Run History" panel of the overview: the specification's six."""

import re

import pytest
from django.db import connection
from playwright.sync_api import expect

from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db(transaction=True)


def open_panel(site):
    site.goto(site.base)
    site.get_by_text("Run History").click()


def rows(site):
    return site.get_by_role("table", name="Run history").locator("tbody tr:not(.run-detail)")


def test_panel_is_collapsed_at_first(site):
    create_run()
    requests = []
    site.on("request", lambda request: requests.append(request.url))
    site.goto(site.base)
    expect(site.get_by_text("Run History")).to_be_visible()
    expect(site.get_by_role("button", name="Refresh")).to_be_hidden()
    site.wait_for_load_state("networkidle")
    assert not [url for url in requests if "history-panel" in url]


def test_panel_opens_and_fetches_runs(site):
    run = create_run(dataset_key="gsm8k-v1", model_id="google/gemma-2b-it", duration_seconds=24.2)
    open_panel(site)
    heads = site.get_by_role("table", name="Run history").get_by_role("columnheader")
    expect(heads).to_have_text(["Run ID", "Dataset", "Model", "Mode", "Status", "Started At", "Duration", "Actions"])
    row = rows(site)
    expect(row).to_have_count(1)
    for text in (run.short_id, "gsm8k-v1", "google/gemma-2b-it", "dry-run", "Completed", "24 s"):
        expect(row).to_contain_text(text)


def test_panel_says_when_there_are_no_runs(site):
    open_panel(site)
    expect(site.get_by_text("No runs found")).to_be_visible()


def test_refresh_fetches_new_data(site):
    open_panel(site)
    expect(site.get_by_text("No runs found")).to_be_visible()
    run = create_run()
    site.get_by_role("button", name="Refresh").click()
    expect(rows(site)).to_contain_text(run.short_id)


def test_view_opens_and_closes_details(site):
    run = create_run(stdout="loss 0.26\n", stderr="a warning", message="Dry-run validation successful")
    open_panel(site)
    button = site.get_by_role("button", name=f"View run {run.short_id}")
    button.click()
    output = site.get_by_role("region", name=f"stdout of run {run.short_id}")
    expect(output).to_have_text("loss 0.26")
    expect(site.get_by_role("region", name=f"stderr of run {run.short_id}")).to_have_text("a warning")
    assert "mono" in output.evaluate("element => getComputedStyle(element).fontFamily").lower()
    expect(site.get_by_text("Dry-run validation successful")).to_be_visible()
    site.get_by_role("button", name=f"Close run {run.short_id}").click()
    expect(output).to_be_hidden()
    expect(button).to_have_attribute("aria-expanded", "false")


def test_an_error_of_the_server_is_said_in_words(site):
    open_panel(site)
    expect(site.get_by_text("No runs found")).to_be_visible()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tunix_runs RENAME TO tunix_runs_away")
    try:
        site.get_by_role("button", name="Refresh").click()
        expect(site.locator("#run-history [role=alert]")).to_have_text(re.compile("database|server"))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE tunix_runs_away RENAME TO tunix_runs")
    site.get_by_role("button", name="Refresh").click()
    expect(site.locator("#run-history [role=alert]")).to_be_hidden()


def test_a_server_that_cannot_be_reached_is_said_in_words(site):
    open_panel(site)
    expect(site.get_by_text("No runs found")).to_be_visible()
    site.context.set_offline(True)
    site.get_by_role("button", name="Refresh").click()
    expect(site.locator("#run-history [role=alert]")).to_contain_text("The server cannot be reached")

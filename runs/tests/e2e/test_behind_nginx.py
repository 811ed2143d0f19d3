"""Chromium before nginx before the server, below /tunix/: no request leaves the prefix, and none finds nothing."""

import re
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urldefrag, urlparse

import pytest
from django.conf import settings
from playwright.sync_api import Error, expect

from runs.tests.accounts import PASSWORD, server_with_people
from runs.tests.execution.engine import TRAINER
from runs.tests.helpers import arithmetic_rows
from runs.tests.nginx import HOST, nginx_before

COMMAND = f"{sys.executable} {TRAINER} lines=200,metrics=20,checkpoint=5,sleep=4"
# Of one page, so many of its views: a list has an order for each column, both ways.
VIEWS_OF_A_PAGE = 2


@pytest.fixture(scope="module", params=["passed on", "taken off"])
def site(request, tmp_path_factory):
    """The address behind nginx, which passes the prefix on or takes it off."""
    directory = tmp_path_factory.mktemp("nginx")
    environment = {
        "TUNIX_RT_PREFIX": "/tunix",
        "TUNIX_RT_PROXIES": "1",
        "ALLOWED_HOSTS": f"localhost,127.0.0.1,{HOST}",
        "TUNIX_COMMAND": COMMAND,
        "TUNIX_RT_HEARTBEAT_SECONDS": "1",
        "TUNIX_RT_LEASE_SECONDS": "60",
    }
    with (
        server_with_people(directory / "server", **environment) as server,
        dispatcher(server),
        nginx_before(server, directory / "nginx", takes_prefix_off=request.param == "taken off") as address,
    ):
        yield address


@contextmanager
def dispatcher(server):
    with (server.home / "dispatcher.log").open("wb") as log:
        command = [sys.executable, "manage.py", "dispatcher"]
        process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=server.environment, stdout=log, stderr=log)
    yield
    process.terminate()
    process.wait(30)


@pytest.fixture
def asked(context):
    """What the browser has asked for: addresses with their status, none where there was no answer."""
    found = {}
    context.on("response", lambda response: found.setdefault(response.url, response.status))
    context.on("requestfailed", lambda request: found.setdefault(request.url, None))
    return found


@pytest.fixture
def browser_context_args(browser_context_args):
    return browser_context_args | {"ignore_https_errors": True}


def sign_in(page, site, name="admin"):
    page.set_default_timeout(20_000)
    page.goto(f"{site}/runs/")
    assert page.url == f"{site}/login/?next=/tunix/runs/"
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{site}/runs/")


def nothing_outside(asked, site):
    assert len(asked) > 5
    assert [url for url in asked if url != site and not url.startswith((f"{site}/", "data:"))] == []
    assert [(url, status) for url, status in asked.items() if status is not None and status >= 400] == []


def launch(page, site):
    """A dataset, a dry run and a local run that has ended; the local run's page is open."""
    page.goto(f"{site}/")
    page.get_by_text("Upload another…").click()
    page.get_by_label("Name").fill("sums")
    rows = {"name": "rows.jsonl", "mimeType": "text/plain", "buffer": arithmetic_rows()}
    page.get_by_label("File of rows").set_input_files(rows)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_text(re.compile("sums-v1 (is stored|was here already)"))).to_be_visible()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("Dry run passed in")).to_be_visible()
    page.get_by_role("button", name="Train").click()
    page.wait_for_url(re.compile(f"{site}/runs/[0-9a-f-]{{36}}/"))
    expect(page.get_by_text("line 199", exact=True).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=60_000)


def test_a_run_is_launched_followed_deleted_and_restored(page, site, asked):
    sign_in(page, site)
    launch(page, site)
    run = re.search("[0-9a-f-]{36}", page.url)[0]
    page.goto(f"{site}/runs/{run}/log/")
    page.get_by_role("search", name="Search the log").get_by_role("searchbox").fill("line 7")
    page.keyboard.press("Enter")
    expect(page.get_by_text("line 77")).to_be_visible()
    with page.expect_download() as download:
        page.locator("a[href*='/logs/download']").click()
    assert b"line 199\n" in download.value.path().read_bytes()
    page.goto(f"{site}/")
    page.get_by_text("Run History").click()
    page.get_by_role("button", name="View").first.click()
    expect(page.get_by_text(run).first).to_be_visible()
    page.goto(f"{site}/runs/{run}/")
    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("button", name=re.compile("Delete run")).click()
    expect(page).to_have_url(f"{site}/runs/")
    page.goto(f"{site}/trash/")
    page.get_by_role("button", name=re.compile("Restore run")).click()
    page.goto(f"{site}/runs/{run}/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("on sums-v1")
    page.goto(f"{site}/runs/")
    for box in page.locator("#results .pick input[name=run]").all()[:2]:
        box.check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare 2 runs")).to_be_visible()
    cookies = page.context.cookies()
    assert {cookie["name"] for cookie in cookies} >= {"sessionid", "csrftoken"}
    assert {(cookie["path"], cookie["secure"]) for cookie in cookies} == {("/tunix", True)}
    page.get_by_label("More").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{site}/login/")
    page.goto(f"{site}/runs/")
    expect(page).to_have_url(f"{site}/login/?next=/tunix/runs/")
    nothing_outside(asked, site)


def test_swagger_ui_and_the_browsable_api_ask_below_the_prefix(page, site, asked):
    sign_in(page, site)
    page.goto(f"{site}/api/docs")
    page.get_by_role("button", name="GET /api/tunix/status", exact=True).click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".request-url")).to_contain_text(f"{site}/api/tunix/status")
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
    page.goto(f"{site}/api/tunix/runs")
    page.get_by_role("link", name="Api Launch").or_(page.locator(".breadcrumb a")).first.click()
    nothing_outside(asked, site)


# What the server gives out is the same either way, and many pages take a while.
@pytest.mark.parametrize("site", ["passed on"], indirect=True, scope="module")
def test_every_page_is_found_by_its_links(page, site, asked):
    sign_in(page, site)
    launch(page, site)
    todo, seen, views = [site, page.url], set(), {}
    while todo:
        url = todo.pop(0)
        path = urlparse(url).path
        if url in seen or views.get(path, 0) >= VIEWS_OF_A_PAGE:
            continue
        seen.add(url)
        views[path] = views.get(path, 0) + 1
        todo += links_at(page, url)
    pages = {re.sub("[0-9a-f]{8}-[0-9a-f-]{27}", "…", urlparse(url).path) for url in seen}
    print(f"{len(seen)} addresses, {len(pages)} pages, {len(asked)} requests")
    for expected in ("/tunix/runs/…/log/", "/tunix/datasets/sums-v1/", "/tunix/admin/runs/event/", "/tunix/api/docs",
                     "/tunix/events/", "/tunix/account/", "/tunix/trash/", "/tunix/api/tunix/runs/…/checkpoints/5/download"):  # fmt: skip
        assert expected in pages
    nothing_outside(asked, site)


def links_at(page, url):
    """Follows a link as a browser does, and gives the links of this site that are on the page."""
    try:
        page.goto(url)
    except Error as error:
        if "Download is starting" not in str(error):
            raise
        return []
    found = page.eval_on_selector_all("a[href]", "all => all.map((each) => each.href)")
    here = f"{urlparse(url).scheme}://{urlparse(url).netloc}/"
    return [urldefrag(each)[0] for each in found if each.startswith(here)]


def test_what_is_not_there_is_said_with_links_that_lead_back(page, site, asked):
    sign_in(page, site)
    for path in ("/nothing", "/runs/nothing/", "/datasets/nothing/", "/admin/nothing/"):
        assert page.goto(f"{site}{path}").status == 404
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        found = page.eval_on_selector_all("a[href]", "all => all.map((each) => each.href)")
        assert found and [each for each in found if not each.startswith(f"{site}/")] == []
    page.get_by_role("link", name="All runs").click()
    expect(page).to_have_url(f"{site}/runs/")
    assert page.goto(f"{site}/admin").status == 200
    assert page.url == f"{site}/admin/"
    assert [url for url in asked if not url.startswith(f"{site}/")] == []


def test_health_is_asked_with_and_without_the_prefix(page, site):
    answer = page.goto(f"{site}/healthz")
    assert answer.status == 200
    sign_in(page, site)
    assert page.goto(f"{site}/readyz").status == 200

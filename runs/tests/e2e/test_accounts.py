"""Signing in, one's own account and tokens, and what each role is shown, in a browser, on a server that requires it."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import expect

from runs.tests.accounts import PASSWORD, server_with_people


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with server_with_people(tmp_path_factory.mktemp("accounts") / "server") as server:
        server.manage("bootstrap")
        yield server


@pytest.fixture
def enter(page, server):
    """Signs somebody in, and gives the page."""
    page.base = f"http://localhost:{server.port}"
    page.set_default_timeout(10_000)

    def sign_in(name):
        page.goto(f"{page.base}/login/")
        page.get_by_label("User name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        return page

    return sign_in


def test_a_token_is_made_used_and_revoked(enter, server):
    page = enter("operator")
    page.get_by_label("More").click()
    page.get_by_role("link", name="Account and tokens").click()
    expect(page.get_by_text("Role: operator")).to_be_visible()
    page.get_by_label("What is it for?").fill("nightly sweep")
    page.get_by_label("It may").select_option("write")
    page.get_by_role("button", name="Make it").click()
    token = page.locator("code.token").text_content()
    assert re.fullmatch(r"trt_[0-9a-f]{64}", token)
    bearer = {"Authorization": f"Bearer {token}"}
    assert server.get("/api/tunix/runs", **bearer).status_code == 200
    page.goto(f"{page.base}/account/")
    expect(page.get_by_text(token)).to_have_count(0)
    page.get_by_role("button", name="Revoke nightly sweep").click()
    expect(page.get_by_text("The token “nightly sweep” is revoked.")).to_be_visible()
    assert server.get("/api/tunix/runs", **bearer).status_code == 401


def test_a_viewer_reads_and_is_offered_nothing_else(enter):
    page = enter("viewer")
    expect(page.get_by_role("heading", name="Launch a run")).to_have_count(0)
    page.goto(f"{page.base}/runs/")
    page.locator("#results a.id").first.click()
    expect(page.get_by_role("link", name="As JSON").first).to_be_visible()
    for name in ("Repeat…", "Delete…"):
        expect(page.get_by_role("link", name=name)).to_have_count(0)
    expect(page.get_by_text("Retry…")).to_have_count(0)


def test_who_has_no_role_is_told(enter):
    page = enter("nobody")
    expect(page.get_by_text("Someone who administers this server gives it one")).to_be_visible()
    page.goto(f"{page.base}/account/")
    expect(page.get_by_text("Role: none")).to_be_visible()


def test_a_password_is_changed(enter):
    page = enter("nobody")
    page.goto(f"{page.base}/account/password/")
    page.get_by_label("Old password").fill(PASSWORD)
    page.get_by_label("New password", exact=True).fill(PASSWORD + "!")
    page.get_by_label("New password confirmation").fill(PASSWORD + "!")
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_text("Your password is changed.")).to_be_visible()
    page.goto(f"{page.base}/account/password/")
    page.get_by_label("Old password").fill(PASSWORD + "!")
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_text("Your password is changed.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_for_everybody(enter, scheme):
    page = enter("admin")
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for path in ("/", "/runs/", "/account/", "/account/password/", "/events/"):
        page.goto(page.base + path)
        for width in (390, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} at {width}"
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path} in {scheme}: {found.generate_report()}"
        name = f"as admin {path.strip('/').replace('/', ' ') or 'overview'} {scheme}.png"
        page.screenshot(path=Path(settings.BASE_DIR) / "screenshots" / name, full_page=True)

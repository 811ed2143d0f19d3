"""What a page of another site can do to a server without a login, in a real browser: nothing."""

from urllib.parse import urlparse

import pytest
from playwright.sync_api import expect

from runs.models import Event, TunixRun
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db(transaction=True)
EVIL = "http://evil.example"
SMUGGLED = '{"dataset_key": "arithmetic-v1", "model_id": "a/b", "x": "'

FORM = """<form id="f" method="post" action="{action}" enctype="{enctype}">{fields}</form><script>f.submit()</script>"""
FETCH = """<p id="p">waits</p><script>
fetch("{action}", {{method: "{method}", mode: "{mode}", credentials: "include", headers: {headers}, body: {body}}})
  .then((answer) => p.textContent = "answered " + answer.type, (error) => p.textContent = "failed");
</script>"""


def visit(page, html):
    """A page of evil.example with this in it."""
    page.route(f"{EVIL}/**", lambda route: route.fulfill(body=f"<!doctype html>{html}", content_type="text/html"))
    page.goto(f"{EVIL}/")


def state():
    """All that could be changed."""
    return list(
        TunixRun.objects.order_by("pk").values_list("pk", "status", "deleted_at", "cancel_requested_at", "notes")
    )


@pytest.fixture
def target(live_server, dataset):
    waits = create_run(mode="local", status="pending")
    ended = create_run()
    return live_server.url, waits, ended


def forms(base, waits, ended):
    fields = '<input name="dataset_key" value="arithmetic-v1"><input name="model_id" value="a/b"><input name="sure" value="on">'
    yield "/launch/", "application/x-www-form-urlencoded", fields
    yield f"/runs/{waits.run_id}/cancel/", "application/x-www-form-urlencoded", fields
    yield f"/runs/{ended.run_id}/delete/", "multipart/form-data", fields
    yield (
        "/runs/bulk/",
        "application/x-www-form-urlencoded",
        f'<input name="action" value="delete"><input name="run" value="{ended.run_id}"><input name="sure" value="on">',
    )
    yield "/trash/", "text/plain", fields
    # A form of plain text whose one line happens to be JSON.
    yield "/api/tunix/run", "text/plain", f"<input name='{SMUGGLED}' value='\"}}'>"
    yield f"/api/tunix/runs/{waits.run_id}/cancel", "text/plain", fields
    yield (
        f"/api/tunix/runs/{ended.run_id}/retry",
        "text/plain",
        '<input name=\'{"resume": false, "x": "\' value=\'"}\'>',
    )


def test_no_form_of_another_site_is_heeded(page, target):
    base, waits, ended = target
    before = state()
    for path, enctype, fields in forms(base, waits, ended):
        visit(page, FORM.format(action=base + path, enctype=enctype, fields=fields))
        page.wait_for_url(f"{base}{path}")
        expect(page.locator("body")).to_contain_text("A page of another site may not change anything here.")
    assert state() == before
    assert not Event.objects.filter(run_id__in=[waits.run_id, ended.run_id]).exists()


@pytest.mark.parametrize(
    ("method", "path", "mode", "headers", "body"),
    [
        (
            "POST",
            "/api/tunix/run",
            "no-cors",
            "{'Content-Type': 'text/plain'}",
            '\'{"dataset_key": "arithmetic-v1", "model_id": "a/b"}\'',
        ),
        (
            "POST",
            "/api/tunix/run",
            "cors",
            "{'Content-Type': 'application/json'}",
            '\'{"dataset_key": "arithmetic-v1", "model_id": "a/b"}\'',
        ),
        ("DELETE", "/api/tunix/runs/{ended}", "cors", "{}", "null"),
        ("PATCH", "/api/tunix/runs/{ended}", "cors", "{'Content-Type': 'application/json'}", '\'{"notes": "x"}\''),
        ("POST", "/api/tunix/runs/{waits}/cancel", "no-cors", "{}", "''"),
        (
            "POST",
            "/api/datasets?dataset_name=evil&dataset_version=v1",
            "no-cors",
            "{'Content-Type': 'text/plain'}",
            "'{}'",
        ),
    ],
)
def test_no_script_of_another_site_is_heeded(page, target, method, path, mode, headers, body):
    base, waits, ended = target
    before = state()
    action = base + path.format(waits=waits.run_id, ended=ended.run_id)
    visit(page, FETCH.format(action=action, method=method, mode=mode, headers=headers, body=body))
    expect(page.locator("#p")).not_to_have_text("waits")
    assert page.locator("#p").text_content() in ("failed", "answered opaque")
    assert state() == before
    assert not Event.objects.filter(run_id__in=[waits.run_id, ended.run_id]).exists()


def test_no_script_of_another_site_reads_anything(page, target):
    base, _, ended = target
    for path in ("/api/tunix/runs", f"/api/tunix/runs/{ended.run_id}/logs", "/", "/metrics", "/events.jsonl"):
        visit(page, FETCH.format(action=base + path, method="GET", mode="cors", headers="{}", body="null"))
        expect(page.locator("#p")).to_have_text("failed")
    visit(page, f'<iframe id="i" src="{base}/"></iframe>')
    page.wait_for_timeout(500)
    frames = [frame for frame in page.frames if frame.url.startswith(base)]
    assert not any("Launch a run" in frame.content() for frame in frames), "it is shown in no frame of another's"


def test_a_name_that_was_bound_anew_is_not_answered(browser_type, browser_type_launch_args, target):
    """DNS rebinding: evil.example is this machine now, so that the browser takes its page for one of ours."""
    base, _, ended = target
    before = state()
    args = [*browser_type_launch_args["args"], "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    browser = browser_type.launch(**browser_type_launch_args | {"args": args})
    page = browser.new_page()
    evil = f"{EVIL}:{urlparse(base).port}"
    assert page.goto(f"{evil}/api/tunix/runs").status == 400
    asked = f"""fetch("/api/tunix/runs/{ended.run_id}", {{method: "DELETE"}}).then((answer) => answer.status)"""
    assert page.evaluate(asked) == 400
    assert page.evaluate('fetch("/runs/").then((answer) => answer.status)') == 400
    browser.close()
    assert state() == before

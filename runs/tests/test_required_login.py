"""TUNIX_RT_AUTH=required: a real server that lets nobody in without a login, and everybody in with one."""

from urllib.parse import urlencode

import pytest

from runs.tests.accounts import FORM, PASSWORD, Browser, token_in
from runs.tests.databases import new_database
from runs.tests.helpers import LAUNCH, NOBODY, arithmetic_rows
from runs.tests.server import running_server

NO_LOGIN = {"detail": "Authentication credentials were not provided."}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("required") / "server"
    home.mkdir()
    with (
        new_database(home) as database,
        running_server(home, database.url, pages=True, TUNIX_RT_AUTH="required", ADMIN_PASSWORD=PASSWORD) as server,
    ):
        server.manage("first_admin")
        yield server


@pytest.fixture
def stranger(server):
    return Browser(server)


@pytest.fixture
def admin(server):
    browser = Browser(server)
    assert browser.log_in().status_code == 302
    return browser


CALLS = [
    ("POST", "/api/tunix/run", LAUNCH),
    ("GET", "/api/tunix/runs", None),
    ("GET", f"/api/tunix/runs/{NOBODY}", None),
    ("PATCH", f"/api/tunix/runs/{NOBODY}", {"notes": "x"}),
    ("DELETE", f"/api/tunix/runs/{NOBODY}", None),
    ("POST", f"/api/tunix/runs/{NOBODY}/restore", None),
    ("GET", "/api/tunix/status", None),
    ("GET", "/api/datasets", None),
    ("POST", "/api/datasets?dataset_name=mine&dataset_version=v1", b""),
    ("GET", "/api/datasets/mine-v1", None),
    ("GET", "/api/datasets/mine-v1/data", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_no_call_of_the_api_is_for_strangers(stranger, method, path, body):
    answer = stranger.ask(method, path, body)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == NO_LOGIN


@pytest.mark.parametrize("path", ["/api/schema", "/api/docs"])
def test_the_document_is_not_for_strangers_either(stranger, path):
    answer = stranger.ask("GET", path)
    assert answer.status_code == 401
    assert b"/api/tunix/runs" not in answer.content


@pytest.mark.parametrize(
    "path", ["/", "/runs/", f"/runs/{NOBODY}/", "/datasets/", "/datasets/a-v1/", "/history-panel/"]
)
def test_every_page_asks_for_the_login(stranger, path):
    answer = stranger.ask("GET", path)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/login/?next={path}"


def test_the_admin_asks_for_a_login_too(stranger):
    answer = stranger.ask("GET", "/admin/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/login/?next=/admin/")


def test_a_form_of_a_stranger_does_nothing(stranger, admin):
    before = admin.ask("GET", "/api/tunix/runs").content
    answer = stranger.ask("POST", "/launch/", urlencode(LAUNCH).encode(), **{"Content-Type": FORM})
    assert answer.status_code in (302, 403)
    assert admin.ask("GET", "/api/tunix/runs").content == before


@pytest.mark.parametrize("path", ["/healthz"])
def test_whoever_watches_the_server_needs_no_login(stranger, path):
    assert stranger.ask("GET", path).status_code == 200


def test_the_login_page_is_for_everybody(stranger):
    assert stranger.ask("GET", "/login/").status_code == 200


def test_a_wrong_password_lets_nobody_in(stranger):
    assert stranger.log_in(password="wrong").status_code == 200
    assert stranger.ask("GET", "/api/tunix/runs").status_code == 401


def test_after_the_login_everything_works(admin):
    address = "/api/datasets?dataset_name=arithmetic&dataset_version=v1"
    stored = admin.ask("POST", address, arithmetic_rows(), **admin.token, **{"Content-Type": "application/x-ndjson"})
    assert stored.status_code in (200, 201)
    answer = admin.ask("POST", "/api/tunix/run", LAUNCH, **admin.token)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.json()["owner"] == "admin"
    run_id = answer.json()["run_id"]
    assert admin.ask("GET", f"/api/tunix/runs/{run_id}").json()["owner"] == "admin"
    assert admin.ask("PATCH", f"/api/tunix/runs/{run_id}", {"notes": "x"}, **admin.token).status_code == 200
    for path in ("/", "/runs/", f"/runs/{run_id}/", "/datasets/", "/api/schema", "/api/docs", "/admin/"):
        assert admin.ask("GET", path).status_code == 200
    assert admin.ask("DELETE", f"/api/tunix/runs/{run_id}", **admin.token).status_code == 204


def test_a_form_that_is_cut_off_leaves_nothing_here_either(admin):
    """Here Django reads the form before our parser does, to look for its token."""
    rows = arithmetic_rows(1000)
    body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + rows
    cookie = "; ".join(f"{name}={value}" for name, value in admin.cookies.items())
    head = (
        "POST /api/datasets?dataset_name=cut&dataset_version=v1 HTTP/1.1\r\nHost: localhost\r\n"
        f"Cookie: {cookie}\r\nX-CSRFToken: {admin.cookies['csrftoken']}\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {len(body) + 9}\r\n\r\n"
    )
    answer = admin.server.send_raw(head.encode() + body)
    assert (answer.status_code, answer.json()["detail"]) == (422, "file is required")
    assert admin.ask("GET", "/api/datasets/cut-v1").status_code == 404


def test_a_write_without_the_token_is_refused(admin):
    before = admin.ask("GET", "/api/tunix/runs").content
    answer = admin.ask("POST", "/api/tunix/run", LAUNCH)
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]
    assert admin.ask("GET", "/api/tunix/runs").content == before


def test_a_page_of_another_site_is_refused(admin):
    answer = admin.ask("POST", "/api/tunix/run", LAUNCH, **admin.token, **{"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "A page of another site may not change anything here.",
    )


def test_after_the_logout_nothing_works(admin):
    form = admin.ask("GET", "/").content.decode()
    fields = urlencode({"csrfmiddlewaretoken": token_in(form)}).encode()
    answer = admin.ask("POST", "/logout/", fields, **{"Content-Type": FORM})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login/")
    assert admin.ask("GET", "/api/tunix/runs").status_code == 401


def test_an_address_that_is_not_there_is_404_for_strangers_too(stranger):
    answer = stranger.ask("GET", "/api/nothing")
    assert (answer.status_code, answer.json()) == (404, {"detail": "There is nothing at this address."})


def test_the_cookie_of_the_login_is_not_for_scripts(server):
    browser = Browser(server)
    answer = browser.log_in()
    (session,) = [each for each in answer.headers.get_all("Set-Cookie") if each.startswith("sessionid=")]
    assert "HttpOnly" in session and "SameSite=Lax" in session

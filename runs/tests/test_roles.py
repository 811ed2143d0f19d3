"""Every address × every role × every method, asked of a real server; and what a token's scope takes away."""

import itertools
import json
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

import pytest

from runs.access import Right
from runs.tests.accounts import FORM, PASSWORD, ROLES, Browser, server_with_people
from runs.tests.addresses import addresses
from runs.tests.helpers import LAUNCH, NOBODY, arithmetic_rows

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
SAFE = METHODS[:3]
RANK = {"stranger": 0, "nobody": 0, "viewer": 1, "operator": 2, "admin": 3, "superuser": 4}
NOBODY_MAY = 5
NEEDS = {Right.VIEW: 1, Right.OPERATE: 2, Right.ADMINISTER: 3}
# Each takes a run of its own: some of these free it.
RUNS = 1_200
MAKE_RUNS = f"""
from runs.tests.helpers import create_run
for _ in range({RUNS}):
    print(create_run().run_id)
"""

MAKE_SUPERUSER = f"""
from django.contrib.auth.models import User
User.objects.create_superuser("superuser", password={PASSWORD!r})
"""

# What differs from the rule: reading takes viewer, all else operator.
ADMINISTER = {
    ("api-run", "DELETE"), ("api-restore", "POST"), ("run-restore", "POST"), ("trash", "POST"),
    *((name, method) for name in ("run-delete", "events", "events-export") for method in ("GET", "HEAD", "POST")),
}  # fmt: skip
# Of whoever is signed in, or of nobody.
OF_NO_ROLE = {"account", "password", "token-revoke", "login", "logout", "/favicon.ico", "healthz", "admin:login"}
OPEN_TO_STRANGERS = {"login", "logout", "/favicon.ico", "healthz", "admin:login"}
LOGOUTS = {"logout", "admin:logout"}
# Of the admin, which is for the role admin alone, what even it may not: to give roles their rights, to delete an account.
# What an execution wrote and who did what is changed by nobody, superusers included.
NEVER_IN_THE_ADMIN = {
    ("admin:runs_event_change", "POST"),
    # Of no field that has one.
    ("admin:autocomplete", "GET"), ("admin:autocomplete", "HEAD"),
    *((f"admin:runs_{model}_{act}", method) for model in ("event", "tunixrun") for act in ("add", "delete") for method in METHODS),
}  # fmt: skip
SUPERUSERS_ONLY = {
    ("admin:auth_group_change", "POST"),
    *((f"admin:auth_{what}", method) for what in ("group_add", "group_delete", "user_delete") for method in METHODS),
}  # fmt: skip


def needed(name, method):
    if name in OF_NO_ROLE:
        return 0
    if (name, method) in NEVER_IN_THE_ADMIN:
        return NOBODY_MAY
    if (name, method) in SUPERUSERS_ONLY:
        return RANK["superuser"]
    if name.startswith(("admin:", "/admin/")):
        return NEEDS[Right.ADMINISTER]
    if (name, method) in ADMINISTER:
        return NEEDS[Right.ADMINISTER]
    return NEEDS[Right.VIEW if method in SAFE else Right.OPERATE]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("roles") / "server"
    with server_with_people(home, TUNIX_RT_LAUNCHES_PER_MINUTE="0") as server:
        server.manage("shell", "--verbosity=0", "-c", MAKE_SUPERUSER)
        server.runs = iter(server.manage("shell", "--verbosity=0", "-c", MAKE_RUNS).split())
        yield server


@pytest.fixture(scope="module")
def people(server):
    found = {"stranger": Browser(server)}
    for role in (*ROLES, "superuser"):
        found[role] = Browser(server)
        assert found[role].log_in(role).status_code == 302
    return found


def verdict(answer):
    if answer.status_code in (401, 403) or answer.headers.get("Location", "").startswith(("/login/", "/admin/login/")):
        return "refused"
    return (
        "allowed" if answer.status_code < 500 or answer.status_code in (501, 503) else f"broken: {answer.status_code}"
    )


def test_every_address_for_every_role_and_method(server, people):
    asked, holes = 0, []
    for (name, path), method in itertools.product(addresses(), METHODS):
        for role, browser in people.items():
            if name in LOGOUTS and role != "stranger":
                continue  # it would
            run = next(server.runs) if "{run}" in path and method not in SAFE else NOBODY
            # A body that is wrong in itself: what may be done is refused for it, after the role.
            answer = browser.ask(method, path.format(run=run), b"", **browser.token)
            free = name in OPEN_TO_STRANGERS or (name in OF_NO_ROLE and role != "stranger")
            wanted = "allowed" if free or (role != "stranger" and RANK[role] >= needed(name, method)) else "refused"
            asked += 1
            if role == "stranger" and name in OPEN_TO_STRANGERS:
                continue  # a form without its cookie is refused for that
            if answer.status_code != 405 and verdict(answer) != wanted:
                holes.append(f"{method} {path} as {role}: {answer.status_code}, {wanted} is right")
    print(f"{asked:,} requests: {len(list(addresses()))} addresses, {len(METHODS)} methods, {len(people)} roles")
    assert not holes, "\n".join(holes)
    assert asked > 3_000


def test_what_was_refused_did_not_happen(server, people):
    """A run of its own for each act; the record says the same afterwards."""
    acts = [
        ("viewer", "POST", "/api/tunix/runs/{run}/retry", {}),
        ("viewer", "PATCH", "/api/tunix/runs/{run}", {"notes": "x"}),
        ("viewer", "POST", "/api/tunix/run", LAUNCH),
        ("viewer", "POST", "/runs/{run}/retry/", {}),
        ("operator", "DELETE", "/api/tunix/runs/{run}?purge=true", None),
        ("operator", "POST", "/runs/{run}/delete/", {}),
        ("operator", "POST", "/trash/", {}),
    ]
    admin = people["admin"]
    before = json.loads(admin.ask("GET", "/api/tunix/runs?limit=100").content)
    for role, method, path, body in acts:
        run = next(server.runs)
        record = admin.ask("GET", f"/api/tunix/runs/{run}").json()
        answer = people[role].ask(method, path.format(run=run), body, **people[role].token)
        assert answer.status_code == 403, (path, answer.content)
        assert admin.ask("GET", f"/api/tunix/runs/{run}").json() == record
    assert json.loads(admin.ask("GET", "/api/tunix/runs?limit=100").content) == before
    assert "Traceback" not in server.log, "a refusal is a line"


@pytest.mark.parametrize(("role", "action"), [("viewer", "tag"), ("viewer", "cancel"), ("operator", "delete")])
def test_several_at_once_are_refused_alike(server, people, role, action):
    run = next(server.runs)
    answer = people[role].send("/runs/bulk/", action=action, run=run, sure="on", tag="x")
    assert answer.status_code == 403
    assert b"it takes the role" in answer.content
    assert people["viewer"].send("/runs/bulk/", action="compare", run=run).status_code == 302


def test_no_page_shows_a_button_that_would_be_refused(server, people):
    run = next(server.runs)
    acts = {
        "operator": [b"Retry", b'action="/launch/"', b"Keep this view", b"Add tag", b'id="upload-form"', b">Edit<"],
        "admin": [b"Delete\xe2\x80\xa6", b"/events/", b'"/admin/"'],
    }
    pages = ["/", "/runs/?status=completed", f"/runs/{run}/", "/datasets/", "/trash/"]
    for role in ("viewer", "operator", "admin"):
        seen = b"".join(people[role].ask("GET", page).content for page in pages)
        for needs, marks in acts.items():
            for mark in marks:
                assert (mark in seen) == (RANK[role] >= RANK[needs]), f"{mark!r} for {role}"


class Offers(HTMLParser):
    """What a page offers: method, address and body of each form by each of its buttons, and of each link to us."""

    def __init__(self, path, html):
        super().__init__()
        self.path, self.found, self.form, self.buttons = path, set(), None, 0
        self.feed(html)

    def offer(self, method, address, body=""):
        address = urljoin(self.path, address or self.path).partition("#")[0]
        to_us = address.startswith("/") and not address.startswith(("/static/", "/logout/"))
        if to_us and method != "dialog":
            self.found.add((method.upper(), address, body))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":  # DRF's have their method beside it
            self.form, self.buttons = (given.get("data-method") or given.get("method") or "get", given.get("action")), 0
        elif tag == "button" and self.form and given.get("type") != "button":
            self.buttons += 1
            method = given.get("data-method") or given.get("formmethod") or self.form[0]
            body = urlencode({given["name"]: given.get("value", "")}) if "name" in given else ""
            self.offer(method, given.get("formaction") or self.form[1], body)
        elif tag == "a" and "href" in given:
            self.offer("get", given["href"])
        for method in ("get", "post", "put", "patch", "delete"):
            if f"hx-{method}" in given and tag != "form":
                self.offer(method, given[f"hx-{method}"])

    def handle_endtag(self, tag):
        if tag == "form" and self.form:
            if not self.buttons:
                self.offer(*self.form)
            self.form = None


MAKE_ONE_OF_EACH = """
from runs.models import TunixRun
from runs.tests.helpers import create_run
from django.utils import timezone
runs = [create_run(mode="local", status=status) for status in TunixRun.Status.values] + [create_run(status="failed")]
create_run(deleted_at=timezone.now())
print(*[run.run_id for run in runs])
"""


@pytest.fixture(scope="module")
def one_of_each(server):
    """A run of each status, one in the trash, a dataset, a kept view."""
    return server.manage("shell", "--verbosity=0", "-c", MAKE_ONE_OF_EACH).split()


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_nothing_that_a_page_offers_is_refused(server, people, one_of_each, role):
    rows_are = {"Content-Type": "application/x-ndjson"}
    upload = "/api/datasets?dataset_name=offered&dataset_version=v1"
    people["operator"].ask("POST", upload, arithmetic_rows(), **people["operator"].token, **rows_are)
    people["operator"].send("/views/", name="offered", query="status=failed")
    pages = [
        "/",
        "/runs/",
        "/runs/?status=failed",
        "/trash/",
        "/datasets/",
        "/datasets/offered-v1/",
        "/account/",
        "/history-panel/",
    ]
    pages += [f"/runs/{run}/" for run in one_of_each] + [
        f"/runs/{one_of_each[0]}/log/",
        f"/compare/?run={'&run='.join(one_of_each[:2])}",
    ]
    of_a_run = ["", "/retry", "/cancel", "/restore", "/metrics", "/checkpoints", "/logs", "/provenance"]
    pages += ["/api/tunix/run", "/api/tunix/runs", "/api/datasets", "/api/tunix/status", "/api/docs"]
    pages += [f"/api/tunix/runs/{run}{what}" for run in one_of_each[:1] for what in of_a_run]
    browser, offered = people[role], set()
    for page in pages:
        answer = browser.ask("GET", page, Accept="text/html")
        assert answer.status_code in (200, 405), (page, answer.status_code)
        offered |= Offers(page, answer.content.decode()).found
    acts = [each for each in sorted(offered) if each[0] not in ("GET", "OPTIONS")]
    assert bool(acts) and (len(acts) > 20) == (role != "viewer"), acts
    # Reading before acting: some of these end or free what others are about.
    for method, address, body in sorted(offered, key=lambda each: each[0] not in SAFE):
        answer = browser.ask(
            method, address, body.encode(), **browser.token, **({"Content-Type": FORM} if body else {})
        )
        assert verdict(answer) == "allowed", (role, method, address, body, answer.status_code)


def test_who_has_no_role_is_told_what_to_do(people):
    answer = people["nobody"].ask("GET", "/runs/")
    assert answer.status_code == 403
    assert b"Someone who administers this server gives it one" in answer.content
    assert people["nobody"].ask("GET", "/account/").status_code == 200


def test_the_admin_is_for_the_role_admin(people):
    assert people["admin"].ask("GET", "/admin/").status_code == 200
    assert people["admin"].ask("GET", "/admin/runs/event/").status_code == 200
    for role in ("nobody", "viewer", "operator"):
        for path in ("/admin/", "/admin/runs/event/", "/admin/auth/user/"):
            assert people[role].ask("GET", path).status_code == 302


def test_a_number_that_no_database_takes_is_a_wrong_value(server, people):
    viewer = server.manage(
        "shell", "--verbosity=0", "-c",
        "from django.contrib.auth.models import User; print(User.objects.get(username='viewer').pk)",
    ).strip()  # fmt: skip
    answer = people["admin"].send(f"/admin/auth/user/{viewer}/change/", username="viewer", groups=2**63)
    said = {
        400: b"A value in the request is larger than the database takes. Nothing was done.",  # SQLite
        200: b"9223372036854775808 is not one of the available choices.",  # PostgreSQL looks for it
    }
    assert said[answer.status_code] in answer.content


def test_the_role_admin_makes_no_superuser(server, people):
    """Nor touches one: it would be the way to become one."""
    ids = "from django.contrib.auth.models import User; print(*[User.objects.get(username=n).pk for n in ('superuser','viewer')])"
    root, viewer = server.manage("shell", "--verbosity=0", "-c", ids).split()
    admin = people["admin"]
    assert b'name="is_superuser"' not in admin.ask("GET", f"/admin/auth/user/{viewer}/change/").content
    fields = {"username": "superuser", "is_superuser": "on", "password1": "x"}
    assert admin.send(f"/admin/auth/user/{root}/change/", **fields).status_code == 403
    assert admin.send(f"/admin/auth/user/{root}/password/", **fields).status_code == 403
    admin.send(f"/admin/auth/user/{viewer}/change/", username="viewer", is_superuser="on", is_active="on")
    still = "from django.contrib.auth.models import User; print(User.objects.filter(is_superuser=True).count())"
    assert server.manage("shell", "--verbosity=0", "-c", still).strip() == "1"


# --- tokens -----------------------------------------------------------------------------------------------------------


def make_token(browser, scope, name="sweep"):
    page = browser.send("/account/", name=name, scope=scope, days="7").content.decode()
    token = page.partition('<code class="token">')[2].partition("</code>")[0]
    assert token.startswith("trt_"), page[:3000]
    assert token not in browser.ask("GET", "/account/").content.decode(), "it is shown once"
    return token


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_a_token_does_what_its_scope_and_its_owner_may(server, people):
    rows = arithmetic_rows()
    upload = "/api/datasets?dataset_name=tokens&dataset_version=v1"
    rows_are = {"Content-Type": "application/x-ndjson"}
    writes, reads = make_token(people["operator"], "write"), make_token(people["operator"], "read")
    of_viewer = make_token(people["viewer"], "write")
    for token in (writes, reads, of_viewer):
        assert server.get("/api/tunix/runs", **bearer(token)).status_code == 200
    assert server.post(upload, rows, **bearer(writes), **rows_are).status_code == 201
    run = server.post("/api/tunix/run", LAUNCH, **bearer(writes)).json()
    assert run["owner"] == "operator"
    answer = server.post("/api/tunix/run", LAUNCH, **bearer(reads))
    assert (answer.status_code, answer.json()) == (403, {"detail": "This token reads only."})
    answer = server.post("/api/tunix/run", LAUNCH, **bearer(of_viewer))
    assert answer.json()["detail"] == "Your account may not do this: it takes the role operator or admin."
    assert server.request("DELETE", f"/api/tunix/runs/{run['run_id']}", None, bearer(writes)).status_code == 403
    assert server.get("/runs/", **bearer(writes)).status_code == 302, "pages are for people"


@pytest.mark.parametrize("token", ["", "x", "trt_" + "0" * 64, "a b", "\xff", "'; --", "x" * 5000, "%00"])
def test_what_is_no_token_lets_nobody_in(server, token):
    answer = server.get("/api/tunix/runs", **bearer(token))
    assert answer.status_code == 401 and answer.json()["detail"]


def test_a_token_is_kept_as_a_hash_and_ends(server, people):
    token = make_token(people["operator"], "read", name="to be revoked")
    ask = "from runs.models import ApiToken; print(list(ApiToken.objects.values_list('token_key', 'digest', 'name')))"
    assert token not in server.manage("shell", "--verbosity=0", "-c", ask)
    key = token[:15]
    assert people["viewer"].send(f"/account/tokens/{key}/revoke/").status_code == 404, "it is another's"
    assert server.get("/api/tunix/runs", **bearer(token)).status_code == 200
    assert people["operator"].send(f"/account/tokens/{key}/revoke/").status_code == 302
    assert server.get("/api/tunix/runs", **bearer(token)).status_code == 401
    late = make_token(people["operator"], "read", name="late")
    expire = (
        "from runs.models import ApiToken; from django.utils import timezone; "
        "ApiToken.objects.filter(name='late').update(expiry=timezone.now())"
    )
    server.manage("shell", "--verbosity=0", "-c", expire)
    assert server.get("/api/tunix/runs", **bearer(late)).status_code == 401


# --- who did what -----------------------------------------------------------------------------------------------------


def test_what_was_done_is_told_with_who_and_from_where(server, people):
    run = next(server.runs)
    writes = bearer(make_token(people["operator"], "write", name="told"))
    server.post("/api/tunix/run", LAUNCH, **writes)
    rows_are = {"Content-Type": "application/x-ndjson"}
    server.post("/api/datasets?dataset_name=told&dataset_version=v1", arithmetic_rows(), **writes, **rows_are)
    people["operator"].ask("PATCH", f"/api/tunix/runs/{run}", {"tags": ["a"]}, **people["operator"].token)
    people["admin"].ask("DELETE", f"/api/tunix/runs/{run}", **people["admin"].token)
    exported = [json.loads(line) for line in people["admin"].ask("GET", "/events.jsonl").content.splitlines()]
    of_run = [
        (event["actor"], event["act"], event["way"], event["address"]) for event in exported if event["run_id"] == run
    ]
    assert of_run == [("operator", "annotate", "api", "127.0.0.1"), ("admin", "delete", "api", "127.0.0.1")]
    assert {"login", "make_token", "upload", "launch"} <= {event["act"] for event in exported}
    assert not any(PASSWORD in json.dumps(event) or "trt_" in json.dumps(event) for event in exported)
    page = people["admin"].ask("GET", "/events/?actor=operator&act=annotate").content.decode()
    assert "changed notes or tags" in page and run in page
    launched = [event for event in exported if event["act"] == "launch" and event["detail"].get("token")]
    assert launched[-1]["detail"]["token"] == "told"

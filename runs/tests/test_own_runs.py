"""TUNIX_RT_OWN_RUNS_ONLY: operators change their own runs, admins all; asked of a real server, act by act."""

import pytest

from runs.tests.accounts import PASSWORD, Browser, server_with_people
from runs.tests.helpers import LAUNCH

PEOPLE = ("viewer", "operator", "colleague", "admin")
MAKE_COLLEAGUE = f"""
from django.contrib.auth.models import Group, User
User.objects.create_user("colleague", password={PASSWORD!r}).groups.set(Group.objects.filter(name="operator"))
"""
# Each act takes a run of its own.
MAKE_RUNS = """
from django.contrib.auth.models import User
from runs.tests.helpers import create_run
for name in ("operator", "colleague", "nobody at all"):
    owner = User.objects.filter(username=name).first()
    for status in ("completed", "running", "lost"):
        for _ in range(30):
            print(name, status, create_run(owner=owner, mode="local", status=status).run_id, sep=":")
"""
POINTS = {"train/loss": [{"step": 1, "value": 0.5}]}
# Act: method, address, body, and the status of a run that it may be done to.
ACTS = {
    "annotate": ("PATCH", "/api/tunix/runs/{run}", {"notes": "x"}, "completed"),
    "annotate on its page": ("FORM", "/runs/{run}/annotate/", {"notes": "x", "tags": ""}, "completed"),
    "cancel": ("POST", "/api/tunix/runs/{run}/cancel", {}, "running"),
    "cancel on its page": ("FORM", "/runs/{run}/cancel/", {}, "running"),
    "send metrics": ("POST", "/api/tunix/runs/{run}/metrics", POINTS, "running"),
    "give up as lost": ("POST", "/api/tunix/runs/{run}/retry", {}, "lost"),
    "give up as lost on its page": ("FORM", "/runs/{run}/retry/", {}, "lost"),
}
SEE_AND_REPEAT = {
    "read": ("GET", "/api/tunix/runs/{run}", None, "completed"),
    "retry": ("POST", "/api/tunix/runs/{run}/retry", {}, "completed"),
}


@pytest.fixture(scope="module", params=["1", "0"])
def server(tmp_path_factory, request):
    home = tmp_path_factory.mktemp("own") / "server"
    more = {"TUNIX_RT_LAUNCHES_PER_MINUTE": "0", "TUNIX_COMMAND": "true", "TUNIX_RT_OWN_RUNS_ONLY": request.param}
    with server_with_people(home, **more) as server:
        server.manage("shell", "--verbosity=0", "-c", MAKE_COLLEAGUE)
        server.runs = [line.split(":") for line in server.manage("shell", "--verbosity=0", "-c", MAKE_RUNS).split("\n")]
        server.own_only = request.param == "1"
        yield server


@pytest.fixture(scope="module")
def people(server):
    found = {name: Browser(server) for name in PEOPLE}
    for name, browser in found.items():
        assert browser.log_in(name).status_code == 302
    return found


def run_of(server, owner, status):
    found = next(each for each in server.runs if each[:2] == [owner, status])
    server.runs.remove(found)
    return found[2]


def did(browser, act, run):
    """The answer; of a form's act the page that says what came of it."""
    method, path, body, _ = act
    if method == "FORM":
        answer = browser.send(path.format(run=run), **body)
        return browser.ask("GET", answer.headers["Location"]) if answer.status_code == 302 else answer
    return browser.ask(method, path.format(run=run), body, **browser.token)


@pytest.mark.parametrize("owner", ["operator", "nobody at all"])
@pytest.mark.parametrize("name", ACTS)
def test_who_may_change_a_run(server, people, name, owner):
    may = {"viewer": False, "colleague": not server.own_only, "operator": owner == "operator" or not server.own_only}
    for who in ("viewer", "colleague", "operator", "admin"):
        run = run_of(server, owner, ACTS[name][3])
        answer = did(people[who], ACTS[name], run)
        refused = b"is not yours" in answer.content if who != "viewer" else answer.status_code == 403
        assert refused != may.get(who, True), (who, answer.status_code, answer.content[:300])
        assert answer.status_code in (200, 201, 202, 403)


@pytest.mark.parametrize("name", SEE_AND_REPEAT)
def test_everybody_who_could_sees_and_repeats_the_runs_of_others(server, people, name):
    for who in ("colleague", "operator", "admin"):
        run = run_of(server, "operator", SEE_AND_REPEAT[name][3])
        assert did(people[who], SEE_AND_REPEAT[name], run).status_code < 300


def test_a_page_shows_no_button_that_would_be_refused(server, people):
    marks = {"completed": b">Edit<", "running": b"Cancel run", "lost": b"Retry\xe2\x80\xa6"}
    for status, mark in marks.items():
        run = run_of(server, "operator", status)
        for who in PEOPLE:
            shown = mark in people[who].ask("GET", f"/runs/{run}/").content
            assert shown == (who in ("operator", "admin") or (who == "colleague" and not server.own_only)), (
                status,
                who,
            )


def test_several_at_once_leave_those_of_others_alone(server, people):
    mine, other = run_of(server, "colleague", "running"), run_of(server, "operator", "running")
    browser = people["colleague"]
    for action in ({"action": "tag", "tag": "swept"}, {"action": "cancel", "sure": "on"}):
        fields = "&".join(f"{n}={v}" for n, v in action.items()) + f"&run={mine}&run={other}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = browser.ask("POST", "/runs/bulk/", fields.encode(), **browser.token, **headers)
        assert answer.status_code == 302
        told = b"1 of the selected runs are not yours" in browser.ask("GET", "/runs/").content
        assert told == server.own_only
    for run, changed in ((mine, True), (other, not server.own_only)):
        record = people["admin"].ask("GET", f"/api/tunix/runs/{run}").json()
        assert (record["tags"] == ["swept"], record["cancel_requested_at"] is not None) == (changed, changed)


def test_a_launch_belongs_to_who_launched_it(server, people):
    run = people["colleague"].ask("POST", "/api/tunix/run", LAUNCH, **people["colleague"].token).json()["run_id"]
    assert did(people["colleague"], ACTS["annotate"], run).status_code == 200

"""TUNIX_RT_PREFIX: a real server below a path of another site, as a proxy asks it: with the prefix and without."""

import re

import pytest
from django.core.exceptions import ImproperlyConfigured

from runs.tests.accounts import Browser, server_with_people
from runs.tests.addresses import addresses
from runs.tests.helpers import LAUNCH, NOBODY, arithmetic_rows
from runs.tests.test_settings import start
from tunix_rt import prefix

PREFIX = "/tunix"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("prefix") / "server"
    with server_with_people(home, TUNIX_RT_PREFIX=PREFIX, TUNIX_COMMAND="true") as server:
        yield server


@pytest.fixture
def operator(server):
    browser = Browser(server)
    answer = browser.log_in("operator", path="/tunix/login/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/tunix/")
    return browser


def addresses_in(answer):
    return re.findall(r'(?:href|src|action|hx-get|hx-post|data-points)="(/[^"]*)"', answer.content.decode())


def upload(operator, name):
    path = f"/tunix/api/datasets?dataset_name={name}&dataset_version=v1"
    headers = operator.token | {"Content-Type": "application/x-ndjson"}
    assert operator.ask("POST", path, arithmetic_rows(), **headers).status_code == 201


@pytest.mark.parametrize("path", ["/tunix/healthz", "/healthz", "/tunix/static/runs/favicon.svg", "/tunix/login/"])
def test_it_answers_below_the_prefix_and_a_health_check_without(server, path):
    if "static" in path:
        path = next(each for each in addresses_in(server.get("/tunix/login/")) if "favicon" in each)
    assert server.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/tunixx/healthz", "/tunix/tunix/healthz", "/other/tunix/healthz", "/tunixhealthz"])
def test_another_path_is_not_the_prefix(operator, path):
    assert operator.ask("GET", path).status_code == 404


@pytest.mark.parametrize("asked", ["/tunix/runs/", "/runs/"])  # passed on by the proxy; taken off by it
def test_whoever_is_not_signed_in_is_sent_to_the_login_below_it(server, asked):
    answer = server.get(asked)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/tunix/login/?next=/tunix/runs/")


@pytest.mark.parametrize("asked", ["/tunix", "/tunix/", "/"])
def test_the_overview_is_at_the_prefix(operator, asked):
    found = addresses_in(operator.ask("GET", asked))
    assert len(found) > 10
    assert [each for each in found if not each.startswith("/tunix/")] == []


def test_cookies_are_for_the_prefix_only(server):
    answer = server.get("/tunix/login/")
    assert [each for each in answer.headers.get_all("Set-Cookie") if "; Path=/tunix;" not in each + ";"] == []
    browser = Browser(server)
    given = browser.log_in("operator", path="/tunix/login/").headers.get_all("Set-Cookie")
    assert len(given) == 2 and all("; Path=/tunix;" in each + ";" for each in given)


def test_the_api_gives_addresses_below_it(operator):
    upload(operator, "arithmetic")
    accepted = operator.ask("POST", "/tunix/api/tunix/run", LAUNCH | {"dry_run": False}, **operator.token)
    run = accepted.json()["run_id"]
    assert (accepted.status_code, accepted.headers["Location"]) == (202, f"/tunix/api/tunix/runs/{run}")
    assert operator.ask("GET", accepted.headers["Location"]).json()["run_id"] == run
    schema = operator.ask("GET", "/tunix/api/schema?format=json").json()
    assert schema["servers"] == [{"url": "/tunix"}] and "/api/tunix/runs" in schema["paths"]
    again = operator.ask("POST", "/tunix/api/tunix/run", LAUNCH, **operator.token).json()["run_id"]
    retry = operator.ask("POST", f"/tunix/api/tunix/runs/{again}/retry", {}, **operator.token)
    assert retry.headers["Location"].startswith("/tunix/api/tunix/runs/")


def test_the_browsable_api_and_swagger_stay_below_it(operator):
    for path in ("/tunix/api/tunix/runs", "/tunix/api/docs"):
        found = addresses_in(operator.ask("GET", path, Accept="text/html"))
        assert found and [each for each in found if not each.startswith("/tunix/")] == []


def test_errors_are_of_the_right_kind_below_it(operator):
    missing = operator.ask("GET", f"/tunix/api/tunix/runs/{NOBODY}/")
    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "application/json")
    page = operator.ask("GET", f"/tunix/runs/{NOBODY}/")
    assert page.status_code == 404 and b"/tunix/static/" in page.content


def test_what_was_done_through_the_api_is_recorded_as_such(server, operator):
    upload(operator, "x")
    code = "from runs.models import Event; print(Event.objects.filter(act='upload').latest('pk').way)"
    assert server.manage("shell", "--verbosity=0", "-c", code).strip() == "api"


@pytest.mark.parametrize(
    "header",
    [{"SCRIPT_NAME": "/evil"}, {"Script-Name": "/evil"}, {"X-Script-Name": "/evil"}, {"X-Forwarded-Prefix": "/evil"},
     {"X-Forwarded-Path": "/evil"}, {"SCRIPT-URL": "/evil/login/"}],
)  # fmt: skip
def test_no_client_moves_the_addresses(server, header):
    answer = server.get("/tunix/runs/", **header)
    assert answer.headers["Location"] == "/tunix/login/?next=/tunix/runs/"


def test_without_one_no_client_gives_it_one(tmp_path):
    with server_with_people(tmp_path / "server") as server:
        for name in ("SCRIPT_NAME", "X-Script-Name", "X-Forwarded-Prefix", "SCRIPT-URL"):
            assert server.get("/runs/", **{name: "/tunix"}).headers["Location"] == "/login/?next=/runs/"


@pytest.mark.parametrize(
    "wrong",
    ["tunix", "/", "/tunix/", "//tunix", "/a//b", "/a b", "/a/../b", "/.", "/ü", "/a?b", "/a#b", "/<a>", "https://a.example/b",
     "/runs", "/api/v2", "/static", "/tunix\nX: y"],
)  # fmt: skip
def test_a_wrong_one_is_refused_with_a_sentence(wrong):
    with pytest.raises(ImproperlyConfigured) as refused:
        prefix.checked(wrong)
    sentence = str(refused.value)
    assert sentence.startswith("TUNIX_RT_PREFIX must be a path such as /tunix") and repr(wrong) in sentence


def test_a_wrong_one_stops_the_start(tmp_path):
    done = start(tmp_path, TUNIX_RT_PREFIX="tunix")
    assert done.returncode != 0
    assert done.stderr == (
        "TUNIX_RT_PREFIX must be a path such as /tunix, of letters, digits and -._~, with no slash at its end, not 'tunix'.\n"
    )


@pytest.mark.parametrize("right", ["", "/tunix", "/ml/tunix-rt", "/T_1.2~x", "/.well-known", "/run"])
def test_a_right_one_is_taken(right):
    assert prefix.checked(right) == right


def test_no_prefix_may_look_like_an_address_of_ours():
    assert {path.split("/")[1] for _, path in addresses()} - {""} | {"static"} == prefix.OWN_PATHS

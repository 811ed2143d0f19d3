"""Writes that a browser sends from another site are refused; programs, which say nothing of a site, pass."""

import pytest

from runs.models import TunixRun
from runs.tests.helpers import LAUNCH, assert_error, create_run

pytestmark = pytest.mark.django_db
HERE, EVIL = "http://testserver", "http://evil.example"
REFUSED = "A page of another site may not change anything here."


def launch(api, **headers):
    return api.post("/api/tunix/run", LAUNCH, headers=headers)


def test_a_program_passes(api):
    assert launch(api).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": HERE},
        {"Origin": HERE},
    ],
)
def test_a_page_of_ours_passes(api, headers):
    assert launch(api, **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "nonsense"},
        {"Sec-Fetch-Site": "cross-site", "Origin": HERE},
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "http://testserver:8001"},
        {"Origin": "http://evil.example/testserver"},
        {"Origin": "http://[broken"},
    ],
)
def test_a_page_of_another_site_is_refused(api, headers):
    assert_error(launch(api, **headers), 403, REFUSED)
    assert not TunixRun.objects.exists()


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_every_write_is_covered(api, method):
    run = create_run()
    answer = getattr(api, method)(f"/api/tunix/runs/{run.run_id}", headers={"Sec-Fetch-Site": "cross-site"})
    assert_error(answer, 403, REFUSED)
    assert TunixRun.objects.alive().exists()


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_reading_is_not_writing(api, method):
    answer = getattr(api, method)("/api/tunix/runs", headers={"Sec-Fetch-Site": "cross-site", "Origin": EVIL})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_trusted_origin_passes(api, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example"]
    trusted = {"Origin": "https://trusted.example"}
    assert launch(api, **trusted).status_code == 200
    assert launch(api, **trusted, **{"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert_error(launch(api, Origin="http://trusted.example"), 403, REFUSED)


def test_the_pages_are_covered_too(client):
    answer = client.post("/launch/", LAUNCH, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert REFUSED in answer.content.decode()

"""A real Chromium against the real pages, served by Django's live server on the test database."""

import os
import shutil

import pytest

from runs import datasets
from runs.tests.helpers import arithmetic_rows

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Playwright's synchronous API runs an event loop in this thread; Django would refuse its ORM here.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found, "Chromium is missing: scripts/install_tool chromium installs it"
    # As root, as in a container, Chromium's own sandbox cannot start.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    # The site that test_behind_nginx.py visits.
    names = "--host-resolver-rules=MAP runs.example.org 127.0.0.1"
    options = [*sandbox, names, "--disable-background-networking"]
    return browser_type_launch_args | {"executable_path": found, "args": options}


@pytest.fixture
def site(live_server, page):
    """A page that has failed the test when a script of ours raised an error."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(10_000)
    page.base = live_server.url
    yield page
    assert errors == []


@pytest.fixture
def dataset(data_dir):
    return datasets.add("arithmetic", "v1", [arithmetic_rows()])[0]

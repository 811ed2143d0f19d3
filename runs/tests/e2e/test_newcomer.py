"""A newcomer's way with the real Tunix: a clone, one command, one click, a loss that falls."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings as project
from playwright.sync_api import expect

from runs.tests.helpers import slowness

START_SECONDS, INSTALL_SECONDS, TRAIN_SECONDS = 120, 300, 600
KEPT = ("PATH", "HOME", "LANG")
KEPT_PREFIXES = ("UV_", "PIP_", "SSL_", "XDG_", "COVERAGE_")
NOT_CLONED = shutil.ignore_patterns(".git", ".venv*", "var", "__pycache__", "screenshots", "test-results", ".*_cache")


@pytest.fixture
def clone(tmp_path):
    """What a clone has, and the server's environment, which `make run` makes first; Tunix is not there."""
    path = tmp_path / "clone"
    shutil.copytree(project.BASE_DIR, path, ignore=NOT_CLONED)
    (path / ".venv").symlink_to(sys.prefix)
    return path


@contextmanager
def served(clone, home):
    """What `make run` starts, on a free port; its address. A Ctrl-C ends it, and leaves nothing running."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = {n: v for n, v in os.environ.items() if n in KEPT or n.startswith(KEPT_PREFIXES)}
    environment |= {"TUNIX_RT_HOME": str(home), "PORT": str(port)}
    log = home.with_suffix(".log")
    with log.open("wb") as file:
        server = subprocess.Popen(
            ["scripts/serve"], cwd=clone, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait_until_it_answers(server, f"http://127.0.0.1:{port}/healthz", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        left = subprocess.run(["pgrep", "-f", str(clone)], capture_output=True, text=True, check=False).stdout
        print(log.read_text())
    assert left == "", "a process of it is left"


def wait_until_it_answers(server, url, log):
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


def faults_of(page):
    """What axe says of the page as it is."""
    return [each["id"] for each in Axe().run(page).response["violations"]]


@pytest.mark.tunix
def test_from_a_clone_to_a_loss_curve(clone, page, tmp_path):
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    began = time.monotonic()
    # Held until the page is there, so that the page sees all of the installation.
    mutex = os.open(clone / ".venv-tunix.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(mutex, fcntl.LOCK_EX)
    with served(clone, tmp_path / "home") as address:
        page.goto(address)
        page.evaluate("window.loadedOnce = true")
        expect(page.get_by_role("heading", name="Installing Tunix")).to_be_visible()
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
        page.get_by_label("Epochs").fill("7")
        os.close(mutex)
        counted = re.compile(r"Installing Tunix: \d+ of \d+ packages")
        expect(page.get_by_role("heading", name=counted)).to_be_visible(timeout=20_000)
        page.screenshot(path=project.BASE_DIR / "screenshots" / "installing.png")
        assert faults_of(page) == []

        train = page.get_by_role("button", name="Train the built-in model")
        expect(train).to_be_visible(timeout=INSTALL_SECONDS * 1000)
        installed = time.monotonic() - began
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
        expect(page.get_by_text("Tunix 0.1.7 ready")).to_be_visible()
        expect(page.get_by_label("Epochs")).to_have_value("7")
        assert page.evaluate("window.loadedOnce"), "the page was not loaded again"
        page.screenshot(path=project.BASE_DIR / "screenshots" / "first-training.png")
        assert faults_of(page) == []

        train.click()
        expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}/$"))
        expect(page.get_by_role("heading", level=1)).to_contain_text("tunix-rt/tiny-qwen3 on arithmetic-v2")
        curve = page.locator("#run-charts figure").filter(has_text="train/loss").locator("path.line")
        expect(curve.first).to_be_visible(timeout=TRAIN_SECONDS * 1000)
        seen = time.monotonic() - began
        expect(page.get_by_text(re.compile("Step 230"))).to_be_visible(timeout=TRAIN_SECONDS * 1000)
        expect(page.locator("h1 + *, .page-head").first).to_contain_text("Completed", timeout=30_000)
        page.screenshot(path=project.BASE_DIR / "screenshots" / "first-curve.png", full_page=True)
        run_id = page.url.rstrip("/").rpartition("/")[2]
        series = page.request.get(f"{address}/api/tunix/runs/{run_id}/metrics?name=train/loss").json()["train/loss"]
        assert series[-1]["value"] < series[0]["value"] / 5
    print(f"installed after {installed:.0f} s, a curve after {seen:.0f} s, all after {time.monotonic() - began:.0f} s")
    assert seen < 180 * slowness()
    assert errors == []

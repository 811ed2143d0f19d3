"""Many pages that follow runs which go on, on one worker: the API stays quick beside them."""

import re
import statistics
import subprocess
import sys
import threading
import time
from heapq import heapify, heapreplace
from html import unescape
from http.client import HTTPConnection
from urllib.parse import urlencode

import psutil
import pytest
from django.conf import settings

from runs.tests.helpers import slowness
from runs.tests.server import running_server

PAGES, SECONDS, THREADS = 200, 15, 16
# What a page asks for again and again, and how often.
POLL = re.compile(r'data-poll hx-get="([^"]+)"[^>]* hx-trigger="every (\d+)s"')
LOG_END = re.compile(r'<li class="log-next".*?</li>')
INPUT = re.compile(r'<input type="hidden" name="(\w+)" value="(\w+)">')
NAMES = ("train/loss", "eval/loss", "train/grad_norm", "train/learning_rate", "perf/step_seconds")
BEGIN = f"""
from runs import logs, metrics
from runs.models import TunixRun
for number in range(10):
    run = TunixRun.objects.create(dataset_key="a-v1", model_id="m", mode="local", status="running", config={{}})
    TunixRun.objects.filter(pk=run.pk).update(step=2000, total_steps=100000)
    for name in {NAMES}:
        metrics.append(run.run_id, {{name: [(step, 1 / step, 1.7e9) for step in range(1, 2000)]}})
    path = logs.path(run, "stdout")
    path.parent.mkdir(parents=True)
    path.write_text("step\\n" * 2000)
    print(run.run_id)
"""
# A step of each in five seconds, written as its supervisor does.
GO_ON = f"""
import time
from runs import logs, metrics
from runs.models import TunixRun
runs = list(TunixRun.objects.all())
for step in range(2000, 100000):
    for run in runs:
        metrics.append(run.run_id, {{name: [(step, 1 / step, 1.7e9)] for name in {NAMES}}})
        TunixRun.objects.filter(pk=run.pk).update(step=step)
        with logs.path(run, "stdout").open("a") as log:
            log.write(f"step {{step}}\\n")
        time.sleep(5 / len(runs))
"""


@pytest.fixture
def server(home, database):
    with running_server(home, database.url, pages=True, WEB_CONCURRENCY="1") as server:
        yield server


@pytest.fixture
def runs(server):
    """The IDs of ten that go on."""
    found = server.manage("shell", "--verbosity=0", "-c", BEGIN).split()
    command = [sys.executable, "manage.py", "shell", "--verbosity=0", "-c", GO_ON]
    trainings = subprocess.Popen(command, cwd=settings.BASE_DIR, env=server.environment)
    yield found
    assert trainings.poll() is None, "they went on until now"
    trainings.kill()
    trainings.wait()


@pytest.mark.alone
def test_two_hundred_pages_that_poll_leave_the_api_quick(server, runs):
    empty = cost_of_an_empty_view(server)
    pages = [Page(server.get(f"/runs/{runs[number % len(runs)]}/").content.decode()) for number in range(PAGES)]
    stop, answers, began = threading.Event(), [], cpu_seconds(server)
    threads = [
        threading.Thread(target=follow, args=(server.port, pages[number::THREADS], stop, answers))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    taken = [timed(server, "/api/tunix/runs", every=0.1) for _ in range(round(SECONDS / 0.1))]
    stop.set()
    for thread in threads:
        thread.join()
    rate, wanted = len(answers) / SECONDS, PAGES * (1 / 3 + 1 / 10)
    cost, median = (cpu_seconds(server) - began) / (len(answers) + len(taken)), statistics.median(taken)
    print(
        f"{rate:.0f} polls a second of {wanted:.0f}, {answers.count(204)} of {len(answers)} with nothing new; each takes "
        f"{cost / empty:.1f} × the CPU of an empty view, {empty * 1000:.1f} ms; the API's median {median * 1000:.0f} ms"
    )
    assert set(answers) <= {200, 204}
    assert rate > 0.9 * wanted, "the polls themselves are answered in time"
    assert cost < 15 * empty, "on any machine"
    assert median < 0.05 * slowness()


class Page:
    """An open page of a run: how often it asks for news and charts, and what it says that it has."""

    def __init__(self, html):
        self.log_end = {}
        (self.news, news_period), (self.charts, charts_period) = POLL.findall(html)
        self.polls = ((int(news_period), self.ask_news), (int(charts_period), self.ask_charts))
        self.heed(html)
        assert set(self.log_end) == {"stream", "after", "line", "size"}

    def heed(self, html):
        if found := LOG_END.search(html):
            self.log_end = dict(INPUT.findall(found[0]))

    def ask_news(self, get):
        status, html = get(f"{unescape(self.news)}&{urlencode(self.log_end)}")
        self.heed(html)
        return status

    def ask_charts(self, get):
        status, html = get(unescape(self.charts))
        if found := POLL.search(html):
            self.charts = found[1]
        return status


def follow(port, pages, stop, answers):
    """What these pages ask, each once a period and evenly spread, on one connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def get(path):
        connection.request("GET", path, headers={"HX-Request": "true"})
        response = connection.getresponse()
        return response.status, response.read().decode()

    began = time.monotonic()
    polls = [poll for page in pages for poll in page.polls]
    due = [(number / len(polls) * period, number, period, ask) for number, (period, ask) in enumerate(polls)]
    heapify(due)
    while not stop.is_set():
        moment, number, period, ask = due[0]
        if (wait := began + moment - time.monotonic()) > 0:
            stop.wait(wait)
        answers.append(ask(get))
        heapreplace(due, (moment + period, number, period, ask))


def timed(server, path, every):
    began = time.monotonic()
    assert server.get(path).status_code == 200
    taken = time.monotonic() - began
    time.sleep(max(0, every - taken))
    return taken


def cost_of_an_empty_view(server):
    """In seconds of CPU, on a kept connection."""
    connection, began = HTTPConnection("127.0.0.1", server.port), cpu_seconds(server)
    for _ in range(500):
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    connection.close()
    return (cpu_seconds(server) - began) / 500


def cpu_seconds(server):
    """Of the server and its worker, so far."""
    main = psutil.Process(server.pid)
    return sum(sum(each.cpu_times()[:2]) for each in (main, *main.children(recursive=True)))

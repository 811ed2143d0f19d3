"""Many pages that follow runs, on one worker: the API stays quick beside them."""

import statistics
import threading
import time
from http.client import HTTPConnection

import pytest

from runs.tests.databases import new_database
from runs.tests.server import running_server

PAGES, SECONDS, THREADS = 200, 12, 16
POLLS = ((3, "head/"), (3, "log/?stream=stdout&after=10000&line=2001"), (10, "charts/"))
SCRIPT = """
from runs import logs, metrics
from runs.models import TunixRun
for number in range(10):
    run = TunixRun.objects.create(dataset_key="a-v1", model_id="m", mode="local", status="running", config={})
    TunixRun.objects.filter(pk=run.pk).update(step=50, total_steps=100)
    for name in ("train/loss", "eval/loss", "train/grad_norm", "train/learning_rate", "perf/step_seconds"):
        metrics.append(run.run_id, {name: [(step, 1 / step, 1.7e9) for step in range(1, 2000)]})
    path = logs.path(run, "stdout")
    path.parent.mkdir(parents=True)
    path.write_text("step\\n" * 2000)
    print(run.run_id)
"""


@pytest.mark.alone
def test_two_hundred_pages_that_poll_leave_the_api_quick(home):
    """As often as the templates say: status and log every 3 s, charts every 10 s."""
    with new_database(home) as database, running_server(home, database.url, pages=True, WEB_CONCURRENCY="1") as server:
        runs = server.manage("shell", "--verbosity=0", "-c", SCRIPT).split()
        # What a page costs a second, as this machine is now: of a worker, 60 % are for polls. On a quick one all 200 fit.
        cost = sum(
            statistics.median(timed(server, f"/runs/{runs[0]}/{path}", **{"HX-Request": "true"}) for _ in range(15))
            / period
            for period, path in POLLS
        )
        pages = min(PAGES, int(0.6 / cost))
        asked = [(period, f"/runs/{runs[page % len(runs)]}/{path}") for page in range(pages) for period, path in POLLS]
        stop, answers = threading.Event(), []
        threads = [
            threading.Thread(target=poll, args=(server.port, asked[number::THREADS], stop, answers))
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        taken = [timed(server, "/api/tunix/runs") for _ in range(round(SECONDS / 0.1))]
        stop.set()
        for thread in threads:
            thread.join()
    rate, wanted = len(answers) / SECONDS, pages * (2 / 3 + 1 / 10)
    print(
        f"{pages} pages: {rate:.0f} polls a second of {wanted:.0f}, the API's median {statistics.median(taken) * 1000:.0f} ms"
    )
    assert set(answers) == {200}
    assert rate > 0.8 * wanted, "the polls themselves are answered in time"
    assert statistics.median(taken) < 0.05


def poll(port, asked, stop, answers):
    """Each address once a period, evenly spread, on one connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    began = time.monotonic()
    due = sorted((number / len(asked) * period, period, path) for number, (period, path) in enumerate(asked))
    while not stop.is_set():
        moment, period, path = due.pop(0)
        if (wait := began + moment - time.monotonic()) > 0:
            stop.wait(wait)
        connection.request("GET", path, headers={"HX-Request": "true"})
        response = connection.getresponse()
        response.read()
        answers.append(response.status)
        due.append((moment + period, period, path))
        due.sort()


def timed(server, path, **headers):
    began = time.monotonic()
    assert server.get(path, **headers).status_code == 200
    taken = time.monotonic() - began
    time.sleep(max(0, 0.1 - taken))
    return taken

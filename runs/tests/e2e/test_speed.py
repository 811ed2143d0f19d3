"""How soon a page is there, what it fetches, and from where."""

import pytest

from runs import metrics
from runs.tests.helpers import create_checkpoint, create_run, slowness

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.alone]
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
FETCHED = "performance.getEntriesByType('resource').map(each => [each.name, each.decodedBodySize])"


def test_every_page_is_there_soon_and_asks_no_other_host(site, dataset):
    run = create_run(mode="local", step=100, total_steps=100, output_dir="./output/a", stdout="x\n" * 100)
    for name in ("train/loss", "train/grad_norm", "eval/loss"):
        metrics.append(run.run_id, {name: [(n, 1 / n, 1.7e9) for n in range(1, 2001)]})
    create_checkpoint(run, 100)
    other = create_run(mode="local")
    for _ in range(30):
        create_run()
    compare = f"/compare/?run={run.run_id}&run={other.run_id}"
    for path in ("/", "/runs/", f"/runs/{run.run_id}/", compare, "/datasets/", "/trash/", f"/runs/{run.run_id}/log/"):
        paints = []
        for _ in range(5):
            site.goto(site.base + path)
            while (paint := site.evaluate(PAINT)) is None:
                site.wait_for_timeout(20)
            paints.append(paint)
        print(f"{path[:20]:<20} first paint {min(paints):.0f} ms at best, {sorted(paints)[2]:.0f} in the middle")
        assert sorted(paints)[2] < 200 * slowness()
        fetched = site.evaluate(FETCHED)
        assert all(address.startswith(site.base) for address, _ in fetched)
        assert sum(size for address, size in fetched if ".js" in address) < 100 * 1024

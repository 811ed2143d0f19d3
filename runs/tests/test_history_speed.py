"""What the history costs when there are a hundred times as many runs."""

import statistics
import time

import pytest
from django.core.management import call_command

pytestmark = [pytest.mark.django_db, pytest.mark.alone]
QUERIES = ("", "?status=failed", "?status=lost", "?q=status:failed", "?sort=-duration", "?page=40")
ROUNDS = 15


def seed(runs, number):
    call_command("seed_runs", runs, seed=number, verbosity=0)


def medians(client):
    """Seconds of each page, the pages in turn so that a busy moment is everybody's."""
    taken = {query: [] for query in QUERIES}
    for _ in range(ROUNDS):
        for query in QUERIES:
            began = time.perf_counter()
            assert client.get(f"/runs/{query}").status_code == 200
            taken[query].append(time.perf_counter() - began)
    return {query: statistics.median(seconds) for query, seconds in taken.items()}


def test_the_history_of_a_hundred_thousand_runs_costs_at_most_twice_that_of_a_thousand(client):
    seed(1_000, 1)
    few = medians(client)
    seed(99_000, 2)
    many = medians(client)
    for query in QUERIES:
        print(f"/runs/{query:<16} {few[query] * 1000:5.1f} ms at 1,000, {many[query] * 1000:5.1f} ms at 100,000")
    assert many[""] <= 2 * few[""]
    assert sum(many.values()) <= 2 * sum(few.values())

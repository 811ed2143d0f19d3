"""Measure what calls and pages cost on this registry, in this process, beside the raw driver. Changes nothing."""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import connection
from django.db.models import Count
from django.templatetags.static import static
from django.test import Client

from core.commands import BaseCommand
from runs import cursors
from runs.models import TunixRun
from runs.querysets import LIST_FIELDS

FLOOR = "raw driver and json.dumps"
ABSENT = "nothing-has-this"


class Command(BaseCommand):
    help = "Median, 95th percentile and CPU of the main calls and pages, in milliseconds. Reads only."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rounds", type=int, default=30)
        parser.add_argument("--run", help="a run whose page, log and metrics are read; the newest otherwise")
        parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")

    def handle(self, *, rounds: int, run: str | None, json: bool, **_: Any) -> None:
        settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
        if settings.TUNIX_RT_AUTH != "open":
            raise CommandError("Set TUNIX_RT_AUTH=open for this command: it would measure the login page.")
        try:
            static("runs/favicon.svg")
        except ValueError as error:
            raise CommandError("Run collectstatic first: pages name its files.") from error
        chosen = TunixRun.objects.alive().filter(pk=run).first() if run else TunixRun.objects.newest_first().first()
        if chosen is None:
            raise CommandError("There is no run to measure with.")
        found = measured(cases(chosen), rounds)
        if json:
            self.stdout.write(dumps({"rows": TunixRun.objects.count(), "cases": found}))
            return
        self.stdout.write(f"{'':<44}  median     95th      CPU  of the floor")
        for name, each in found.items():
            self.stdout.write(
                f"{name:<44} {each['median']:7.2f} {each['p95']:8.2f} {each['cpu']:8.2f} {each['of_floor']:9.1f} ×"
            )


def dumps(value: Any) -> str:
    return json.dumps(value)


def cases(run: TunixRun) -> dict[str, Callable[[], Any]]:
    """Name and act of each. Filters are by the most common value, by the least common, and by one that is absent."""
    client = Client()

    def get(path: str, **query: Any) -> Callable[[], Any]:
        address = f"{path}?{urlencode(query)}" if query else path

        def act() -> None:
            answer: Any = client.get(address)
            content = b"".join(answer.streaming_content) if answer.streaming else answer.content
            if answer.status_code != 200:
                raise CommandError(f"{address} answered {answer.status_code}: {content[:200]!r}")

        return act

    api, rows = "/api/tunix/runs", TunixRun.objects.count()
    found: dict[str, Callable[[], Any]] = {FLOOR: floor(), "list": get(api), "list, 100 rows": get(api, limit=100)}
    common: dict[str, str] = {}
    for column in ("status", "dataset_key", "model_id", "mode"):
        by_count = TunixRun.objects.alive().values_list(column).annotate(count=Count("pk")).order_by("-count")
        values = [value for value, _ in by_count]
        common[column] = values[0]
        found[f"list, {column} common"] = get(api, **{column: values[0]})
        found[f"list, {column} rare"] = get(api, **{column: values[-1]})
    for column in ("dataset_key", "model_id", "tag"):
        found[f"list, {column} absent"] = get(api, **{column: ABSENT})
    found["list, two filters"] = get(api, status="failed", dataset_key=common["dataset_key"])
    found["list, two filters, none has both"] = get(api, status="failed", model_id=ABSENT)
    for offset in (10_000, 900_000):
        if offset < rows:
            found[f"raw driver, offset {offset:,}"] = floor(offset)
            found[f"list, offset {offset:,}"] = get(api, offset=offset)
            found[f"list, cursor at {offset:,}"] = get(api, cursor=cursor_at(offset))
    found |= {
        "list, search": get(api, q="status:failed lr>=1e-5"),
        "detail": get(f"{api}/{run.run_id}"),
        "history page": get("/runs/"),
        "history page, by duration": get("/runs/", sort="-duration"),
        "run page": get(f"/runs/{run.run_id}/"),
        "overview": get("/"),
        "admin's list": get("/admin/runs/tunixrun/"),
        "metrics, 1,000 points of each": get(f"{api}/{run.run_id}/metrics", max_points=1000),
        "log, 64 KB of the middle": get(f"{api}/{run.run_id}/logs", offset=100_000_000, limit=65_536),
        "/metrics": get("/metrics"),
    }
    return found


def floor(offset: int = 0) -> Callable[[], None]:
    """The list's own statement on the bare cursor, as JSON: what no framework can be below. Deep offsets straight."""
    rows = TunixRun.objects.alive().newest_first().values(*LIST_FIELDS)[offset : offset + 21]
    sql, parameters = rows.query.sql_with_params()

    def act() -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            json.dumps([dict(zip(LIST_FIELDS, row, strict=True)) for row in cursor.fetchall()], default=str)

    return act


def cursor_at(offset: int) -> str:
    row = TunixRun.objects.alive().newest_first().values(*LIST_FIELDS)[offset : offset + 1].get()
    return cursors.encode(row)


def measured(acts: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each; the acts in turn, so that a busy moment of the machine is everybody's.

    Each is done twice and timed the second time: what the processor remembers after the act before, which may have
    counted a million runs, is no matter of how many runs there are.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            act()
            began, cpu = time.perf_counter(), time.process_time()
            act()
            taken[name].append((time.perf_counter() - began, time.process_time() - cpu))
    found = {}
    for name, pairs in taken.items():
        seconds = sorted(wall for wall, _ in pairs)
        found[name] = {
            "median": statistics.median(seconds) * 1000,
            "p95": seconds[int(len(seconds) * 0.95)] * 1000,
            "cpu": statistics.median(cpu for _, cpu in pairs) * 1000,
        }
    for each in found.values():
        each["of_floor"] = each["median"] / found[FLOOR]["median"]
    return found

"""What Prometheus is told. Of the runs it is counted when asked; of the requests it is kept, by each web worker."""

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client import CollectorRegistry, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from runs.execution import wake
from runs.models import TunixRun

REQUEST_SECONDS = Histogram(
    "tunix_rt_http_request_seconds",
    "Seconds until a request was answered.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
RECENT = timedelta(days=1)
DURATION_BUCKETS = (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600)
# More recent runs than this are a sample: the newest.
MAX_RECENT = 100_000


def exposition() -> bytes:
    """The text that Prometheus reads. A database that is away is a value, not an error."""
    registry = CollectorRegistry()
    registry.register(_Registry())
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.MultiProcessCollector(registry)
    else:
        registry.register(_Requests())
    return generate_latest(registry)


class _Requests(Collector):
    """Of this one process, where no gunicorn has set up a directory for several."""

    def collect(self) -> Any:
        return REQUEST_SECONDS.collect()


class _Registry(Collector):
    def collect(self) -> Iterator[Any]:
        disk = shutil.disk_usage(settings.TUNIX_RT_HOME)
        yield GaugeMetricFamily("tunix_rt_disk_free_bytes", "Free on the disk of the data directory.", value=disk.free)
        heard = wake.is_heard()
        yield GaugeMetricFamily("tunix_rt_dispatcher_up", "Whether a dispatcher of this host listens.", value=heard)
        yield GaugeMetricFamily("tunix_rt_slots", "Runs that may train here at a time.", value=settings.SLOTS)
        try:
            families = [_by_status(), _queue_age(), _durations()]
        except DatabaseError:
            families = []
        up = bool(families)
        yield GaugeMetricFamily("tunix_rt_database_up", "Whether the database answers.", value=up)
        yield from families


def _by_status() -> Any:
    """The depth of the queue is the count of `pending`."""
    family = GaugeMetricFamily("tunix_rt_runs", "Runs that are not in the trash.", labels=["status"])
    counted = TunixRun.objects.alive().values("status").annotate(count=Count("pk")).values_list("status", "count")
    found = dict(counted.order_by())
    for status in TunixRun.Status.values:
        family.add_metric([status], found.get(status, 0))
    return family


def _queue_age() -> Any:
    waiting = TunixRun.objects.alive().filter(status=TunixRun.Status.PENDING)
    oldest = waiting.aggregate(oldest=Min("accepted_at"))["oldest"]
    seconds = (timezone.now() - oldest).total_seconds() if oldest else 0
    name, said = "tunix_rt_queue_age_seconds", "How long the run that has waited longest has waited."
    return GaugeMetricFamily(name, said, value=max(seconds, 0))


def _durations() -> Any:
    family = GaugeHistogramMetricFamily(
        "tunix_rt_recent_run_duration_seconds",
        "How long the runs took that were started in the last 24 hours and have ended.",
        labels=["mode", "status"],
    )
    recent = TunixRun.objects.alive().filter(started_at__gte=timezone.now() - RECENT, duration_seconds__isnull=False)
    found: dict[tuple[str, str], list[float]] = {}
    for mode, status, seconds in recent.newest_first().values_list("mode", "status", "duration_seconds")[:MAX_RECENT]:
        found.setdefault((mode, status), []).append(seconds or 0.0)
    for labels, all_seconds in sorted(found.items()):
        bounds = [*DURATION_BUCKETS, float("inf")]
        buckets = [
            (f"{bound:g}" if bound != float("inf") else "+Inf", _at_most(all_seconds, bound)) for bound in bounds
        ]
        family.add_metric(list(labels), buckets, gsum_value=sum(all_seconds))
    return family


def _at_most(values: list[float], bound: float) -> int:
    return sum(value <= bound for value in values)

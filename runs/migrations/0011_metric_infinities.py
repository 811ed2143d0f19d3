"""An infinity that was a metric's last value is stored as such. So far it was NULL, as NaN is."""

import math
import struct

from django.db import migrations


def store(apps, schema_editor):
    """From the last point of the last block of each series that has no finite last value."""
    blocks = apps.get_model("runs", "MetricBlock").objects
    series = apps.get_model("runs", "MetricSeries").objects
    for each in series.filter(last_value=None).iterator():
        block = blocks.filter(series=each).order_by("-number").first()
        last = _last_value(bytes(block.points)) if block else math.nan
        if math.isinf(last):
            series.filter(pk=each.pk).update(last_value=last)


def _last_value(points):
    """Of steps, values and times, one after the other, as little-endian numbers of 8 bytes."""
    count = len(points) // 24
    values = memoryview(points)[16 * count - 8 : 16 * count]
    return struct.unpack("<d", values)[0] if count else math.nan


def forget(apps, schema_editor):
    apps.get_model("runs", "MetricSeries").objects.filter(last_value__in=[math.inf, -math.inf]).update(last_value=None)


class Migration(migrations.Migration):
    dependencies = [("runs", "0010_run_notices")]

    operations = [migrations.RunPython(store, forget)]

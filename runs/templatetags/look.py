"""How values look on a page: durations, times, sizes, numbers, statuses. The rules are in docs/development.md."""

import json
import math
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from runs import access
from runs.charts import Scale
from runs.models import TunixRun
from runs.terminal import Span

register = template.Library()
MISSING = mark_safe('<span class="none" aria-label="none">–</span>')
MINUTE, HOUR, DAY = 60, 3600, 86_400


def absent(value: Any) -> bool:
    """Also a template's "": what it makes of a name that a record does not have."""
    return value is None or value == ""


@register.simple_tag
@lru_cache(maxsize=256)  # some eighty of them on a page, and the names are our own
def icon(name: str, css: str = "") -> SafeString:
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#i-{}"/></svg>', css, static("runs/sprite.svg"), name
    )


@register.simple_tag
@lru_cache(maxsize=64)
def status(value: str, size: str = "") -> SafeString:
    """A status as shape, word and colour: never one of them alone."""
    return format_html(
        '<span class="status {}" data-status="{}">{}{}</span>', size, value, icon(value), TunixRun.Status(value).label
    )


@register.filter
def may_change(run: TunixRun) -> bool:
    """Whether whoever looks may annotate and cancel it: no button that would be refused."""
    return access.may_change(run.owner_id)


@register.filter
def duration(seconds: Any) -> str | SafeString:
    """Two units at most: `0.4 ms`, `0.04 s`, `24 s`, `4 min 12 s`, `2 h 14 min`, `3 d 4 h`."""
    if absent(seconds):
        return MISSING
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    for large, small, names in ((DAY, HOUR, "d h"), (HOUR, MINUTE, "h min"), (MINUTE, 1, "min s")):
        if whole >= large:
            name, rest = names.split()
            return f"{whole // large} {name}" + (f" {whole % large // small} {rest}" if whole % large // small else "")
    return f"{whole} s"


@register.filter
def elapsed(run: TunixRun) -> str | SafeString:
    """How long the run took or, while it goes on, has taken."""
    if run.status == TunixRun.Status.RUNNING:
        seconds = (timezone.now() - run.started_at).total_seconds()
        return format_html(
            '<span class="tick" data-since="{}">{}</span>', run.started_at.isoformat(), duration(max(seconds, 0))
        )
    return duration(run.duration_seconds)


CAUSES = {
    "host_out_of_memory": "The host ran out of memory and the kernel killed it",
    "device_out_of_memory": "The device ran out of memory",
    "nan_loss": "The loss became NaN",
    "timeout": "It ran out of time",
    "not_started": "It could not be started",
    "host_lost": "Its host or supervisor is gone",
    "host_stopped": "It was ended because its host was stopped",
}


@register.filter
def cause_sentence(run: TunixRun) -> str:
    """What a run that did not complete died of; its message where that says it better."""
    if run.cause == "host_out_of_memory" and not run.evidence:
        return "Killed, possibly because the host ran out of memory"
    return CAUSES.get(run.cause) or run.message or "It failed, and no message was recorded"


@register.filter
def refused_by_confinement(run: TunixRun) -> bool:
    """Whether it probably failed for a path that its confinement closes: its user may be allowed what it is not."""
    confinement = run.provenance.get("confinement")
    confined = isinstance(confinement, dict) and bool(confinement.get("files"))
    return confined and ("Permission denied" in run.evidence or "PermissionError" in run.evidence)


@register.filter
def last_characters(text: str, count: int) -> str:
    return text if len(text) <= count else "…" + text[-count:]


@register.filter
def when(moment: Any) -> SafeString:
    """A time relative to now, the exact one behind it. The page's script keeps it true and shows it in local time."""
    if absent(moment):
        return MISSING
    exact = f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, relative(moment))


def relative(moment: datetime, now: datetime | None = None) -> str:
    now = now or timezone.now()
    seconds = (now - moment).total_seconds()
    if seconds < MINUTE:
        return "just now"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min ago"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h ago"
    if seconds < 2 * DAY:
        return "yesterday"
    return f"{moment.day} {moment:%b}" if moment.year == now.year else f"{moment.day} {moment:%b %Y}"


@register.filter
def size(count: Any) -> str | SafeString:
    """Bytes as `31.2 KB`, `4.9 GB`; a KB is 1,024 bytes."""
    if absent(count):
        return MISSING
    amount = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1024:
            return f"{int(amount):,} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TB"


@register.filter
def number(value: Any) -> str | SafeString:
    """`7,473`; a small fraction as it is typed: `2e-5`."""
    if absent(value):
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return not_finite(value)
    text = f"{value:.4g}" if value == 0 or abs(value) >= 0.001 else _scientific(value)
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text


def not_finite(value: float) -> str:
    """`NaN`, `+∞`, `−∞`."""
    return "NaN" if math.isnan(value) else "+∞" if value > 0 else "\N{MINUS SIGN}∞"


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


@register.simple_tag
def log_lines(page: Any, address: str) -> SafeString:
    """Rows of a log, each with the number of its line as a link to it. Here and not in a template: there are two
    thousand. One line may have written several rows that were drawn again: it is found by the last."""
    # Where rows were drawn again, the link leads to the line as it was written.
    each = "&amp;each=1" if page.rows.redrawn else ""
    link = format_html("{}?stream={}{}&amp;offset=", mark_safe(escape(address)), page.stream, mark_safe(each))
    last_of = {row.number: place for place, row in enumerate(page.rows.settled)}
    parts = []
    for place, row in enumerate(page.rows.settled):
        number, spans = row.number, "".join(map(_span, row.spans))
        name = f' id="L{number}"' if last_of[number] == place else ""
        parts.append(
            f'<li{name}><a href="{link}{row.offset}#L{number}" aria-label="Line {number}">{number}</a>'
            f"<code>{spans}</code></li>"
        )
    return mark_safe("\n".join(parts))


@register.filter
def one_line(text: str) -> str:
    """What was drawn over stands beside what came after it: a browser takes a carriage return for a new line."""
    return re.sub(r" *\r *", " ", text) if "\r" in text else text


def _span(span: Span) -> str:
    text = escape(span.text)
    return f'<span class="{span.css}">{text}</span>' if span.css else text


@register.filter
def metric(value: Any, name: str) -> str | SafeString:
    """Four significant digits; bytes, seconds and shares as such, by the metric's name."""
    if absent(value):
        return MISSING
    if not math.isfinite(value):
        return not_finite(value)
    if name.endswith("_bytes"):
        return size(value)
    if abs(value) >= 10_000:
        return f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.3g}"
    return number(float(f"{value:.3g}") if abs(value) < 0.001 else float(value))


@register.filter
def brief(value: Any) -> str:
    """A hash as the 10 characters that people compare, anything else as JSON."""
    text = as_json(value)
    return text[:10] if len(text) >= 40 and all(each in "0123456789abcdef" for each in text) else text


@register.filter
def of_prefix(scale: Scale, prefix: str) -> Scale:
    """All metrics whose names have `prefix`."""
    return scale.of(prefix)


@register.filter
def value_of(values: dict[str, Any], name: str) -> Any:
    """For a name that a template cannot spell."""
    return values.get(name)


@register.filter
def front_cut(path: str, length: int = 28) -> str:
    """The end of a long path: `…/step-48000`."""
    return path if len(path) <= length or not path.startswith(("/", "./", "~")) else "…/" + path.rsplit("/", 1)[-1]


@register.filter
def compared(value: Any, name: str) -> str | SafeString:
    """A value of the table of differences: hashes brief, durations and numbers as elsewhere."""
    if absent(value):
        return MISSING
    if name == "duration_seconds" or name == "timeout_seconds":
        return duration(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return metric(value, name)
    return brief(value)


@register.simple_tag(takes_context=True)
def without_run(context: Any, run: TunixRun) -> str:
    """The comparison's address without one of its runs."""
    query = context["request"].GET.copy()
    query.setlist("run", [each for each in query.getlist("run") if each != str(run.run_id)])
    return f"{context['request'].path}?{query.urlencode()}"


@register.filter
def as_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.simple_tag(takes_context=True)
def address(context: Any, without: str = "", **changes: Any) -> str:
    """This page's address with some of its query changed; None removes. Changing a filter goes back to page 1."""
    query = context["request"].GET.copy()
    if "page" not in changes:
        query.pop("page", None)
    query.pop(without, None)
    for name, value in changes.items():
        if value in (None, ""):
            query.pop(name, None)
        else:
            query[name] = value
    for name in [name for name, values in query.lists() if not any(values)]:
        del query[name]
    return f"{context['request'].path}?{query.urlencode()}" if query else context["request"].path

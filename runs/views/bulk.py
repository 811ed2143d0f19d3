"""What is done with several runs at once: those that are ticked, or all that the filters in the address match."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from runs import access, services, trash, validation
from runs.filters import TOO_SLOW, RunTableFilter
from runs.models import TunixRun
from runs.time_limit import TooSlow
from runs.views.shared import uuid_or_404

MAX_RUNS = 10_000
CHANGES = ("tag", "cancel")
RIGHTS = {"compare": access.Right.VIEW, "delete": access.Right.ADMINISTER}


@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    """`action` is compare, tag, cancel or delete. The last two say first what will happen, and do it with `sure`."""
    action = request.POST.get("action")
    try:
        runs = _chosen(request)
    except TooSlow:
        messages.error(request, f"The search {TOO_SLOW}.")
        runs = []
    access.require(RIGHTS.get(action or "", access.Right.OPERATE))
    back = redirect(f"{reverse('history')}?{request.GET.urlencode()}" if request.GET else reverse("history"))
    if not runs:
        messages.error(request, "No run was selected.")
        return back
    if len(runs) > MAX_RUNS:
        messages.error(request, f"These filters match more than {MAX_RUNS:,} runs. Narrow them.")
        return back
    if action == "compare":
        return redirect(f"{reverse('compare')}?{urlencode([('run', run.run_id) for run in runs])}")
    if action in CHANGES:
        runs = _that_may_change(request, runs)
        if not runs:
            return back
    if action == "tag":
        _tag(request, runs)
        return back
    if action not in ACTS:
        messages.error(request, "There is nothing of that name to do with runs.")
        return back
    if "sure" not in request.POST:
        asked_at = timezone.now().isoformat()
        context = {"all": "all" in request.POST, "asked_at": asked_at, **_what_will_happen(action, runs)}
        return render(request, "runs/bulk.html", context)
    messages.success(request, ACTS[action](runs))
    return back


def _chosen(request: HttpRequest) -> list[TunixRun]:
    if "all" in request.POST:
        # Not what has come since it was asked whether one is sure.
        until = _moment(request.POST.get("asked_at", ""))
        filters = RunTableFilter(request.GET, TunixRun.objects.alive().filter(created_at__lte=until), request=request)
        with filters.limit():
            if not filters.is_valid():
                return []
            return filters.sorted().rows(0, MAX_RUNS + 1, lambda runs: runs.without_logs())
    run_ids = [uuid_or_404(each) for each in request.POST.getlist("run")]
    alive = TunixRun.objects.alive().filter(pk__in=run_ids).without_logs().in_bulk()
    return [alive[each] for each in run_ids if each in alive]


def _that_may_change(request: HttpRequest, runs: list[TunixRun]) -> list[TunixRun]:
    """Those of them that whoever asks may change; of the others a message tells."""
    found = [run for run in runs if access.may_change(run.owner_id)]
    if others := len(runs) - len(found):
        messages.error(request, f"{others:,} of the selected runs are not yours and stay as they are.")
    return found


def _moment(text: str) -> datetime:
    """Now, where it says none."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    return moment if moment and moment.tzinfo else timezone.now()


def _what_will_happen(action: str, runs: list[TunixRun]) -> dict[str, Any]:
    under_way = [run for run in runs if run.is_under_way]
    concerned = under_way if action == "cancel" else [run for run in runs if not run.is_under_way]
    return {
        "action": action,
        "concerned": concerned,
        "others": len(runs) - len(concerned),
        "bytes": trash.bytes_freed_by(concerned) if action == "delete" else 0,
    }


def _tag(request: HttpRequest, runs: list[TunixRun]) -> None:
    name = request.POST.get("tag", "").strip()
    try:
        validation.tags([name])
        services.add_tag(runs, name)
    except ValidationError as error:
        messages.error(request, f"The tag cannot be used: it {error.messages[0]}.")
    else:
        messages.success(request, f"{len(runs):,} run{'' if len(runs) == 1 else 's'} tagged “{name}”.")


def _cancel(runs: list[TunixRun]) -> str:
    return f"Cancel was asked for {_count(runs, services.cancel, services.AlreadyEnded)}."


def _delete(runs: list[TunixRun]) -> str:
    return f"{_count(runs, services.delete, services.NotEnded)} moved to the trash, where they stay for 7 days."


def _count(runs: list[TunixRun], act: Callable[[TunixRun], None], refused: type[Exception]) -> str:
    """Do it to each, and say to how many; one that has changed meanwhile is left alone."""
    done = 0
    for run in runs:
        try:
            act(run)
            done += 1
        except refused:
            continue
    return f"{done:,} run{'' if done == 1 else 's'}"


ACTS: dict[str, Callable[[list[TunixRun]], str]] = {"cancel": _cancel, "delete": _delete}

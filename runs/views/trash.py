"""What was deleted and can be restored."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from runs import trash
from runs.templatetags.look import size

SHOWN = 200


@require_http_methods(["GET", "POST"])
def trash_page(request: HttpRequest) -> HttpResponse:
    shown = list(trash.contents().for_table()[:SHOWN])
    freed = trash.bytes_freed_by(shown)
    if request.method == "GET":
        return render(request, "runs/trash.html", {"runs": shown, "bytes": freed})
    done = sum(trash.free(run.run_id) for run in shown)
    messages.success(request, f"Freed {done} run{'' if done == 1 else 's'}, {size(freed)}.")
    return redirect("trash")

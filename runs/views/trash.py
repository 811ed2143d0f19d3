"""What was deleted and can be restored."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from runs import services, trash
from runs.templatetags.look import size

SHOWN = 200


@require_http_methods(["GET", "HEAD", "POST"])
def trash_page(request: HttpRequest) -> HttpResponse:
    shown = list(trash.contents().without_logs()[:SHOWN])
    freed = trash.bytes_freed_by(shown)
    if request.method != "POST":
        return render(request, "runs/trash.html", {"runs": shown, "bytes": freed})
    done = services.free_from_trash(shown)
    messages.success(request, f"Freed {done} run{'' if done == 1 else 's'}, {size(freed)}.")
    return redirect("trash")

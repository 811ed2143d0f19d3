"""What was deleted and can be restored."""

from django.contrib import messages
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from runs import trash
from runs.templatetags.look import size

SHOWN = 200


@require_http_methods(["GET", "POST"])
def trash_page(request: HttpRequest) -> HttpResponse:
    runs = trash.contents().for_table()
    if request.method == "GET":
        total = runs.aggregate(total=Sum("files_bytes"))["total"] or 0
        return render(request, "runs/trash.html", {"runs": runs[:SHOWN], "bytes": total})
    shown = list(runs[:SHOWN])
    freed = trash.bytes_freed_by(shown)
    done = sum(trash.free(run.run_id) for run in shown)
    messages.success(request, f"Freed {done} run{'' if done == 1 else 's'}, {size(freed)}.")
    return redirect("trash")

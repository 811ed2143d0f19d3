"""Views of the list that are kept under a name: its filters, order and columns, as they are in the address."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from core.errors import Refusal
from runs import services
from runs.forms import SavedViewForm
from runs.models import SavedView


def query_of(given: QueryDict) -> str:
    """What a view keeps of an address: everything but the page, and nothing that is empty."""
    kept = QueryDict(mutable=True)
    for name in sorted(given):
        values = [value for value in given.getlist(name) if value]
        if values and name != "page":
            kept.setlist(name, values)
    return kept.urlencode()


@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """A name that is there already is that view, changed."""
    form = SavedViewForm(request.POST)
    back = redirect(f"{reverse('history')}?{request.POST.get('query', '')}")
    if not form.is_valid():
        messages.error(request, "; ".join(f"{name} {each}" for name, errors in form.errors.items() for each in errors))
        return back
    name, query = form.cleaned_data["name"], query_of(QueryDict(form.cleaned_data["query"]))
    try:
        services.keep_view(name, query)
    except Refusal as error:
        messages.error(request, str(error))
        return back
    messages.success(request, f"The view “{name}” is kept.")
    return back


@require_POST
def forget(request: HttpRequest, view_id: int) -> HttpResponse:
    view = get_object_or_404(SavedView, pk=view_id)
    services.forget_view(view)
    messages.success(request, f"The view “{view.name}” is forgotten. No run was changed.")
    return redirect("history")

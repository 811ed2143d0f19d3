"""Where training stands here: Tunix is being installed, could not be, or is there and has trained nothing yet."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from core.errors import Refusal
from runs import datasets, installation, services, tunix
from runs.forms import FIRST_TRAINING, LaunchForm
from runs.models import TunixRun


def training_panel() -> dict[str, Any]:
    """What the overview's panel shows."""
    under_way = installation.current()  # before it is asked what is there: one that ends in between is there
    found = tunix.availability()
    if found.available:
        return {"tunix": found, "first_training": _first_training()}
    return {"tunix": found, "installation": under_way}


def _first_training() -> LaunchForm | None:
    """What a newcomer trains with one click; None where there has been a training, or the example is gone."""
    if TunixRun.objects.alive().filter(mode=TunixRun.Mode.LOCAL).exists():
        return None
    try:
        datasets.get(str(FIRST_TRAINING["dataset_key"]))
    except datasets.DatasetError:
        return None
    return LaunchForm.first_training()


@require_safe
def training(request: HttpRequest) -> HttpResponse:
    """The panel, again and again while Tunix is installed. Once it is there, so are the buttons that train."""
    return render(request, "runs/_training.html", {**training_panel(), "polled": True})


@require_POST
def install(request: HttpRequest) -> HttpResponse:
    try:
        services.install_tunix()
    except Refusal as error:
        messages.error(request, str(error))
    return redirect("overview")

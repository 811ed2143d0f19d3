"""What the frame of every page shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from runs import tunix


def shell(request: HttpRequest) -> dict[str, Any]:
    return {"tunix": tunix.availability, "open_mode": settings.TUNIX_RT_AUTH == "open"}

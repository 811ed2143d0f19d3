"""What the frame of every page shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import cached_property

from runs import access, tunix


def shell(request: HttpRequest) -> dict[str, Any]:
    return {"tunix": tunix.availability, "open_mode": settings.TUNIX_RT_AUTH == "open", "may": May()}


class May:
    """What whoever looks at the page may do: no button that would be refused. Asked for when a template does."""

    @cached_property
    def operate(self) -> bool:
        return access.may(access.Right.OPERATE)

    @cached_property
    def administer(self) -> bool:
        return access.may(access.Right.ADMINISTER)

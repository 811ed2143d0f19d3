"""What the frame of every page shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils.functional import cached_property

from runs import access, tunix


def shell(request: HttpRequest) -> dict[str, Any]:
    return {
        "tunix": tunix.availability,
        "open_mode": settings.TUNIX_RT_AUTH == "open",
        "may": May(),
        "plain_http": _plain_http(request),
    }


def _plain_http(request: HttpRequest) -> bool:
    """Whether the cookies of a login would not come back: they go over HTTPS only, but for this very machine."""
    name = split_domain_port(request.META.get("HTTP_HOST", ""))[0]
    return not request.is_secure() and name not in settings.LOOPBACK_HOSTS


class May:
    """What whoever looks at the page may do: no button that would be refused. Asked for when a template does."""

    @cached_property
    def operate(self) -> bool:
        return access.may(access.Right.OPERATE)

    @cached_property
    def administer(self) -> bool:
        return access.may(access.Right.ADMINISTER)

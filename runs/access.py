"""Who may do what. Services ask here before they change anything; pages ask to show no button that would be refused.

A request is bound to the thread that serves it by the middleware. Outside of one, in a command, everything may be done:
whoever starts commands here has the database and its files anyway.
"""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from core.errors import Kind, Refusal

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


class Right(StrEnum):
    """What a role gives, as a permission of Django's. Each contains those before it."""

    VIEW = "runs.view_tunixrun"
    OPERATE = "runs.operate"
    ADMINISTER = "runs.administer"


WORDS = {
    Right.VIEW: "see anything here: it has no role. Someone who administers this server gives it one",
    Right.OPERATE: "do this: it takes the role operator or admin",
    Right.ADMINISTER: "do this: it takes the role admin",
}


class NotAllowed(Refusal, PermissionDenied):
    """The message says what it would take. Of Django's too, whose own views ask for it."""

    kind = Kind.FORBIDDEN


@dataclass(frozen=True)
class Actor:
    """Who acts, for the record. `way` is page, api, admin or command; `address` is empty for a command."""

    name: str
    user_id: Any
    address: str
    way: str
    token: str = ""


@contextmanager
def acting(request: HttpRequest) -> Iterator[None]:
    bound = _request.set(request)
    try:
        yield
    finally:
        _request.reset(bound)


def may(right: Right) -> bool:
    request = _request.get()
    if request is None or settings.TUNIX_RT_AUTH == "open":
        return True
    if right is not Right.VIEW and _reads_only(request):
        return False
    return request.user.is_active and request.user.has_perm(right)


def require(right: Right) -> None:
    """Raises NotAllowed."""
    if may(right):
        return
    request = _request.get()
    if request is not None and _reads_only(request):
        raise NotAllowed("This token reads only.")
    raise NotAllowed(f"Your account may not {WORDS[right]}.")


def may_change(owner_id: Any) -> bool:
    """Whether a run of this owner may be changed: by any operator or, with TUNIX_RT_OWN_RUNS_ONLY, its owner.

    An admin may change every run, those included that have no owner: of a command, or from `open` mode.
    """
    if not may(Right.OPERATE):
        return False
    request = _request.get()
    everybody = request is None or not settings.OWN_RUNS_ONLY or may(Right.ADMINISTER)
    return everybody or (owner_id is not None and request is not None and request.user.pk == owner_id)


def require_change(owner_id: Any) -> None:
    """Raises NotAllowed."""
    require(Right.OPERATE)
    if not may_change(owner_id):
        raise NotAllowed("This run is not yours: on this server its owner may change it, and the role admin.")


def _reads_only(request: HttpRequest) -> bool:
    """Whether the request came with a token of the scope read."""
    return getattr(getattr(request, "auth", None), "scope", "write") == "read"


def actor() -> Actor:
    request = _request.get()
    if request is None:
        return Actor(_account(), None, "", "command")
    path = request.path_info
    way = "api" if path.startswith("/api/") else "admin" if path.startswith("/admin/") else "page"
    if settings.TUNIX_RT_AUTH == "open":  # asking for the user would ask the database, which may be away
        return Actor("local", None, address_of(request), way)
    token = getattr(getattr(request, "auth", None), "name", "")
    return Actor(request.user.get_username(), request.user.pk, address_of(request), way, token)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def address_of(request: HttpRequest) -> str:
    """Where a request came from, as the outermost of our TUNIX_RT_PROXIES proxies saw it. The rest can be made up."""
    if settings.PROXIES:
        seen = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",")]
        if len(seen) >= settings.PROXIES and seen[-settings.PROXIES]:
            return seen[-settings.PROXIES][:45]
    return request.META.get("REMOTE_ADDR", "")

"""What every request passes through, besides Django's own middleware. Each decides one thing."""

import logging
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core.exceptions import DisallowedHost
from django.db import connection
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.utils.functional import SimpleLazyObject

from core.errors import Refusal
from runs import access, datasets, services
from runs.monitoring import REQUEST_SECONDS
from tunix_rt import errors, private
from tunix_rt.errors import error_response, is_api

log = logging.getLogger("runs.http")
GetResponse = Callable[[HttpRequest], HttpResponse]
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
KNOWN_METHODS = (*SAFE_METHODS, "POST", "PATCH", "PUT", "DELETE")
OPEN_MODE_USER = "local"
OF_NO_ROLE = ("/admin/", "/account/", "/login/", "/logout/", "/static/", "/favicon.ico")


def request_seconds(get_response: GetResponse) -> GetResponse:
    """How long requests take, by the pattern of their address: the addresses themselves are without number."""

    def middleware(request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = get_response(request)
        route = request.resolver_match.route if request.resolver_match else "none"
        method = request.method if request.method in KNOWN_METHODS else "other"
        REQUEST_SECONDS.labels(method, route, str(response.status_code)).observe(time.perf_counter() - began)
        return response

    return middleware


def api_without_trailing_slash(get_response: GetResponse) -> GetResponse:
    """`/api/tunix/runs/` is `/api/tunix/runs`: both answer, neither redirects."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.endswith("/") and is_api(request.path_info):
            request.path_info = request.path_info[:-1]
        return get_response(request)

    return middleware


def same_origin_writes(get_response: GetResponse) -> GetResponse:
    """Refuse a write that a browser sends from another site; programs send neither header and pass.

    Django's CSRF token covers the forms of pages. This covers the API too, where no login (open mode) means no token.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method not in SAFE_METHODS and not _same_origin(request):
            return error_response(request, 403, "A page of another site may not change anything here.")
        return get_response(request)

    return middleware


def _same_origin(request: HttpRequest) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none") or request.headers.get("Origin", "") in settings.CSRF_TRUSTED_ORIGINS
    origin = request.headers.get("Origin")
    if origin is None or origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    return origin.partition("://")[2] == request.get_host()


def database_away(get_response: GetResponse) -> GetResponse:
    """503 and a sentence, instead of a 500, where a request cannot do without the database; 400 where it asks too much.

    Our own views check what they are sent. Forms of Django's admin look for any number that they are sent.
    """

    class Middleware:
        def __call__(self, request: HttpRequest) -> HttpResponse:
            return get_response(request)

        def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
            if errors.is_of_a_value(error):
                return errors.value_too_large(request)
            if not errors.is_of_the_database(error):
                return None
            log.error("database cannot be used at %s: %s", request.path, error)
            return errors.database_away(request)

    return Middleware()


def refusals(get_response: GetResponse) -> GetResponse:
    """A page that is refused answers with the refusal's status and sentence. The API does so itself."""

    class Middleware:
        def __call__(self, request: HttpRequest) -> HttpResponse:
            return get_response(request)

        def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
            return errors.refused(request, error) if isinstance(error, Refusal) else None

    return Middleware()


def database_file_replaced(get_response: GetResponse) -> GetResponse:
    """A kept connection to SQLite's file ends when another file has its name: a copy that was put back, say.

    What is written to a file that has no name any more is lost.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        opened = getattr(connection, "opened_file", None)
        if opened and connection.connection is not None and opened != _identity(connection.settings_dict["NAME"]):
            connection.close()
        return get_response(request)

    return middleware


@receiver(connection_created)
def _remember_file(connection: Any, **_: Any) -> None:
    if connection.vendor == "sqlite":
        connection.opened_file = _identity(connection.settings_dict["NAME"])
        private.close_database(Path(connection.settings_dict["NAME"]), Path(settings.TUNIX_RT_HOME))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_mode_user(get_response: GetResponse) -> GetResponse:
    """In open mode whoever is on this machine is the user `local`, so that the admin works without a login."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not _is_loopback(request.META.get("REMOTE_ADDR", "")):
            return error_response(request, 403, "Without a login this server answers its own machine only.")
        request.user = SimpleLazyObject(_local_user)  # type: ignore[assignment]
        return get_response(request)

    return middleware


def who_acts(get_response: GetResponse) -> GetResponse:
    """While a request is served, whoever sent it is who acts."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with access.acting(request):
            return get_response(request)

    return middleware


def bounded_body(get_response: GetResponse) -> GetResponse:
    """Refuse a body that is announced as more than this server takes or has room for, before any of it is read."""

    def middleware(request: HttpRequest) -> HttpResponse:
        announced = request.META.get("CONTENT_LENGTH") or "0"
        if announced.isdecimal() and int(announced) > datasets.FORM_BYTES:
            try:
                services.expect_upload(int(announced))
            except Refusal as refusal:
                return errors.refused(request, refusal)
        return get_response(request)

    return middleware


class LoginRequired(LoginRequiredMiddleware):
    """Django's, which asks the database who is signed in even where nobody need be: /healthz answers without one."""

    def process_view(self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any) -> Any:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


def pages_by_role(get_response: GetResponse) -> GetResponse:
    """A page is for those who have a role, and a form for operators: a file of gigabytes is not read for anybody else.

    The admin and the API see to it themselves, an account is its owner's. Who is not signed in is sent to the login.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if not path.startswith(OF_NO_ROLE) and not is_api(path) and request.user.is_authenticated:
            reads = request.method in SAFE_METHODS or path == "/runs/bulk/"  # which compares, too
            access.require(access.Right.VIEW if reads else access.Right.OPERATE)
        return get_response(request)

    return middleware


def host_of(request: HttpRequest) -> str:
    """The name that a request was sent to, without the port; nothing where it is none that we answer to."""
    try:
        return split_domain_port(request.get_host())[0]
    except DisallowedHost:
        return ""


def loopback_cookies(get_response: GetResponse) -> GetResponse:
    """Cookies are Secure; over plain HTTP to this very machine they need not be, and some clients would drop them."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.cookies and not request.is_secure() and host_of(request) in settings.LOOPBACK_HOSTS:
            for cookie in response.cookies.values():
                cookie["secure"] = ""
        return response

    return middleware


def _is_loopback(address: str) -> bool:
    if not address:  # it did not come over a network
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _local_user() -> Any:
    users = get_user_model()._default_manager
    user, _ = users.get_or_create(username=OPEN_MODE_USER, defaults={"is_staff": True, "is_superuser": True})
    return user

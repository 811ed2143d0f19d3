"""Errors that no view answers: JSON below /api/, a page elsewhere. None of them needs the database."""

import sys

from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from core.errors import Refusal

# What needs no words of its own is "Not possible".
TITLES = {
    400: "That request cannot be read",
    403: "Not allowed",
    413: "That is too much",
    429: "Too often",
    404: "Nothing is here",
    500: "Something broke here",
    503: "Not just now",
    507: "The disk is almost full",
}


def wants_json(request: HttpRequest) -> bool:
    return is_api(request.path_info)


def is_api(path: str) -> bool:
    """Whether programs, not people, ask for `path`, with or without a slash at its end."""
    return path.startswith("/api/") or path in (
        "/api",
        "/metrics",
        "/metrics/",
        "/healthz",
        "/healthz/",
        "/readyz",
        "/readyz/",
    )


def error_response(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"detail": detail}, status=status)
    if request.headers.get("HX-Request"):  # the page's script shows the sentence where the request came from
        return HttpResponse(detail, status=status, content_type="text/plain; charset=utf-8")
    return render(request, "error.html", {"title": TITLES.get(status, "Not possible"), "detail": detail}, status=status)


def refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    response = error_response(request, refusal.status, str(refusal))
    for name, value in refusal.headers.items():
        response[name] = value
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, 400, "The request is malformed and was not acted upon.")


def value_too_large(request: HttpRequest) -> HttpResponse:
    return error_response(request, 400, "A value in the request is larger than the database takes. Nothing was done.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, 403, str(exception) or "You may not do this here.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, 404, "There is nothing at this address.")


def is_of_the_database(error: BaseException | None) -> bool:
    """Whether the database is away, and not we are wrong."""
    return isinstance(error, (OperationalError, InterfaceError))


def is_of_a_value(error: BaseException | None) -> bool:
    """Whether the database was asked for what it cannot hold: PostgreSQL says so itself, SQLite's driver for it."""
    return isinstance(error, DataError) or (isinstance(error, OverflowError) and "SQLite INTEGER" in str(error))


def database_away(request: HttpRequest) -> HttpResponse:
    return error_response(request, 503, "The database cannot be used at the moment. Try again shortly.")


def server_error(request: HttpRequest) -> HttpResponse:
    """What no view raised may be the database as well: who is signed in is asked of it on the way to the view."""
    if is_of_the_database(sys.exc_info()[1]):
        return database_away(request)
    return error_response(request, 500, "The error is in the server's log; what was asked for may not have happened.")


def too_many_logins(request: HttpRequest, *_: object) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE. Nothing in it says whether there is such an account."""
    return error_response(request, 429, "Too many logins have failed. Try again in ten minutes.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_response(request, 403, "This form has expired. Go back, reload the page and send it again.")

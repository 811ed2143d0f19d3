"""Errors of the API: `{"detail": "<one sentence>", "errors": {"<field>": ["…"]}}`, `errors` with 422 only."""

import logging
from typing import Any

from django.http import UnreadablePostError
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler

from core.errors import Errors, Kind, Refusal
from runs import datasets

log = logging.getLogger(__name__)


class Unprocessable(exceptions.APIException):
    """422: the request is understood and asks for something that cannot be."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY

    def __init__(self, errors: Errors, detail: str | None = None):
        super().__init__(detail or _sentence(errors))
        self.errors = errors


def handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None leaves the error to Django: the database away, or a defect of ours."""
    if isinstance(error, exceptions.ValidationError):
        error = Unprocessable(flatten(error.detail))
    elif isinstance(error, UnreadablePostError):
        error = exceptions.ParseError("The request ended early. Nothing was stored.")
    elif isinstance(error, OSError) and error.errno in datasets.NO_ROOM:  # where a form's file is put at first
        error = datasets.DiskFull(datasets.DISK_FULL)
    if isinstance(error, Refusal):
        said = {"detail": str(error)} | ({"errors": error.errors} if error.kind == Kind.INVALID else {})
        return Response(said, status=error.status, headers=error.headers)
    response = exception_handler(error, context)
    if response is not None:
        response.data = {"detail": _one_sentence(response.data)}
        if isinstance(error, Unprocessable):
            response.data["errors"] = error.errors
    return response


def flatten(detail: Any, name: str = "") -> Errors:
    """DRF's nested details as one level: `{"tags.2": [...]}`. What belongs to no field belongs to `body`."""
    if isinstance(detail, dict):
        found: Errors = {}
        for key, value in detail.items():
            part = "body" if key == "non_field_errors" else str(key)
            found |= flatten(value, f"{name}.{part}" if name else part)
        return found
    if isinstance(detail, list):
        return {name or "body": [str(item) for item in detail]}
    return {name or "body": [str(detail)]}


def _sentence(errors: Errors) -> str:
    """The first error, beginning with the name of its field, and how many more there are."""
    name, messages = next(iter(errors.items()))
    message = messages[0]
    sentence = f"{name} {message}" if message[:1].islower() else f"{name}: {message}"
    more = sum(len(each) for each in errors.values()) - 1
    return f"{sentence.rstrip('.')}, and {more} more" if more else sentence


def _one_sentence(data: Any) -> str:
    return str(data["detail"]) if isinstance(data, dict) and "detail" in data else str(data)

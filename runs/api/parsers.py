"""How requests are read: bounded JSON, and a stream of rows that is not read here at all."""

import contextlib
import gc
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
from django.http import HttpRequest
from rest_framework import parsers, status
from rest_framework.exceptions import APIException, ParseError

from runs.api.renderers import JSONRenderer
from runs.json_parts import has_more_parts
from runs.limits import JSON_DEPTH, JSON_NAMES, JSON_PARTS

MAX_JSON_BYTES = 1024 * 1024
LARGE_BYTES = 64 * 1024
TOO_DEEP = f"The body is nested deeper than {JSON_DEPTH} levels."
# Held while a large body is read, which takes many times its size for a moment.
_one_large = threading.Lock()
CHUNK_BYTES = 1024 * 1024


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"A JSON body may have {MAX_JSON_BYTES:,} bytes."


class LengthRequired(APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = (
        "A form must announce its length; send the rows themselves, as application/x-ndjson, to stream them."
    )


class JSONParser(parsers.BaseParser):
    """Strict JSON of at most 1 MiB: no NaN, no lone surrogates, no name twice, nesting to JSON_DEPTH."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = b""
        for chunk in chunks_of(stream):
            body += chunk
            if len(body) > MAX_JSON_BYTES:
                raise BodyTooLarge
        refuse_many_parts(body)
        if len(body) < LARGE_BYTES:
            return _read(body)
        with _one_large:
            began = time.monotonic()
            try:
                gc.collect()  # requests are cycles, with all that they said: those before pile up until Python looks
                return _read(body)
            finally:
                time.sleep(time.monotonic() - began)  # as long again is everybody else's


def _read(body: bytes) -> Any:
    refuse_names(body)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ParseError(f"The body is not JSON: {error}.") from error
    refuse_depth(data)
    return data


def refuse_many_parts(body: bytes) -> None:
    """BodyTooLarge before anything is made of it: of a MiB of small objects that would be 40 MB, for each sender."""
    if has_more_parts(body, JSON_PARTS):
        raise BodyTooLarge(f"A JSON body may have {JSON_PARTS:,} commas, colons and opening brackets.")


def refuse_depth(data: Any) -> None:
    """ParseError for what is nested deeper than JSON_DEPTH. Level by level: no stack grows with it."""
    level = [data] if isinstance(data, (dict, list)) else []
    for _ in range(JSON_DEPTH):
        parts = (part for each in level for part in (each.values() if isinstance(each, dict) else each))
        level = [part for part in parts if isinstance(part, (dict, list))]
        if not level:
            return
    raise ParseError(TOO_DEEP)


def refuse_names(body: bytes) -> None:
    """ParseError for an object with one name twice, of which orjson takes the last: which one was meant? Too large is
    one with very many names. Keeps nothing; what is no JSON is left to orjson to say.
    """
    try:
        json.loads(body, object_pairs_hook=_few_and_once, parse_int=str, parse_float=str)
    except RecursionError as error:
        raise ParseError(TOO_DEEP) from error
    except ValueError:
        return


def _few_and_once(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > JSON_NAMES:
        raise BodyTooLarge(f"An object may have {JSON_NAMES:,} names.")
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise ParseError(f"The body has {name[:40]!r} twice in one object.")
        names.add(name)


class RowsParser(parsers.BaseParser):
    """Rows of JSON, handed on as the chunks that they arrive in."""

    media_type = "application/x-ndjson"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return chunks_of(stream)


class GzipParser(RowsParser):
    media_type = "application/gzip"


class FormParser(parsers.MultiPartParser):
    """Django's forms, which must announce their length: it would take a chunked one for empty."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        if not stream.META.get("CONTENT_LENGTH"):
            raise LengthRequired
        try:
            return super().parse(stream, media_type, parser_context)
        except Exception:
            for handler in stream.upload_handlers:  # their files would lie there until the next garbage collection
                with contextlib.suppress(OSError):
                    handler.upload_interrupted()
            raise


class TakesChunked:
    """A view that reads chunked bodies as well. They have no length, which DRF takes for no body."""

    def initialize_request(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        wrapped = super().initialize_request(request, *args, **options)  # type: ignore[misc]
        if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
            wrapped._stream = request
        return wrapped


def chunks_of(request: HttpRequest) -> Iterator[bytes]:
    """The body as it arrives. Raises ParseError where it ends early: what came may end in the middle of a row."""
    source: Any = request if request.META.get("CONTENT_LENGTH") else request.META["wsgi.input"]
    try:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise ParseError("The request ended early. Nothing was stored.") from error

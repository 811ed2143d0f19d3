"""How requests are read: bounded JSON, and a stream of rows that is not read here at all."""

from collections.abc import Iterator
from typing import IO, Any

import orjson
from rest_framework import parsers, status
from rest_framework.exceptions import APIException, ParseError

from runs.api.renderers import JSONRenderer

MAX_JSON_BYTES = 1024 * 1024
CHUNK_BYTES = 1024 * 1024


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"A JSON body may have {MAX_JSON_BYTES:,} bytes."


class JSONParser(parsers.BaseParser):
    """Strict JSON of at most 1 MiB: no NaN, no lone surrogates, no nesting that exhausts the stack."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        body = stream.read(MAX_JSON_BYTES + 1)
        if len(body) > MAX_JSON_BYTES:
            raise BodyTooLarge
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not JSON: {error}.") from error


class RowsParser(parsers.BaseParser):
    """Rows of JSON, handed on as the chunks that they arrive in."""

    media_type = "application/x-ndjson"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Iterator[bytes]:
        return whole_body(stream.META)


def whole_body(environ: dict[str, Any]) -> Iterator[bytes]:
    """The request's body in chunks, also a chunked one, which has no length and which Django takes for empty.

    Raises ParseError where fewer bytes came than were announced: the sender went away, and what came may end in the
    middle of the rows.
    """
    source = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if not length:
        if environ.get("wsgi.input_terminated"):
            while chunk := source.read(CHUNK_BYTES):
                yield chunk
        return
    missing = int(length)
    while missing and (chunk := source.read(min(CHUNK_BYTES, missing))):
        missing -= len(chunk)
        yield chunk
    if missing:
        raise ParseError(f"The upload ended {missing:,} bytes early. Nothing was stored.")

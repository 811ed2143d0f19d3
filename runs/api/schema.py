"""What the OpenAPI document says beyond what the serializers say."""

from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers as fields

from runs import validation
from runs.api import serializers
from runs.api.fields import Number, Text
from runs.api.pagination import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET
from runs.datasets import KEY
from runs.filters import SEARCH_LENGTH, VALUES_PER_FILTER
from runs.limits import FIND_LENGTH, KEY_LENGTH, METRIC_NAME_LENGTH, TAG_LENGTH, TAGS_PER_RUN
from runs.metrics import MAX_STEP
from runs.models import TunixRun

MIN_POINTS, MAX_POINTS = 4, 100_000
NO_NUL = {"type": "string", "pattern": "^[^\\x00]*$"}
KEY_SCHEMA = {"type": "string", "pattern": f"^(?!.*\\.\\.){KEY.pattern}$", "maxLength": KEY_LENGTH}
EMPTY = {"type": "string", "maxLength": 0}
MOMENT = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}, EMPTY]}
TAG_SCHEMA = {"type": "string", "pattern": r"^[^\s,\x00]([^,\x00\r\n\t]*[^\s,\x00])?$", "maxLength": TAG_LENGTH}


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "runs.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of /account/, with the scope read or write.",
        }


class NumberSchema(OpenApiSerializerFieldExtension):
    """A Number's Limit, in OpenAPI's words."""

    target_class = Number

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        limit = self.target.limit
        bounds = {"minimum": limit.minimum, "maximum": limit.maximum} | (
            {"exclusiveMinimum": True} if limit.above else {}
        )
        return {"type": "integer" if limit.whole else "number", **bounds}


class TextSchema(OpenApiSerializerFieldExtension):
    """A Text takes no NUL, and is empty only where it says so."""

    target_class = Text

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        if validation.dataset_key in self.target.validators:
            return KEY_SCHEMA
        lengths = {"minLength": 0 if self.target.allow_blank else 1}
        if self.target.max_length:
            lengths["maxLength"] = self.target.max_length
        return NO_NUL | lengths


class TagsSchema(OpenApiSerializerFieldExtension):
    target_class = serializers.TagsField

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"type": "array", "items": TAG_SCHEMA, "maxItems": TAGS_PER_RUN}


class StrictSchema(OpenApiSerializerExtension):
    """A field that is not known is refused."""

    target_class = serializers.StrictSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return schema | {"additionalProperties": False}


def _several(name: str, description: str, items: dict[str, Any]) -> OpenApiParameter:
    kind = {"type": "array", "items": items, "maxItems": VALUES_PER_FILTER}
    return OpenApiParameter(name, kind, description=description, explode=True, style="form")


def _any_of(values: list[str]) -> dict[str, Any]:
    one = "|".join(values)
    return {"type": "string", "pattern": f"^(({one})(,({one}))*)?$"}


LIST_PARAMETERS = [
    OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
    OpenApiParameter("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}),
    OpenApiParameter(
        "cursor", str, description="For deep reading: empty at first, then `next_cursor`. Not with offset."
    ),
    _several("status", "One or more statuses.", _any_of(TunixRun.Status.values)),
    _several("mode", "One or more modes.", _any_of(TunixRun.Mode.values)),
    _several("dataset_key", "One or more dataset keys.", NO_NUL | {"maxLength": KEY_LENGTH}),
    _several("model_id", "One or more models; a comma belongs to the model.", NO_NUL | {"maxLength": KEY_LENGTH}),
    _several("tag", "Runs that have one of these tags.", NO_NUL | {"maxLength": TAG_LENGTH}),
    OpenApiParameter("started_after", MOMENT, description="A date or a time in ISO 8601, UTC where it has no offset."),
    OpenApiParameter("started_before", MOMENT, description="The same; a date includes its whole day."),
    OpenApiParameter(
        "q",
        {**NO_NUL, "maxLength": SEARCH_LENGTH},
        description="Words to be found in dataset, model or tag, or at the head of the run's ID.",
    ),
]
BESIDE_ROWS = "With a body of rows; a form has it as a field."
MAP_PARAMETER = OpenApiParameter(
    "map", NO_NUL, description="Which fields become prompt and response: question:prompt,answer:response."
)
UPLOAD_PARAMETERS = [
    OpenApiParameter("dataset_name", KEY_SCHEMA, description=BESIDE_ROWS),
    OpenApiParameter("dataset_version", KEY_SCHEMA, description=BESIDE_ROWS),
    MAP_PARAMETER,
    OpenApiParameter("skip_invalid", bool, description="Leave out rows that cannot be used, and store the others."),
]
WAIT_PARAMETER = OpenApiParameter(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": 60, "default": 0},
    description="Seconds to wait for the end of a local run. A dry run is answered when it has ended in any case.",
)
STREAM_PARAMETER = OpenApiParameter("stream", {"type": "string", "enum": ["stdout", "stderr"], "default": "stdout"})
LOG_PARAMETERS = [
    OpenApiParameter("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}),
    OpenApiParameter("limit", {"type": "integer", "minimum": 4, "maximum": 1024 * 1024, "default": 64 * 1024}),
]
LOG_SEARCH_PARAMETERS = [
    OpenApiParameter("find", {**NO_NUL, "minLength": 1, "maxLength": FIND_LENGTH}, required=True),
    OpenApiParameter(
        "offset",
        {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
        description="Where to begin, in bytes; an answer's `next_offset` goes on.",
    ),
    OpenApiParameter(
        "number",
        {"type": "integer", "minimum": 1, "maximum": MAX_OFFSET, "default": 1},
        description="The number of the line there; an answer's `next_number`.",
    ),
]
STEP = {"type": "integer", "minimum": 0, "maximum": MAX_STEP}
METRIC_PARAMETERS = [
    OpenApiParameter(
        "name",
        {"type": "array", "items": NO_NUL | {"maxLength": METRIC_NAME_LENGTH}},
        description="These series; all of them without.",
        explode=True,
        style="form",
    ),
    OpenApiParameter(
        "max_points",
        {"type": "integer", "minimum": MIN_POINTS, "maximum": MAX_POINTS},
        description="Down to so many points a series, its peaks among them; without, every point.",
    ),
    OpenApiParameter("first_step", STEP, description="No point before this step."),
    OpenApiParameter("last_step", STEP, description="No point after this step."),
]
STEP_PARAMETER = OpenApiParameter("step", {"type": "integer", "minimum": 0}, OpenApiParameter.PATH)
SERIES_SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "step": {"type": "integer", "minimum": 0},
                "value": {"type": "number", "nullable": True, "description": "null: NaN, or as `infinite` says."},
                "time": {
                    "anyOf": [
                        {"type": "string", "format": "date-time"},
                        {"type": "number", "minimum": 1e8, "maximum": 1e20, "exclusiveMaximum": True},
                    ],
                    "description": "Answered as a text. Taken as a number of seconds, ms, µs or ns since 1970 as well.",
                },
                "infinite": {
                    "type": "string",
                    "enum": ["Infinity", "-Infinity"],
                    "description": "Only where the value is null: which infinity it is.",
                },
            },
            "required": ["step", "value"],
        },
    },
}
STORED_SCHEMA = {
    "type": "object",
    "properties": {
        "stored": {"type": "integer"},
        "left_out": {"type": "integer", "description": "Only where some were."},
        "reason": {"type": "string"},
    },
    "required": ["stored"],
}
RUN_ID_PARAMETER = OpenApiParameter("run_id", {"type": "string", "format": "uuid"}, OpenApiParameter.PATH)
KEY_PARAMETER = OpenApiParameter("key", KEY_SCHEMA, OpenApiParameter.PATH)


def page_schema() -> Any:
    block = inline_serializer(
        "Pagination",
        {
            "limit": fields.IntegerField(),
            "offset": fields.IntegerField(required=False),
            "next_offset": fields.IntegerField(required=False, allow_null=True),
            "next_cursor": fields.CharField(required=False, allow_null=True),
        },
    )
    return inline_serializer("RunPage", {"data": serializers.RunListItemSerializer(many=True), "pagination": block})


def _errors(*codes: int) -> dict[int, OpenApiResponse]:
    known = {
        400: OpenApiResponse(serializers.ErrorSerializer, "The request cannot be read."),
        404: OpenApiResponse(serializers.ErrorSerializer, "Not found."),
        409: OpenApiResponse(serializers.ErrorSerializer, "Its files cannot be read."),
        413: OpenApiResponse(serializers.ErrorSerializer, "The body is too large."),
        415: OpenApiResponse(serializers.ErrorSerializer, "The body is of another media type."),
        422: OpenApiResponse(serializers.UnprocessableSerializer, "A value is not acceptable."),
        503: OpenApiResponse(serializers.ErrorSerializer, "The database cannot be used."),
    }
    return {code: known[code] for code in codes}


class Answers:
    """The error answers that kinds of calls have in common."""

    QUERY = _errors(422, 503)
    ONE = _errors(404, 422, 503)
    BODY = _errors(400, 413, 415, 422)
    DATASET = _errors(404, 409, 422)

"""How answers are written: JSON by orjson, and the same in DRF's browsable API."""

from typing import Any

import orjson
from django.template import loader
from rest_framework import negotiation, renderers

from runs.api.exceptions import Unprocessable


class JSONRenderer(renderers.BaseRenderer):
    """JSON with UUIDs as text and times in UTC ending in `Z`."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "text"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        options = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
        if (renderer_context or {}).get("indent"):
            options |= orjson.OPT_INDENT_2
        return orjson.dumps(data, default=_plain, option=options)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list):
        return list(value)
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class BrowsableAPIRenderer(renderers.BrowsableAPIRenderer):
    """DRF's own, with readable JSON, and with filters although the list's page is not one of DRF's paginators."""

    def get_content(self, renderer: Any, data: Any, accepted_media_type: Any, renderer_context: Any) -> Any:
        return super().get_content(renderer, data, accepted_media_type, {**renderer_context, "indent": 2})

    def get_filter_form(self, data: Any, view: Any, request: Any) -> str | None:
        forms = [backend().to_html(request, None, view) for backend in getattr(view, "filter_backends", ())]
        return loader.render_to_string(self.filter_template, {"elements": forms}) if forms else None


class Negotiation(negotiation.DefaultContentNegotiation):
    """DRF's own, in which an unknown `?format=` is no missing page."""

    def filter_renderers(self, renderers: Any, format: str) -> Any:  # noqa: A002
        known = [renderer.format for renderer in renderers]
        if format not in known:
            raise Unprocessable({"format": [f"must be among {', '.join(known)}"]})
        return super().filter_renderers(renderers, format)


class JSONWhateverIsAccepted(negotiation.DefaultContentNegotiation):
    """For a view whose answer is no JSON: its errors are, also for a client that accepts rows only."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type

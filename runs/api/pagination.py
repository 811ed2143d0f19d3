"""Pages of the run list, by offset or by cursor. Neither counts: the next page is known from one row more."""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import QueryDict

from core.errors import Errors
from runs import cursors
from runs.api.exceptions import Unprocessable

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
MAX_OFFSET = 2**31 - 1
WHOLE_NUMBER = re.compile(r"[0-9]{1,16}", re.ASCII)
PAGE_PARAMETERS = ("limit", "offset", "cursor")


@dataclass(frozen=True)
class Page:
    """What a request asks for: `cursor` is None for a page by offset, empty for the first page by cursor."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    cursor: str | None = None

    @classmethod
    def from_query(cls, query: QueryDict) -> "Page":
        """Raises Unprocessable for a number that is none or out of bounds, and for offset together with cursor."""
        errors: Errors = {}
        limit = whole_number(query.get("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
        offset = whole_number(query.get("offset", "0"), 0, MAX_OFFSET)
        if limit is None:
            errors["limit"] = [f"must be between 1 and {MAX_LIMIT}"]
        if offset is None:
            errors["offset"] = ["must be non-negative"]
        if "cursor" in query and "offset" in query:
            errors["cursor"] = ["cannot be combined with offset"]
        if errors or limit is None or offset is None:
            raise Unprocessable(errors)
        return cls(limit, offset, query.get("cursor"))

    def of(self, runs: Any) -> dict[str, Any]:
        """One page of the run queryset, as the API answers it. One query."""
        ordered = runs.newest_first()
        if self.cursor is not None:
            found = ordered.after(*_decoded(self.cursor)) if self.cursor else ordered
            rows = list(found.slice_from(0, self.limit + 1).for_list())
            rest = cursors.encode(rows[self.limit - 1]) if len(rows) > self.limit else None
            return {"data": rows[: self.limit], "pagination": {"limit": self.limit, "next_cursor": rest}}
        rows = list(ordered.slice_from(self.offset, self.limit + 1).for_list())
        following = self.offset + self.limit if len(rows) > self.limit else None
        block = {"limit": self.limit, "offset": self.offset, "next_offset": following}
        return {"data": rows[: self.limit], "pagination": block}


def whole_number(text: str, minimum: int, maximum: int) -> int | None:
    """The number in `text`; None where it is none or out of bounds. int() would take " 5 ", "1_000" and "٣"."""
    if not WHOLE_NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if minimum <= number <= maximum else None


def _decoded(cursor: str) -> tuple[datetime, uuid.UUID]:
    try:
        return cursors.decode(cursor)
    except cursors.NoCursor as error:
        raise Unprocessable({"cursor": ["is not one that this API gave"]}) from error

"""The filter language of `q=`: words, conditions, `and`, `or`, `not`, brackets.

`status:failed,timeout (lr>=1e-4 or tag:sweep7) train/loss<0.5 started>7d gemma`

What stands side by side is joined by `and`. A word is looked for in dataset, model and tags, and at the head of the ID.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import and_, or_
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from runs.limits import METRIC_NAME_LENGTH, TRAINING
from runs.models import MetricSeries, RunTag, TunixRun
from runs.querysets import TunixRunQuerySet, id_begins_with

LARK = Lark(
    r"""
    ?start: either
    either: both (_OR both)*
    both: term (_AND? term)*
    ?term: _NOT term -> negated
         | "(" either ")"
         | CONDITION -> condition
         | (WORD | QUOTED | STRAY) -> word
    _OR.4: /or(?=[\s()]|$)/i
    _AND.4: /and(?=[\s()]|$)/i
    _NOT.4: /not(?=[\s()])/i
    CONDITION.3: /[A-Za-z_][\w.\/-]*(<=|>=|!=|[:=<>])("[^"]*"|[^\s()",]+)(,("[^"]*"|[^\s()",]+))*/
    QUOTED.2: /"[^"]*"/
    WORD: /[^\s()"]+/
    STRAY.-1: /"/
    %ignore /\s+/
    """,
    parser="lalr",
)
CONDITION = re.compile(r"([A-Za-z_][\w.\/-]*?)(<=|>=|!=|[:=<>])(.*)", re.DOTALL)
UNFINISHED = re.compile(r"[A-Za-z_][\w.\/-]*(<=|>=|!=|[:=<>])")
VALUES = re.compile(r'"([^"]*)"|([^,]+)')
LOOKUPS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class SearchError(ValueError):
    """What cannot be read, with the character, from 1 on, where it stands."""

    def __init__(self, message: str, position: int):
        super().__init__(f"cannot be read at character {position + 1}: {message}")


@dataclass(frozen=True)
class Search:
    """A parsed text: its words, and the condition that they and the rest make once each word is one."""

    words: frozenset[str]
    build: Callable[[dict[str, Q]], Q]
    # Whether there is more than words, so that a statement may have to read many rows.
    has_conditions: bool


def parse(text: str) -> Search | None:
    """None for a text of nothing. Raises SearchError."""
    if not text.strip():
        return None
    try:
        return _Builder().transform(LARK.parse(text))
    except UnexpectedEOF as error:
        raise SearchError("something is missing at the end", len(text)) from error
    except UnexpectedToken as error:
        at_end = error.token.type == "$END"
        message = "something is missing at the end" if at_end else f"{str(error.token)!r} is not expected here"
        raise SearchError(message, len(text) if at_end else error.pos_in_stream or 0) from error
    except (UnexpectedCharacters, UnexpectedInput) as error:
        raise SearchError("this is not expected here", error.pos_in_stream or 0) from error
    except Exception as error:  # lark wraps what a transformer raises
        if isinstance(cause := getattr(error, "orig_exc", None), SearchError):
            raise cause from None
        raise


def apply(runs: TunixRunQuerySet, search: Search) -> TunixRunQuerySet:
    return runs.filter(search.build(runs.places_of(sorted(search.words))))


class _Builder(Transformer):
    """From the tree of a text to a Search; each method is named for its rule."""

    def word(self, children: list[Token]) -> Search:
        token = children[0]
        if UNFINISHED.fullmatch(token):
            raise SearchError(f"{str(token)!r} has no value", token.start_pos or 0)
        text = token[1:-1] if token.type == "QUOTED" else str(token)
        if not text.strip():
            return Search(frozenset(), lambda _: Q(), False)
        return Search(frozenset([text]), lambda places: places[text], False)

    def condition(self, children: list[Token]) -> Search:
        found = _condition(children[0])
        return Search(frozenset(), lambda _: found, True)

    def negated(self, children: list[Search]) -> Search:
        (inner,) = children
        return Search(inner.words, lambda places: ~inner.build(places), True)

    def both(self, children: list[Search]) -> Search:
        return self._joined(children, and_)

    def either(self, children: list[Search]) -> Search:
        return self._joined(children, or_)

    def _joined(self, children: list[Search], join: Callable[[Q, Q], Q]) -> Search:
        if len(children) == 1:
            return children[0]
        words = frozenset(word for each in children for word in each.words)
        conditions = join is or_ or any(each.has_conditions for each in children)
        return Search(words, lambda places: reduce(join, (each.build(places) for each in children)), conditions)


# --- conditions -------------------------------------------------------------------------------------------------------


def _condition(token: Token) -> Q:
    found = CONDITION.fullmatch(token)
    assert found, "the grammar's terminal has the same parts"
    name, operator, rest = found.groups()
    position = token.start_pos or 0
    values = [quoted or plain for quoted, plain in VALUES.findall(rest)]
    if "/" in name or name.startswith("metric."):
        return _metric(name.removeprefix("metric."), operator, values, position)
    field = FIELDS.get(name.lower())
    if field is None:
        known = ", ".join(FIELDS)
        message = f"{name!r} is no field. There are {known}, and metrics such as train/loss. In quotes it is a text"
        raise SearchError(message, position)
    return field(operator, values, position + len(name) + len(operator))


# From operator, values, and where they stand, to a condition.
Field = Callable[[str, list[str], int], Q]


def _equal(column: str, convert: Callable[[str, int], Any]) -> Field:
    """Of a column that is one value or another: `:` and `=` take several."""

    def field(operator: str, values: list[str], position: int) -> Q:
        if operator not in (":", "=", "!="):
            raise SearchError(f"only :, = and != go with it, not {operator}", position - len(operator))
        found = Q(**{f"{column}__in": [convert(value, position) for value in values]})
        return ~found if operator == "!=" else found

    return field


def _ordered(column: str, convert: Callable[[str, int], Any]) -> Field:
    """Of a column that is more or less."""

    def field(operator: str, values: list[str], position: int) -> Q:
        if operator in LOOKUPS:
            if len(values) > 1:
                raise SearchError("it is compared with one value", position)
            return Q(**{f"{column}__{LOOKUPS[operator]}": convert(values[0], position)})
        found = reduce(or_, (Q(**{column: convert(value, position)}) for value in values))
        return ~found if operator == "!=" else found

    return field


def _among(allowed: Iterator[str] | list[str]) -> Callable[[str, int], str]:
    known = list(allowed)

    def convert(value: str, position: int) -> str:
        if value.lower() not in known:
            raise SearchError(f"{value[:40]!r} is none of {', '.join(known)}", position)
        return value.lower()

    return convert


def _text(value: str, position: int) -> str:
    if "\0" in value:
        raise SearchError("a text has no NUL", position)
    return value


def _priority(value: str, position: int) -> int:
    names = [each.name.lower() for each in TunixRun.Priority]
    return int(TunixRun.Priority[_among(names)(value, position).upper()])


def _number(value: str, position: int) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SearchError(f"{value[:40]!r} is no number", position)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _whole(value: str, position: int) -> int:
    number = _number(value, position)
    if not isinstance(number, int) or abs(number) >= 2**31:
        raise SearchError(f"{value[:40]!r} is no whole number", position)
    return number


def _span(value: str, position: int) -> float:
    found = SPAN.fullmatch(value)
    return float(found[1]) * SECONDS[found[2]] if found else float(_number(value, position))


def _moment(value: str, position: int) -> datetime:
    """`7d` is so long ago; else a date or a time, in UTC where it does not say."""
    if found := SPAN.fullmatch(value):
        try:
            return timezone.now() - timedelta(seconds=float(found[1]) * SECONDS[found[2]])
        except OverflowError:
            raise SearchError(f"{value[:40]!r} is before all time", position) from None
    try:
        day = parse_date(value)
        moment = datetime(day.year, day.month, day.day) if day else parse_datetime(value)  # noqa: DTZ001
    except ValueError:
        moment = None
    if moment is None:
        raise SearchError(f"{value[:40]!r} is no time such as 7d, 12h or 2025-12-22", position)
    return moment if moment.tzinfo else timezone.make_aware(moment, timezone.get_fixed_timezone(0))


def _id(operator: str, values: list[str], position: int) -> Q:
    return reduce(or_, (id_begins_with(value) for value in values))


def _tag(operator: str, values: list[str], position: int) -> Q:
    tagged = Q(pk__in=RunTag.objects.filter(name__in=[_text(value, position) for value in values]).values("run"))
    return ~tagged if operator == "!=" else tagged


def _metric(name: str, operator: str, values: list[str], position: int) -> Q:
    """By its last value."""
    if len(name) > METRIC_NAME_LENGTH:
        raise SearchError(f"a metric's name has at most {METRIC_NAME_LENGTH} characters", position)
    wanted = _ordered("last_value", _number)(operator, values, position + len(name) + len(operator))
    return Q(pk__in=MetricSeries.objects.filter(wanted, name=name).values("run"))


SHORT = {
    "lr": "learning_rate",
    "epochs": "num_epochs",
    "batch": "batch_size",
    "length": "max_seq_length",
    "timeout": "timeout_seconds",
    "lora": "lora_rank",
}
FIELDS: dict[str, Field] = {
    "status": _equal("status", _among(TunixRun.Status.values)),
    "cause": _equal("cause", _among(TunixRun.Cause.values)),
    "mode": _equal("mode", _among(TunixRun.Mode.values)),
    "priority": _equal("priority", _priority),
    "dataset": _equal("dataset_key", _text),
    "model": _equal("model_id", _text),
    "owner": _equal("owner__username", _text),
    "tag": _tag,
    "id": _id,
    "started": _ordered("started_at", _moment),
    "ended": _ordered("completed_at", _moment),
    "duration": _ordered("duration_seconds", _span),
    "exit": _ordered("exit_code", _whole),
    "step": _ordered("step", _whole),
    **{short: _ordered(f"config__{name}", _number) for short, name in SHORT.items()},
    **{name: _ordered(f"config__{name}", _number) for name in TRAINING},
}

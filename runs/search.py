"""The filter language of `q=`: words, conditions, `and`, `or`, `not`, brackets.

`status:failed,timeout (lr>=1e-4 or tag:"my sweep") metric."val acc">0.5 started>7d gemma`

What stands side by side is joined by `and`. A word is looked for in dataset, model and tags, and at the head of the ID.
What is neither a word nor a condition is an error: it is never looked for as if it were a text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

from django.db.models import Q
from lark import Lark, Token, Transformer, Tree, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from runs import conditions
from runs.conditions import Condition, Value
from runs.conditions import SearchError as SearchError
from runs.querysets import TunixRunQuerySet

QUOTED = r'"(?:[^"]|"")*"'
# A name is plain, or any at all as metric."any name"; the space around an operator is of no account.
NAME = rf'(?:metric\.{QUOTED}|[^\s()"<>=!:,]+)'
OPERATOR = r"(?:<=|>=|!=|[:=<>])"
VALUE = rf'(?:{QUOTED}|[^\s()",<>=!:][^\s()",]*)'
LARK = Lark(
    rf"""
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
    CONDITION.3: /{NAME.replace("/", chr(92) + "/")}\s*{OPERATOR}\s*{VALUE}(?:,{VALUE})*(?=[\s)]|$)/
    QUOTED.2: /{QUOTED}/
    WORD: /[^\s()"]+/
    STRAY.-1: /"/
    %ignore /\s+/
    """,
    parser="lalr",
)
PARTS = re.compile(rf"({NAME})\s*({OPERATOR})\s*(.*)", re.DOTALL)
VALUES = re.compile(VALUE)
UNFINISHED = re.compile(rf"{NAME}{OPERATOR}")
NO_WORD = re.compile(r"[<>=:]|!=|^,")
# Each is a condition of one statement, which a database takes up to some number of, nested up to some depth.
MAX_TERMS = 100
MAX_DEPTH = 100


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
        tree = LARK.parse(text)
        _refuse_large(tree)
        return _Builder().transform(tree)
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


def _refuse_large(tree: Tree[Token]) -> None:
    terms, level = 0, list(tree.children)
    for _ in range(MAX_DEPTH):
        terms += sum(isinstance(each, Token) for each in level)
        level = [child for each in level if isinstance(each, Tree) for child in each.children]
        if not level:
            break
    else:
        raise SearchError(f"brackets and negations are nested deeper than {MAX_DEPTH // 2} levels", 0)
    if terms > MAX_TERMS:
        raise SearchError(f"it has more than {MAX_TERMS} words and conditions", 0)


class _Builder(Transformer):
    """From the tree of a text to a Search; each method is named for its rule."""

    def word(self, children: list[Token]) -> Search:
        token = children[0]
        if token.type == "STRAY":
            raise SearchError("the quote has no end. Within quotes, a quote is doubled", token.start_pos or 0)
        if token.type == "WORD" and NO_WORD.search(token):
            raise SearchError(_why_no_word(token), token.start_pos or 0)
        text = _unquoted(token)
        if not text.strip():
            return Search(frozenset(), lambda _: Q(), False)
        return Search(frozenset([text]), lambda places: places[text], False)

    def condition(self, children: list[Token]) -> Search:
        found = conditions.build(_condition(children[0]))
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
        has_conditions = join is or_ or any(each.has_conditions for each in children)
        return Search(words, lambda places: reduce(join, (each.build(places) for each in children)), has_conditions)


def _condition(token: Token) -> Condition:
    found = PARTS.fullmatch(token)
    assert found, "the grammar's terminal has the same parts"
    name, operator, rest = found.groups()
    start = token.start_pos or 0
    values = [Value(_unquoted(each[0]), start + found.start(3) + each.start()) for each in VALUES.finditer(rest)]
    quoted = name.endswith('"')
    plain = _unquoted(name.removeprefix("metric.")) if quoted else name
    return Condition(plain, quoted, start, operator, start + found.start(2), values)


def _unquoted(text: str) -> str:
    """Within quotes, a quote is doubled."""
    return text[1:-1].replace('""', '"') if text.startswith('"') else str(text)


def _why_no_word(word: str) -> str:
    shown = str(word) if len(word) <= 40 else word[:40] + "…"
    if UNFINISHED.fullmatch(word):
        return f"{shown!r} has no value"
    if word.startswith(","):
        return "a comma stands between two values, with no space beside it"
    if re.match(OPERATOR, word):
        return f'{shown!r} has no name before it. A name in quotes is written metric."any name"'
    return f"{shown!r} is no condition. A value with a space, comma, bracket, quote or operator stands in double quotes"

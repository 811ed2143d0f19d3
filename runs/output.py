"""What a record keeps of a stream: the head, how much was left out, and the tail."""

from typing import Any

OUTPUT_BYTES = 10_240
REPLACEMENT = "�"


def clip(text: str | bytes, tail: bytes = b"", omitted: int = 0) -> str:
    """`text` in at most 10,240 bytes of UTF-8, without NUL (PostgreSQL refuses it) and without broken UTF-8.

    With `tail`, `text` is only the head of an output of which `omitted` bytes lie between the two.
    The middle is what goes: the head alone would lose the traceback and, with Tunix, every line that has a loss.
    """
    head, end = _clean(text), _clean(tail)
    if not omitted and len(head) + len(end) <= OUTPUT_BYTES:
        return (head + end).decode()
    if not omitted:
        head = end = head + end
    # The line is as long as its number; measured with the largest that can stand in it.
    room = OUTPUT_BYTES - len(_omitted(omitted + len(head) + len(end)))
    first = head[: room // 2].decode("utf-8", "ignore")
    last = end[-(room - room // 2) :].decode("utf-8", "ignore")
    left = len(head) if head is end else len(head) + len(end)
    return first + _omitted(omitted + left - len(first.encode()) - len(last.encode())) + last


def clean_json(value: Any) -> Any:
    """`value`, of JSON, with text that every database takes: no NUL and no lone surrogates, in names as well."""
    if isinstance(value, str):
        return _clean(value).decode()
    if isinstance(value, list):
        return [clean_json(each) for each in value]
    if isinstance(value, dict):
        return {clean_json(name): clean_json(each) for name, each in value.items()}
    return value


def _clean(text: str | bytes) -> bytes:
    if isinstance(text, str):
        text = text.encode("utf-8", "replace")
    return text.decode("utf-8", "replace").replace("\0", REPLACEMENT).encode()


def _omitted(count: int) -> str:
    return f"\n[... {count} bytes omitted ...]\n"

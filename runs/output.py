"""What a record keeps of a stream: the head, how much was left out, and the tail."""

OUTPUT_BYTES = 10_240
REPLACEMENT = "�"


def clip(text: str | bytes) -> str:
    """`text` in at most 10,240 bytes of UTF-8, without NUL (PostgreSQL refuses it) and without broken UTF-8.

    The middle is what goes: the head alone would lose the traceback and, with Tunix, every line that has a loss.
    """
    if isinstance(text, str):
        text = text.encode("utf-8", "replace")
    clean = text.decode("utf-8", "replace").replace("\0", REPLACEMENT).encode()
    if len(clean) <= OUTPUT_BYTES:
        return clean.decode()
    # The line is as long as its number; measured with the largest that can stand in it.
    room = OUTPUT_BYTES - len(_omitted(len(clean)))
    head = clean[: room // 2].decode("utf-8", "ignore")
    tail = clean[len(clean) - (room - room // 2) :].decode("utf-8", "ignore")
    return head + _omitted(len(clean) - len(head.encode()) - len(tail.encode())) + tail


def _omitted(count: int) -> str:
    return f"\n[... {count} bytes omitted ...]\n"

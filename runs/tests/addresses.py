"""Every address that this server has, as its patterns say."""

import re

from django.urls import URLResolver, get_resolver

# What stands in an address, by what the address calls it. In the admin an object's ID is a number, but that of a run.
PARTS = {
    "run_id": "{run}", "key": "arithmetic-v1", "step": "1", "view_id": "1", "kind": "csv", "token_key": "x",
    "object_id": "1", "content_type_id": "1", "id": "1", "rest": "1/1/", "upload_id": "0" * 32, "url": "nothing", "app_label": "runs",
}  # fmt: skip


def addresses(patterns=None, prefix="/", space=""):
    """Name and path of every address that there is, its parts filled in with `{run}` or what is there."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, path, f"{pattern.namespace}:" if pattern.namespace else space)
            continue
        for name in pattern.pattern.regex.groupindex:
            value = "{run}" if name == "object_id" and "/tunixrun/" in path else PARTS[name]
            path = re.sub(rf"<(\w+:)?{name}>|\(\?P<{name}>[^)]*\)", value, path)
        yield space + (pattern.name or path), path.replace("^", "").replace("$", "")

"""TUNIX_RT_PREFIX: the path of a larger site below which a proxy shows this server."""

import re

from django.core.exceptions import ImproperlyConfigured

PATH = re.compile(r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~-]+)+")
# The first part of each address of this server. Below a prefix that began with one of them, nobody could tell whether a
# proxy had taken the prefix off.
OWN_PATHS = frozenset(
    [
        *("account", "admin", "api", "compare", "datasets", "events", "events.jsonl", "favicon.ico", "healthz"),
        *("history-panel", "launch", "login", "logout", "metrics", "readyz", "runs", "static", "training", "trash"),
        "views",
    ]
)


def checked(value: str) -> str:
    """`value`, if it is a prefix or empty. Raises ImproperlyConfigured."""
    problem = ""
    if value and not PATH.fullmatch(value):
        problem = "of letters, digits and -._~, with no slash at its end"
    elif value and value.split("/")[1] in OWN_PATHS:
        problem = "which does not begin with an address of tunix-rt itself"
    if problem:
        raise ImproperlyConfigured(f"TUNIX_RT_PREFIX must be a path such as /tunix, {problem}, not {value!r}.")
    return value


def without(prefix: str, path: str) -> str:
    """The address within this server that `path` asks for: some proxies pass the prefix on, some take it off."""
    return path[len(prefix) :] if f"{path}/".startswith(f"{prefix}/") else path

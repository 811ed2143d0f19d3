"""Prints, as exports for a shell, what uv needs to reach packages the way pip does here. Run by .venv's Python.

uv reads neither pip's configuration nor PIP_ variables (https://docs.astral.sh/uv/pip/compatibility), and a machine
behind a mirror or a proxy has often been configured for pip only. A variable of uv's own that is set comes first.
"""

import ast
import os
import shlex
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".venv/bin/uv"
# pip's settings, and the variables that say the same to uv: the first is set where none of them is.
NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"),
}


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What is to be added to the environment in which uv runs."""
    found = {"UV_PYTHON_DOWNLOADS": "never"}
    said = pip_settings()
    # pip honours these two as well, which belong to the library that it downloads with.
    said.setdefault("cert", environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE") or "")
    for name, variables in NAMES.items():
        if said.get(name) and not any(environment.get(each) for each in variables):
            found[variables[0]] = " ".join(said[name].split())
    # By itself uv knows only the certificate authorities that it brings along, not a company's.
    if "UV_SYSTEM_CERTS" not in environment and has_system_certificates():
        found["UV_SYSTEM_CERTS"] = "true"
    return found | cache_settings(environment)


def pip_settings() -> dict[str, str]:
    """pip's configuration as it applies to `pip install`, from files and environment, by pip's own precedence."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = {}
    for section in ("global.", "install.", ":env:."):
        for key, _, value in (line.partition("=") for line in listing.splitlines()):
            if key.startswith(section):
                found[key.removeprefix(section)] = str(ast.literal_eval(value))
    return found


def has_system_certificates() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))


def cache_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """A cache that can be written to, and no warning where its files cannot be linked from there."""
    if environment.get("UV_NO_CACHE"):
        return {}
    cache = Path(subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip())
    found = {}
    try:
        cache.mkdir(parents=True, exist_ok=True)
        usable = os.access(cache, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        cache = ROOT / ".venv-cache"
        cache.mkdir(exist_ok=True)
        found["UV_CACHE_DIR"] = str(cache)
    if "UV_LINK_MODE" not in environment and cache.stat().st_dev != ROOT.stat().st_dev:
        found["UV_LINK_MODE"] = "copy"
    return found


if __name__ == "__main__":
    for name, value in settings(os.environ).items():
        print(f"export {name}={shlex.quote(value)}")

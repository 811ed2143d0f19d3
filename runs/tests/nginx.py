"""A real nginx before a server, as docs/operations.md shows it."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from django.conf import settings

from runs.tests.server import Server, free_port

HOST = "runs.example.org"
AROUND = """
daemon off;
worker_processes 1;
{user}
pid {at}/pid;
error_log {at}/error.log;
events {{}}
http {{
    access_log {at}/access.log;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    {server}
}}
"""


@contextmanager
def nginx_before(server: Server, at: Path, *, takes_prefix_off: bool) -> Iterator[str]:
    """The address of `server` behind nginx, without a slash at its end; files of nginx's are in `at`."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is missing: scripts/install_tool nginx installs it"
    at.mkdir()
    make_certificate(at)
    port = free_port()
    configuration = at / "nginx.conf"
    # Root's worker would be somebody who may not read what tests write.
    user = "user root;" if os.geteuid() == 0 else ""
    block = documented(at, port, server.port, takes_prefix_off=takes_prefix_off)
    configuration.write_text(AROUND.format(at=at, user=user, server=block))
    with (at / "output").open("wb") as output:
        nginx = subprocess.Popen([program, "-p", at, "-c", configuration], stdout=output, stderr=output)
    try:
        wait_for(nginx, port, at)
        yield f"https://{HOST}:{port}/tunix"
    finally:
        nginx.terminate()
        nginx.wait(20)


def documented(at: Path, port: int, behind: int, *, takes_prefix_off: bool) -> str:
    """The block of the documentation, with the places and ports of a test."""
    text = (Path(settings.BASE_DIR) / "docs" / "operations.md").read_text()
    found = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert found
    changes = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/certs/runs.example.org.pem": f"{at}/certificate",
        "/etc/ssl/private/runs.example.org.key": f"{at}/key",
        "proxy_pass http://127.0.0.1:8000;": f"proxy_pass http://127.0.0.1:{behind}{'/' * takes_prefix_off};",
    }
    block = found[1]
    for before, after in changes.items():
        assert block.count(before) == 1, before
        block = block.replace(before, after)
    return block


def make_certificate(at: Path) -> None:
    make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", *make, "-subj", f"/CN={HOST}", "-keyout", at / "key", "-out", at / "certificate"]
    subprocess.run(command, check=True, capture_output=True)


def wait_for(nginx: subprocess.Popen, port: int, at: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            urlopen(f"https://127.0.0.1:{port}/", timeout=5).close()
            return
        except URLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):  # it is there, and signed by nobody
                return
            ended = nginx.poll() is not None
            assert not ended and time.monotonic() < deadline, (at / "output").read_text()
            time.sleep(0.05)

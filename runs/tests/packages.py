"""A package index of the tests' own on 127.0.0.1, with wheels made here, for the real pip and the real uv."""

import base64
import hashlib
import importlib.metadata
import io
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Index:
    """Serves `simple/`; remembers what was asked for, and by whom. `before` is called with each path."""

    def __init__(self) -> None:
        self.wheels: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[str], None] = lambda path: None
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(b"")

            def do_GET(self) -> None:
                index.asked.append((self.headers["User-Agent"].partition("/")[0], self.path))
                index.before(self.path)
                self.answer(None)

            def answer(self, instead: bytes | None) -> None:
                body = index.answer(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"" if instead is None else instead)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that was killed
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def answer(self, path: str) -> bytes | None:
        if path.startswith("/files/"):
            return self.wheels.get(path.removeprefix("/files/"))
        name = path.removeprefix("/simple/").strip("/").replace("-", "_")
        links = [f'<a href="/files/{each}">{each}</a>' for each in self.wheels if each.startswith(f"{name}-")]
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if links else None

    def add(self, name: str, *requires: str, extras: tuple[str, ...] = (), size: int = 0) -> str:
        """A wheel of `name` 1.0, a module; its line in a lock."""
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        metadata += "".join(f"Provides-Extra: {each}\n" for each in extras)
        metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
        files = {
            f"{name}.py": b"whole = True\n",
            f"{name}-data.bin": bytes(size),
            f"{name}-1.0.dist-info/METADATA": metadata.encode(),
        }
        return self.put(f"{name}-1.0-py3-none-any.whl", files, "py3-none-any")

    def add_uv(self) -> str:
        """The uv that is installed here, as the wheel that it came from; its line in a lock."""
        found = importlib.metadata.distribution("uv")
        tag = next(line[5:] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: "))
        prefix = f"uv-{found.version}"
        files = {}
        for each in found.files or ():
            if each.name in ("uv", "uvx") and each.parent.name == "bin":
                files[f"{prefix}.data/scripts/{each.name}"] = Path(str(each.locate())).read_bytes()
            elif each.name == "METADATA":
                files[f"{prefix}.dist-info/METADATA"] = Path(str(each.locate())).read_bytes()
        return self.put(f"{prefix}-{tag}.whl", files, tag)

    def put(self, wheel: str, files: dict[str, bytes], tag: str) -> str:
        name, version = wheel.split("-")[:2]
        info = f"{name}-{version}.dist-info"
        files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
        record = "".join(f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items())
        files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path, content in files.items():
                entry = zipfile.ZipInfo(path)
                entry.external_attr = 0o100755 << 16  # a regular file that may be run
                archive.writestr(entry, content)
        self.wheels[wheel] = packed.getvalue()
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(packed.getvalue()).hexdigest()}\n"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

"""A file server on this machine whose every answer a test can choose; it plays the outside behind an upstream address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """The connection breaks off behind that many bytes."""
    then: Callable[[], object] | None = None
    """Called when the body is out but the connection still open."""


@dataclass(frozen=True)
class Asked:
    path: str
    headers: dict[str, str]

    @property
    def start(self) -> int:
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


class Outside:
    """`reply` decides each answer; by default it serves `files` with ranges, as an honest store would."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.asked: list[Asked] = []
        self.reply: Callable[[Asked], Reply] = self.honest
        self.url = ""

    def honest(self, asked: Asked) -> Reply:
        body = self.files.get(asked.path)
        if body is None:
            return Reply(404)
        etag = {"ETag": self.etags[asked.path]} if asked.path in self.etags else {}
        if "range" not in asked.headers:
            return Reply(200, body, etag)
        if asked.start >= len(body):
            return Reply(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        return Reply(206, body[asked.start :], {**etag, "Content-Range": f"bytes {asked.start}-{len(body) - 1}/{len(body)}"})

    @contextmanager
    def running(self) -> Iterator[Outside]:
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()})
                outside.asked.append(asked)
                reply = outside.reply(asked)
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(reply.body if reply.cut_after is None else reply.body[: reply.cut_after])
                    self.wfile.flush()
                    if reply.then is not None:
                        reply.then()
                except ConnectionError:
                    self.close_connection = True
                if reply.cut_after is not None:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

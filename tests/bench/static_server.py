"""A plain file server for benches: it costs as little as a server can, so that the client's time is what is measured."""

from __future__ import annotations

import argparse
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_LARGE_BYTES = 1 << 20


def serve(root: Path, *, bytes_per_s: int = 0, cut: float = 0.0, log: Path | None = None) -> None:
    """
    Files below *root*, a `?` in an address becoming part of the name; prints its port, and ends when it is told to.

    *bytes_per_s*: how fast each connection is, 0 as fast as can be. *cut*: the first whole answer of a large file breaks off after that
    share of it. Into *log* goes a line for each answer with the bytes that were sent.
    """
    uncut = {cut} if cut else set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                handle = os.open(root / self.path.lstrip("/").replace("?", "@"), os.O_RDONLY)
            except OSError:
                self.send_error(404)
                return
            sent = 0
            try:
                size = os.fstat(handle).st_size
                start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
                self.send_response(206 if "Range" in self.headers else 200)
                if "Range" in self.headers:
                    self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                self.send_header("Content-Length", str(size - start))
                self.end_headers()
                self.wfile.flush()
                end = int(size * uncut.pop()) if uncut and start == 0 and size > _LARGE_BYTES else size
                began = time.monotonic()
                while start < end:
                    now = os.sendfile(self.connection.fileno(), handle, start, min(256 << 10 if bytes_per_s else 8 << 20, end - start))
                    start, sent = start + now, sent + now
                    if bytes_per_s:
                        time.sleep(max(0.0, sent / bytes_per_s - (time.monotonic() - began)))
                self.close_connection |= end < size
            except ConnectionError:
                self.close_connection = True
            finally:
                os.close(handle)
                if log is not None:
                    with log.open("a") as out:
                        out.write(f"{sent}\n")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("root", type=Path)
    asked.add_argument("--bytes-per-s", type=int, default=0)
    asked.add_argument("--cut", type=float, default=0.0)
    asked.add_argument("--log", type=Path)
    options = asked.parse_args()
    serve(options.root, bytes_per_s=options.bytes_per_s, cut=options.cut, log=options.log)

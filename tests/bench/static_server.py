"""A plain file server for benches: it costs as little as a server can, so that the client's time is what is measured."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def serve(root: Path) -> None:
    """Files below *root*, a `?` in an address becoming part of the name; prints its address, ends with its stdin."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                handle = os.open(root / self.path.lstrip("/").replace("?", "@"), os.O_RDONLY)
            except OSError:
                self.send_error(404)
                return
            try:
                size = os.fstat(handle).st_size
                start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
                self.send_response(206 if "Range" in self.headers else 200)
                if "Range" in self.headers:
                    self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                self.send_header("Content-Length", str(size - start))
                self.end_headers()
                self.wfile.flush()
                while start < size:
                    start += os.sendfile(self.connection.fileno(), handle, start, min(8 << 20, size - start))
            except ConnectionError:
                self.close_connection = True
            finally:
                os.close(handle)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

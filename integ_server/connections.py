"""One client's connection: uvicorn's, with an end to heads that are too large and to clients that keep us waiting."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KEEP_ALIVE_S = 75
"""Longer than the minute for which proxies keep theirs, so that none of them sends a request into a connection that just ends."""
HEAD_WITHIN_S = 15.0
BODY_WITHIN_S = 60.0
PAUSE_AT_MOST_S = 20.0
"""Between two parts of a body."""
UNREAD_AT_MOST_S = 60.0
"""How long a client may leave lying what we sent."""
MOST_HEAD_BYTES = 32 << 10
MOST_REQUEST_BYTES = 8 << 20
"""With everything around the body: a megabyte in chunks of a few bytes each, trailers."""
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_log = logging.getLogger("integ.serving")


class Connection(HttpToolsProtocol):
    """The server asks every connection once a second whether it is too slow: no timers that each request would have to set and unset."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_since: float | None = None
        self._body_since: float | None = None
        self._idle_since: float | None = None
        self._heard_at = 0.0
        self._head_bytes = self._request_bytes = 0
        self._unread_bytes, self._unread_since = 0, 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self._heard_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._heard_at = self.loop.time()
        self._head_bytes += len(data)
        self._request_bytes += len(data)
        super().data_received(data)
        if self._head_since is not None and self._head_bytes > MOST_HEAD_BYTES:
            self._refuse()
        elif self._body_since is not None and self._request_bytes > MOST_REQUEST_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_since, self._idle_since = self._heard_at, None

    def on_headers_complete(self) -> None:
        if self._head_bytes > MOST_HEAD_BYTES and len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > MOST_HEAD_BYTES:
            self._refuse()
            raise ValueError("the head is too large")
        self._head_since, self._body_since = None, self._heard_at
        self._head_bytes = self._request_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._body_since = None
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def end_if_slow(self, now: float) -> None:
        """Break the connection off when its client has kept us waiting for too long, whatever for."""
        if self.transport is not None and (waited_for := self._waited_for(now)):
            _log.debug("a connection was ended: its client was too slow with %s", waited_for)
            self.transport.abort()

    def _waited_for(self, now: float) -> str:
        unread_bytes = self.transport.get_write_buffer_size()
        if not unread_bytes or unread_bytes != self._unread_bytes:
            self._unread_bytes, self._unread_since = unread_bytes, now
        elif now - self._unread_since > UNREAD_AT_MOST_S:
            return "reading the answer"
        if self._head_since is not None and now - self._head_since > HEAD_WITHIN_S:
            return "the head of its request"
        if self._body_since is not None and (now - self._heard_at > PAUSE_AT_MOST_S or now - self._body_since > BODY_WITHIN_S):
            return "the body of its request"
        if self._idle_since is not None and now - self._idle_since > KEEP_ALIVE_S + 1:
            return "its next request"  # uvicorn's own timer ends with the first byte, which may be an empty line
        return ""

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE)
        self.transport.close()

"""Answers as the stores really give them: HTML where JSON belongs, bodies that break off, files that can be resumed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from integ_server.sandbox.state import SandboxState

_PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def html(title: str, text: str = "", status: int = 200, *, claims: str = "text/html; charset=UTF-8") -> Response:
    """A store's page for people; *claims* is what its Content-Type says."""
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1>{text}</body></html>"
    return Response(page, status, media_type=claims)


def too_many(state: SandboxState, retry_after: str | None) -> Response:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Response(
        "" if retry_after is None else "<html><head><title>429 Too Many Requests</title></head></html>",
        429,
        headers,
        media_type="text/html; charset=UTF-8",
    )


def http_date(unix_s: float) -> str:
    return formatdate(unix_s, usegmt=True)


class Cut(Response):
    """An answer whose connection closes after *share* of the announced bytes."""

    def __init__(self, body: bytes, share: float = 0.5, status: int = 200, media_type: str = "application/json; charset=UTF-8") -> None:
        super().__init__(body, status, media_type=media_type)
        self._sent = body[: int(len(body) * share)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._sent, "more_body": True})
        # Returning before the body is complete makes the server close the connection, which is the point.


class FileAnswer(Response):
    """
    Bytes with Range, as a CDN serves them: 200 whole, 206 a part, 416 beyond the end.

    `cut_share` closes the connection there; `slow` pauses after each small piece, ten seconds at most in all; `stall` names a fault:
    the bytes stop at 40 % until that fault is off, thirty seconds at most.
    """

    def __init__(
        self,
        state: SandboxState,
        body: bytes,
        range_header: str | None,
        *,
        media_type: str = "application/octet-stream",
        headers: Mapping[str, str] | None = None,
        ranges: bool = True,
        cut_share: float | None = None,
        slow: bool = False,
        stall: str | None = None,
    ) -> None:
        start, end = 0, len(body)
        status = 200
        extra = dict(headers or {})
        if ranges:
            extra["accept-ranges"] = "bytes"
            wanted = _wanted(range_header, len(body))
            if wanted is not None:
                start, end = wanted
                status = 206 if start < end else 416
                extra["content-range"] = f"bytes {start}-{end - 1}/{len(body)}" if status == 206 else f"bytes */{len(body)}"
        self._part = memoryview(body)[start:end] if status != 416 else memoryview(b"")
        super().__init__(None, status, {**extra, "content-length": str(len(self._part))}, media_type=media_type)
        self._state = state
        self._slow = slow
        self._stall = stall
        whole = len(self._part)
        self._cut_at = whole if cut_share is None else int(whole * cut_share)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        async for piece in self._pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self._cut_at == len(self._part):
            await send({"type": "http.response.body", "body": b""})

    async def _pieces(self) -> AsyncIterator[bytes]:
        pause_s = min(0.05, 10 * 16_384 / max(1, self._cut_at)) if self._slow else 0.0
        size = 16_384 if self._slow else _PIECE_BYTES
        stop_at = int(len(self._part) * 0.4) if self._stall else None
        at = 0
        while at < self._cut_at:
            if stop_at is not None and at >= stop_at:
                stop_at = None
                if not await self._until_off(str(self._stall)):
                    self._cut_at = -1
                    return
            upto = min(at + size, self._cut_at, stop_at if stop_at is not None else self._cut_at)
            yield bytes(self._part[at:upto])
            at = upto
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _until_off(self, fault: str) -> bool:
        """Wait; False when the sandbox goes down meanwhile."""
        for _ in range(1500):
            if self._state.closing.is_set():
                return False
            if not self._state.faults.active(fault):
                break
            await asyncio.sleep(0.02)
        return True


def _wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """The asked part as (start, end); an empty part when it lies beyond the end; None when nothing sensible was asked."""
    found = _RANGE.fullmatch(header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    start = int(first)
    end = min(size, int(last) + 1) if last else size
    if last and end <= start < size:
        return None
    return (start, end) if start < size else (size, size)

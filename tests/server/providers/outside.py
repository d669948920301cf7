"""The outside for a store under test, over the real transport, with no pause between tries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from integ_server.transport import UpstreamTransport

Handler = Callable[[httpx.Request], httpx.Response]


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


def over(handler: Handler) -> httpx.AsyncClient:
    """A client whose every request *handler* answers."""
    return httpx.AsyncClient(transport=UpstreamTransport(open_transport=lambda _proxy: httpx.MockTransport(handler), sleep=no_pause))


def through(url: str) -> httpx.AsyncClient:
    """A client whose every request goes to the sandbox at *url*."""
    return httpx.AsyncClient(transport=UpstreamTransport(url, sleep=no_pause), timeout=20)

"""Which workers live: each shows itself in the cache, so that others can tell, and forget it when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from integ_server.cache import Cache
from integ_server.contract.errors import BackendUnreachableError

_NAME = "presence/worker"
SHOWN_EVERY_S = 5.0
_FORGOTTEN_AFTER_S = 3 * SHOWN_EVERY_S


@asynccontextmanager
async def shown(cache: Cache) -> AsyncIterator[None]:
    """Inside, a worker lives; a Redis that is away for a while hears of it later."""
    showing = asyncio.create_task(_show_on(cache))
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def _show_on(cache: Cache) -> None:
    while True:
        with suppress(BackendUnreachableError):
            await show_worker(cache)
        await asyncio.sleep(SHOWN_EVERY_S)


async def show_worker(cache: Cache) -> None:
    await cache.set(_NAME, "1", _FORGOTTEN_AFTER_S)


async def is_any_worker_alive(cache: Cache) -> bool:
    return await cache.get(_NAME) is not None

"""Which workers live: each shows itself in the cache, so that others can tell, and forget it when it dies."""

from __future__ import annotations

from integ_server.cache import Cache

_NAME = "presence/worker"
SHOWN_EVERY_S = 10.0
_FORGOTTEN_AFTER_S = 3 * SHOWN_EVERY_S


async def show_worker(cache: Cache) -> None:
    """To be called every `SHOWN_EVERY_S` seconds."""
    await cache.set(_NAME, "1", _FORGOTTEN_AFTER_S)


async def is_any_worker_alive(cache: Cache) -> bool:
    return await cache.get(_NAME) is not None

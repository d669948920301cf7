"""What is short-lived and shared: Redis when there is one, else a stand-in in this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

MOST_ENTRIES = 10_000


class Cache(Protocol):
    """Text by name, each with an end; whoever asks is alone with `add` and `take`, however many processes there are."""

    async def get(self, name: str) -> str | None: ...

    async def set(self, name: str, value: str, ttl_s: float) -> None: ...

    async def add(self, name: str, value: str, ttl_s: float) -> bool:
        """Store *value* unless *name* is taken; says whether it was stored."""
        ...

    async def take(self, name: str) -> str | None:
        """The value, which is gone afterwards: only one caller ever gets it."""
        ...

    async def delete(self, name: str) -> None: ...


class MemoryCache:
    """For one process. No call awaits inside, so each is one step to every other."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, float]] = {}

    async def get(self, name: str) -> str | None:
        return self._alive(name)

    async def set(self, name: str, value: str, ttl_s: float) -> None:
        self._store(name, value, ttl_s)

    async def add(self, name: str, value: str, ttl_s: float) -> bool:
        if self._alive(name) is not None:
            return False
        self._store(name, value, ttl_s)
        return True

    async def take(self, name: str) -> str | None:
        value = self._alive(name)
        self._entries.pop(name, None)
        return value

    async def delete(self, name: str) -> None:
        self._entries.pop(name, None)

    def _alive(self, name: str) -> str | None:
        value, ends = self._entries.get(name, ("", 0.0))
        return value if ends > time.monotonic() else None

    def _store(self, name: str, value: str, ttl_s: float) -> None:
        self._entries.pop(name, None)
        if len(self._entries) >= MOST_ENTRIES:
            now = time.monotonic()
            self._entries = {each: entry for each, entry in self._entries.items() if entry[1] > now}
            while len(self._entries) >= MOST_ENTRIES:  # still full: the oldest goes
                del self._entries[next(iter(self._entries))]
        self._entries[name] = (value, time.monotonic() + ttl_s)


class RedisCache:
    """For many processes; every name gets the prefix `integ:`."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import Redis

        self._redis = Redis.from_url(url, decode_responses=True, socket_timeout=5, socket_connect_timeout=5)

    async def get(self, name: str) -> str | None:
        return _text(await self._redis.get(f"integ:{name}"))

    async def set(self, name: str, value: str, ttl_s: float) -> None:
        await self._redis.set(f"integ:{name}", value, px=int(ttl_s * 1000))

    async def add(self, name: str, value: str, ttl_s: float) -> bool:
        return bool(await self._redis.set(f"integ:{name}", value, px=int(ttl_s * 1000), nx=True))

    async def take(self, name: str) -> str | None:
        return _text(await self._redis.getdel(f"integ:{name}"))

    async def delete(self, name: str) -> None:
        await self._redis.delete(f"integ:{name}")

    async def close(self) -> None:
        await self._redis.aclose()


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


@asynccontextmanager
async def open_cache(redis_url: str | None) -> AsyncIterator[Cache]:
    if redis_url is None:
        yield MemoryCache()
        return
    cache = RedisCache(redis_url)
    try:
        yield cache
    finally:
        await cache.close()

"""
Copies of what the database says, in Redis: of what is asked for all the time and changes now and then.

A copy is no older than the last commit that anybody was told of. Whoever finds none leaves a mark in its place, reads the database, and
puts the copy where the mark is: a change that came between has taken the mark away, and the copy with the old state is not kept.
Whoever changes something takes the copies of it away after the commit, before anybody is told that it is done. They are shut before the
commit already: until the end of the change nobody puts one there, and everybody asks the database. So a process that is killed right
after a commit leaves no old one behind.

Redis may forget all of it at any time. Without Redis there are no copies, for no process could know what another one changes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from integ_server.cache import Cache, RedisCache
from integ_server.contract.errors import BackendUnreachableError

KEPT_FOR_S = 300.0
"""Longer than clients wait between two looks; and so long nobody would notice if Redis answered all but the one who changed something."""
SHUT_FOR_S = 60.0
"""At most: longer than a commit takes. Who shut it opens it again."""
_READ_WITHIN_S = 30.0
_PATIENCE_S = 1.0
"""A transaction does not wait longer than this for a Redis that does not answer."""
_AGAIN_EACH_S = 1.0
_AGAIN_AT_MOST = 600
_COPY, _READING, _SHUT = "=", "?", "!"

# A change that another one overtook leaves the other's mark alone, and takes everything else away.
_FORGET = """
for _, key in ipairs(KEYS) do
  local held = redis.call('GET', key)
  if held and (string.sub(held, 1, 1) ~= '!' or held == ARGV[1]) then redis.call('DEL', key) end
end
"""
_SHUT_ALL = "for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end"
_PUT = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end"


class Copies:
    """For one event loop."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache if isinstance(cache, RedisCache) else None
        self._later: set[asyncio.Task[None]] = set()

    async def find(self, name: str, held: str | None, read: Callable[[], Awaitable[str]]) -> str:
        """What *read* finds in the database, or its copy: *held* is what the cache has under *name*."""
        if held is not None and held.startswith(_COPY):
            return held[1:]
        if self._cache is None or held is not None:  # somebody else reads or changes it: for this one time there is no copy
            return await read()
        mark = f"{_READING}{secrets.token_hex(8)}"
        try:
            is_mine = await self._cache.add(name, mark, _READ_WITHIN_S)
        except BackendUnreachableError:
            is_mine = False
        found = await read()
        if is_mine:
            await self._within(self._cache.run(_PUT, [name], mark, f"{_COPY}{found}", int(KEPT_FOR_S * 1000)))
        return found

    async def shut(self, names: Sequence[str]) -> str:
        """Before the commit of a change: no copies under *names* until `forget` is called with what this returns."""
        mark = f"{_SHUT}{secrets.token_hex(8)}"
        if self._cache is not None and names:
            await self._within(self._cache.run(_SHUT_ALL, names, mark, int(SHUT_FOR_S * 1000)))
        return mark

    async def forget(self, names: Sequence[str], mark: str) -> None:
        """After the end of a change, or of a transaction that was undone; goes on trying while Redis does not answer."""
        if self._cache is None or not names or await self._within(self._cache.run(_FORGET, names, mark)):
            return
        task = asyncio.create_task(self._forget_later(self._cache, names, mark))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def close(self) -> None:
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    async def _forget_later(self, cache: RedisCache, names: Sequence[str], mark: str) -> None:
        for _ in range(_AGAIN_AT_MOST):
            await asyncio.sleep(_AGAIN_EACH_S)
            if await self._within(cache.run(_FORGET, names, mark)):
                return

    async def _within(self, call: Awaitable[Any]) -> bool:
        """Whether Redis did it."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await call
        except (BackendUnreachableError, TimeoutError):
            return False
        return True

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from integ_server.cache import MOST_ENTRIES, Cache, MemoryCache, open_cache


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with open_cache(request.getfixturevalue("redis_url") if request.param == "redis" else None) as opened:
        yield opened
        await opened.delete("a")


async def test_what_is_set_is_got_until_it_is_deleted(cache: Cache) -> None:
    await cache.set("a", "1", 60)
    await cache.set("a", "2", 60)
    assert (await cache.get("a"), await cache.get("b")) == ("2", None)
    await cache.delete("a")
    assert await cache.get("a") is None


async def test_one_of_many_takes(cache: Cache) -> None:
    await cache.set("a", "1", 60)
    assert sorted(map(str, await asyncio.gather(*(cache.take("a") for _ in range(5))))) == ["1"] + ["None"] * 4


async def test_one_of_many_adds(cache: Cache) -> None:
    added = await asyncio.gather(*(cache.add("a", str(number), 60) for number in range(5)))
    assert sum(added) == 1
    assert await cache.get("a") == str(added.index(True)), "whoever was told so has it"


async def test_an_entry_that_ended_is_gone_in_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = MemoryCache()
    await cache.set("a", "1", 10)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    assert (await cache.get("a"), await cache.take("a")) == (None, None)
    await cache.set("a", "1", 10)
    monkeypatch.setattr(time, "monotonic", lambda: now + 22)
    assert await cache.add("a", "2", 10)


async def test_the_stand_in_does_not_grow_without_end() -> None:
    cache = MemoryCache()
    for number in range(MOST_ENTRIES + 50):
        await cache.set(str(number), "x", 60)
    assert await cache.get("0") is None and await cache.get(str(MOST_ENTRIES + 49)) == "x"
    assert sum([await cache.get(str(number)) is not None for number in range(MOST_ENTRIES + 50)]) <= MOST_ENTRIES

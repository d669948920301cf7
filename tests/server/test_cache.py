from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from integ_server.cache import MOST_ENTRIES, Cache, MemoryCache, open_cache
from integ_server.contract.errors import BackendUnreachableError


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with open_cache(request.getfixturevalue("redis_url") if request.param == "redis" else None) as opened:
        yield opened
        for name in ("a", "turns", "news"):
            await opened.delete(name)


async def test_what_is_set_is_got_until_it_is_deleted(cache: Cache) -> None:
    await cache.set("a", "1", 60)
    await cache.set("a", "2", 60)
    assert (await cache.get("a"), await cache.get("b")) == ("2", None)
    await cache.delete("a")
    assert await cache.get("a") is None


async def test_many_who_ask_at_once_get_what_each_asked_for(cache: Cache) -> None:
    await cache.set("a", "1", 60)
    answers = await asyncio.gather(*(cache.get_many(["b", "a"]) if at % 2 else cache.get_many(["a"]) for at in range(6)), cache.get("a"))
    assert answers == [["1"], [None, "1"]] * 3 + ["1"]
    assert await cache.get_many([]) == []


async def test_one_of_many_takes(cache: Cache) -> None:
    await cache.set("a", "1", 60)
    assert sorted(map(str, await asyncio.gather(*(cache.take("a") for _ in range(5))))) == ["1"] + ["None"] * 4


async def test_one_of_many_adds(cache: Cache) -> None:
    added = await asyncio.gather(*(cache.add("a", str(number), 60) for number in range(5)))
    assert sum(added) == 1
    assert await cache.get("a") == str(added.index(True)), "whoever was told so has it"


async def test_a_count_loses_no_step_and_ends(cache: Cache) -> None:
    assert sorted(await asyncio.gather(*(cache.increase("a", 60) for _ in range(5)))) == [1, 2, 3, 4, 5]
    assert await cache.increase("a", 60, by=10) == 15
    await cache.delete("a")
    await cache.increase("a", 0.05)
    await asyncio.sleep(0.1)
    assert await cache.increase("a", 60) == 1


async def test_a_lease_is_one_holders_until_it_is_released_or_ends(cache: Cache) -> None:
    assert await cache.lease("a", "me", 60) and await cache.lease("a", "me", 60)
    assert not await cache.lease("a", "you", 60)
    await cache.release("a", "you")
    assert not await cache.lease("a", "you", 60), "somebody else's is not let go of"
    await cache.release("a", "me")
    assert await cache.lease("a", "you", 0.05)
    await asyncio.sleep(0.1)
    assert await cache.lease("a", "me", 60)


async def test_a_burst_passes_at_once_and_the_rest_one_after_the_other(cache: Cache) -> None:
    waits = sorted([await cache.wait_for_turn("turns", burst=3, per_s=2) for _ in range(5)])
    assert waits[:3] == [0, 0, 0]
    assert 0.3 < waits[3] <= 0.5 and 0.8 < waits[4] <= 1.0


async def test_a_stream_is_read_on_from_where_one_was(cache: Cache) -> None:
    assert await cache.span("news") is None and await cache.after("news", "0-0") == []
    ids = [await cache.append("news", str(number), 60) for number in range(3)]
    assert await cache.after("news", "0-0") == list(zip(ids, "012", strict=True))
    assert await cache.after("news", ids[1]) == [(ids[2], "2")]
    assert await cache.span("news") == (ids[0], ids[2])


async def test_many_entries_go_at_once_each_to_its_stream_in_their_order(cache: Cache) -> None:
    first = await cache.append("a", "0", 60)
    waiting = asyncio.create_task(cache.after("b", "0-0", 3))
    await asyncio.sleep(0.05)
    await cache.append_all([("a", "1"), ("b", "2"), ("a", "3")], 60)
    assert [value for _, value in await cache.after("a", first)] == ["1", "3"]
    assert [value for _, value in await waiting] == ["2"]
    await cache.append_all([("b", str(number)) for number in range(1_200)], 60)
    assert (await cache.after("b", "0-0"))[0][1] == "200"  # the newest thousand are kept
    await cache.append_all([("c", "1")], 0.05)
    await asyncio.sleep(0.1)
    assert await cache.span("c") is None


async def test_whoever_waits_at_a_stream_hears_of_the_next_entry_at_once(cache: Cache) -> None:
    first = await cache.append("news", "0", 60)
    waiting = asyncio.create_task(cache.after("news", first, 3))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    second = await cache.append("news", "1", 60)
    assert await waiting == [(second, "1")]
    assert await cache.after("news", second, 0.05) == []


async def test_whoever_is_stopped_in_the_middle_of_asking_stops(cache: Cache) -> None:
    async def ask() -> None:
        while True:
            await cache.lease("a", "me", 5)
            await asyncio.sleep(0)

    for steps in range(100):
        asking = asyncio.create_task(ask())
        for _ in range(steps % 20):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking], timeout=5)
        assert asking.cancelled(), f"after {steps % 20} steps"


async def test_a_redis_that_is_gone_is_told_as_a_backend_that_does_not_answer() -> None:
    async with open_cache("unix:///nowhere/socket") as cache:
        with pytest.raises(BackendUnreachableError, match="Redis") as caught:
            await cache.increase("a", 1)
        assert caught.value.retry_after_s == 1


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

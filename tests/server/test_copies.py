from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from integ_server.cache import MemoryCache, RedisCache
from integ_server.copies import Copies
from tests.servers import redis_server


class Truth:
    """What a database would say, and how often it was asked."""

    def __init__(self) -> None:
        self.value, self.reads = "1", 0

    async def read(self) -> str:
        self.reads += 1
        return self.value


@asynccontextmanager
async def on(redis_url: str) -> AsyncIterator[tuple[Copies, RedisCache]]:
    cache = RedisCache(redis_url)
    copies = Copies(cache)
    try:
        yield copies, cache
    finally:
        await copies.close()
        await cache.close()


async def find(copies: Copies, cache: RedisCache, truth: Truth) -> str:
    return await copies.find("a", await cache.get("a"), truth.read)


async def test_the_truth_is_asked_once_until_it_changes(redis_url: str) -> None:
    truth = Truth()
    async with on(redis_url) as (mine, cache), on(redis_url) as (others, other_cache):
        assert [await find(mine, cache, truth), await find(others, other_cache, truth)] == ["1", "1"]
        assert truth.reads == 1, "another process takes the copy too"
        mark = await others.shut(["a"])
        truth.value = "2"
        await others.forget(["a"], mark)
        assert [await find(mine, cache, truth) for _ in range(3)] == ["2"] * 3
        assert truth.reads == 2


async def test_what_was_read_before_a_change_is_not_kept_after_it(redis_url: str) -> None:
    truth = Truth()
    async with on(redis_url) as (copies, cache):

        async def slowly() -> str:
            old = await truth.read()
            mark = await copies.shut(["a"])
            truth.value = "2"
            await copies.forget(["a"], mark)
            return old

        assert await copies.find("a", None, slowly) == "1", "nobody was told of the change when it was read"
        assert await find(copies, cache, truth) == "2"


async def test_a_process_that_dies_right_after_its_commit_leaves_no_old_copy_behind(redis_url: str) -> None:
    truth = Truth()
    async with on(redis_url) as (copies, cache):
        await find(copies, cache, truth)
        await copies.shut(["a"])
        truth.value = "2"  # and nobody says that it is done
        assert [await find(copies, cache, truth) for _ in range(2)] == ["2", "2"]


async def test_a_change_that_ends_first_does_not_open_what_another_one_has_shut(redis_url: str) -> None:
    truth = Truth()
    async with on(redis_url) as (copies, cache):
        first, second = await copies.shut(["a"]), await copies.shut(["a"])
        await copies.forget(["a"], first)
        await find(copies, cache, truth)
        truth.value = "2"
        assert await find(copies, cache, truth) == "2", "the second may have been stored by now"
        await copies.forget(["a"], second)
        reads = truth.reads
        assert [await find(copies, cache, truth) for _ in range(3)] == ["2"] * 3
        assert truth.reads == reads + 1


async def test_readers_beside_each_other_keep_one_copy(redis_url: str) -> None:
    truth = Truth()
    async with on(redis_url) as (copies, cache):
        assert await asyncio.gather(*(find(copies, cache, truth) for _ in range(5))) == ["1"] * 5
        reads = truth.reads
        assert await find(copies, cache, truth) == "1" and truth.reads == reads


@pytest.mark.integration
async def test_while_redis_is_away_the_truth_is_asked_and_a_change_is_made_up_for_when_it_is_back() -> None:
    truth = Truth()
    with redis_server() as server:
        async with on(f"unix://{server.folder}/s") as (copies, cache):
            await find(copies, cache, truth)
            held = await cache.get("a")
            server.stop()
            assert await copies.find("a", None, truth.read) == "1"
            mark = await copies.shut(["a"])
            truth.value = "2"
            await copies.forget(["a"], mark)
            server.start()
            assert held is not None
            await cache.set("a", held, 60)  # as a Redis would that writes to a disk

            async def until_it_is_known() -> None:
                while await find(copies, cache, truth) != "2":
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(until_it_is_known(), 20)


async def test_a_process_alone_keeps_no_copies() -> None:
    truth, copies = Truth(), Copies(MemoryCache())
    assert [await copies.find("a", None, truth.read) for _ in range(2)] == ["1", "1"]
    assert truth.reads == 2, "another program may write to its file"

"""Reading from Redis for many requests at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio import Redis

    _Question = tuple[list[str], asyncio.Future[list[str | bytes | None]]]


class Reads:
    """What is read in one round of the loop, for however many requests, goes to Redis and comes back as one: that is what costs."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[_Question] = []
        self._asking: set[asyncio.Task[None]] = set()

    async def read(self, keys: list[str]) -> list[str | bytes | None]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._begin)
        answer: asyncio.Future[list[str | bytes | None]] = loop.create_future()
        self._waiting.append((keys, answer))
        return await answer

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        task = asyncio.create_task(self._ask(waiting))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, waiting: list[_Question]) -> None:
        try:
            found = iter(await self._redis.mget([key for keys, _ in waiting for key in keys]))
        except BaseException as error:
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        for keys, answer in waiting:
            values = [next(found) for _ in keys]
            if not answer.done():  # else nobody waits any more
                answer.set_result(values)

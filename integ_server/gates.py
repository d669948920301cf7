"""Where requests to the outside wait for their turn; lives in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from integ_server.pacing import Pace

Sleep = Callable[[float], Awaitable[None]]


class TokenBucket:
    """Hands out *burst* at once, then *per_s* a second, first come, first served."""

    def __init__(self, burst: float, per_s: float, *, clock: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._burst, self._per_s, self._clock, self._sleep = burst, per_s, clock, sleep
        self._level, self._seen_at = burst, clock()

    async def take(self) -> None:
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._seen_at) * self._per_s) - 1
        self._seen_at = now
        if self._level < 0:  # a debt is a place in the queue
            await self._sleep(-self._level / self._per_s)


class Gates:
    """One gate a group of addresses; lives in one event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._clock, self._sleep = clock, sleep
        self._open: dict[str, tuple[asyncio.Semaphore, TokenBucket | None]] = {}

    async def enter(self, pace: Pace, key: str = "") -> asyncio.Semaphore:
        """
        Wait for a place; the caller releases what is returned once its answer is read. *key* is the one that the request is made
        with, where calls are counted by it.
        """
        places, bucket = self._gate(pace)
        await places.acquire()
        try:
            if bucket is not None:
                await bucket.take()
        except BaseException:
            places.release()
            raise
        return places

    async def pause(self, pace: Pace, pause_s: float) -> None:
        """The store asks for one; who waits for it here knows already."""

    def _gate(self, pace: Pace) -> tuple[asyncio.Semaphore, TokenBucket | None]:
        if pace.group not in self._open:
            bucket = TokenBucket(pace.burst, pace.per_s, clock=self._clock, sleep=self._sleep) if pace.per_s else None
            self._open[pace.group] = (asyncio.Semaphore(pace.at_once), bucket)
        return self._open[pace.group]


class OpenGates(Gates):
    """For a stand-in of the stores on this machine, which nobody has to be polite to."""

    async def enter(self, pace: Pace, key: str = "") -> asyncio.Semaphore:
        return await super().enter(Pace("stand-in", at_once=64))

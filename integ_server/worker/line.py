"""
Takes jobs from the line as long as there is room: woken by a message, by a job that ends, and now and then in case one was lost.

A look costs the database about the same for one job as for hundreds. So a worker whose jobs end in a moment claims more of them than it
has room for, as many as it ended lately; what it can't begin in a second after all, it gives back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Collection
from functools import partial

from sqlalchemy.exc import DBAPIError

from integ_server.contract.errors import IntegError
from integ_server.models.job import ClaimedJob
from integ_server.services import claims
from integ_server.services.backend import Backend
from integ_server.services.queues import Queue
from integ_server.worker.runner import Runner

LOOK_EVERY_S = 1.0
"""What a lost message costs; a look at an empty line is one short statement."""
ORPHANS_EVERY_S = 5.0
MOST_AHEAD = 400
HELD_AHEAD_S = 1.0
"""So long a job that was claimed waits for room here; then others may have it."""
_MOST_UNWRITTEN = 1_000
"""Jobs that are done but for the note of it: whatever dies with this process is done again."""
_AGAIN_AFTER_S = 0.02
"""After a look that found nothing: a thousand messages about nothing cost fifty looks a second at most."""
_LONGEST_PAUSE_S = 5.0
_log = logging.getLogger("integ.worker")


class Pace:
    """How many jobs this worker ends in a moment. Only short ones count: behind one that asks a store nothing should wait."""

    WINDOW_S = 0.1
    SHORT_S = 0.25

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lately = 0
        self.forget()

    def ended(self, took_s: float) -> None:
        if took_s <= self.SHORT_S:
            self._count += 1

    def ahead(self) -> int:
        """How many may be claimed that there is no room for yet."""
        passed_s = self._clock() - self._since
        if passed_s >= self.WINDOW_S:
            counted = int(self._count * self.WINDOW_S / passed_s)
            self.forget()
            self._lately = counted
        return min(2 * self._lately, MOST_AHEAD)

    def forget(self) -> None:
        self._lately = self._count = 0
        self._since = self._clock()


class Line:
    def __init__(self, backend: Backend, runner: Runner, room: int, queues: Collection[Queue]) -> None:
        self._backend = backend
        self._runner = runner
        self._room = room
        self._queues = queues
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(self._loop.time)
        self._claimed: deque[ClaimedJob] = deque()
        self._claimed_at = 0.0
        self._something = asyncio.Event()
        self._room_again = asyncio.Event()
        self._is_told = False
        self._closed = False
        backend.endings.heard = self._begin_claimed

    def look(self) -> None:
        """There may be something; for any thread, and cheap when it is said a thousand times."""
        if not self._is_told and not self._closed:
            self._is_told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._something.set)

    def close(self) -> None:
        """Begin nothing more."""
        self._closed = True
        self._something.set()
        self._room_again.set()

    async def run(self) -> None:
        """Until `close`; a database that is away is waited for. What was claimed and not begun is given back in the end."""
        orphans_at = self._loop.time() + random.random() * ORPHANS_EVERY_S
        pause_s = 0.0
        while not self._closed:
            self._something.clear()
            self._room_again.clear()
            self._is_told = False
            try:
                if self._loop.time() >= orphans_at:
                    orphans_at = self._loop.time() + ORPHANS_EVERY_S * (0.5 + random.random())
                    await claims.release_orphans(self._backend)
                if self._claimed and self._loop.time() - self._claimed_at > HELD_AHEAD_S:
                    await self._give_back()
                claimed = await self._claim()
            except (IntegError, DBAPIError) as error:
                pause_s = min(pause_s * 2 or 0.25, _LONGEST_PAUSE_S)
                _log.warning("the line of jobs can't be read, the next look is in %.2g s: %s", pause_s, error)
                await asyncio.sleep(pause_s)
                continue
            if pause_s:
                pause_s = 0.0
                _log.warning("the line of jobs can be read again")
            if claimed is None:
                await self._wait_for(self._room_again)
            elif not claimed:
                await asyncio.sleep(_AGAIN_AFTER_S)
                await self._wait_for(self._something)
        with contextlib.suppress(IntegError, DBAPIError):  # this process ends: others find them by that
            await self._give_back()

    async def _wait_for(self, event: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S * (0.75 + random.random() / 2)):
                await event.wait()

    async def _claim(self) -> int | None:
        """Fill the room, and what may be held ahead; how many were claimed, and None when it is not worth a look yet."""
        ahead = self._pace.ahead()
        most = self._room - self._runner.at_work + ahead - len(self._claimed)
        if most <= ahead // 2 or self._backend.endings.waiting > _MOST_UNWRITTEN:
            return None
        claimed = await claims.claim_next(self._backend, self._queues, most)
        if claimed:
            self._claimed_at = self._loop.time()
            self._claimed += claimed
            self._begin_claimed()
        return len(claimed)

    def _begin_claimed(self) -> None:
        while self._claimed and not self._closed and self._runner.at_work < self._room:
            self._runner.start(self._claimed.popleft(), partial(self._ended, self._loop.time()))

    def _ended(self, began_at: float) -> None:
        self._pace.ended(self._loop.time() - began_at)
        self._begin_claimed()
        self._something.set()
        self._room_again.set()

    async def _give_back(self) -> None:
        """What waits here for room: it was taken for short, and what is before it is not."""
        late = [job.id for job in self._claimed]
        self._claimed.clear()
        self._pace.forget()
        if late:
            await claims.give_back(self._backend, late)

"""Takes jobs from the line as long as there is room: woken by a message, by a job that ends, and now and then in case one was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Collection

from sqlalchemy.exc import DBAPIError

from integ_server.contract.errors import IntegError
from integ_server.services import claims
from integ_server.services.backend import Backend
from integ_server.services.queues import Queue
from integ_server.worker.runner import Runner

LOOK_EVERY_S = 1.0
"""What a lost message costs; a look at an empty line is one short statement."""
ORPHANS_EVERY_S = 5.0
_AGAIN_AFTER_S = 0.02
"""After a look that found nothing: a thousand messages about nothing cost fifty looks a second at most."""
_LONGEST_PAUSE_S = 5.0
_log = logging.getLogger("integ.worker")


class Line:
    def __init__(self, backend: Backend, runner: Runner, room: int, queues: Collection[Queue]) -> None:
        self._backend = backend
        self._runner = runner
        self._room = room
        self._queues = queues
        self._loop = asyncio.get_running_loop()
        self._something = asyncio.Event()
        self._room_again = asyncio.Event()
        self._is_told = False
        self._closed = False

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
        """Until `close`; a database that is away is waited for."""
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
                began = await self._begin()
            except (IntegError, DBAPIError) as error:
                pause_s = min(pause_s * 2 or 0.25, _LONGEST_PAUSE_S)
                _log.warning("the line of jobs can't be read, the next look is in %.2g s: %s", pause_s, error)
                await asyncio.sleep(pause_s)
                continue
            if pause_s:
                pause_s = 0.0
                _log.warning("the line of jobs can be read again")
            if began is None:
                await self._wait_for(self._room_again)
            elif not began:
                await asyncio.sleep(_AGAIN_AFTER_S)
                await self._wait_for(self._something)

    async def _wait_for(self, event: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S * (0.75 + random.random() / 2)):
                await event.wait()

    async def _begin(self) -> int | None:
        """Fill the room; how many were begun, and None when there is no room."""
        free = self._room - self._runner.at_work
        if free <= 0:
            return None
        claimed = await claims.claim_next(self._backend, self._queues, free)
        for job in claimed:
            self._runner.start(job, self._ended)
        return len(claimed)

    def _ended(self) -> None:
        self._something.set()
        self._room_again.set()

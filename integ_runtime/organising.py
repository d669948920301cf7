"""
What the player decides about games and for all devices, kept by the backend: sent at once, or written down while it can't be reached
and sent, in order, before anything else is asked of it. It shows at once either way, until the backend tells otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from integ_runtime.cache.records import TitleRow
from integ_runtime.cache.store import LibraryCache
from integ_runtime.client.api import ApiClient
from integ_runtime.decisions import Decision, Decisions
from integ_runtime.locks import only_one
from integ_server.contract.errors import (
    AuthenticationError,
    BackendUnreachableError,
    BusyError,
    IntegError,
    ProviderUnavailableError,
    StorageError,
    utc_now_text,
)

_log = logging.getLogger("integ.organising")
_AWAY = (BackendUnreachableError, ProviderUnavailableError, BusyError, StorageError)
"""The backend can't be reached, asks for a pause, is busy, or is full: what was decided still stands, and is sent later."""
_KEPT = (*_AWAY, AuthenticationError)
MOST_TRIES = 5
"""At a decision that the backend breaks down over: after as many it is taken as refused, so that those behind it are sent."""
_PAUSE_S = 5.0
"""After the backend was away, before the next decision is sent to it at once again: one of many is not to wait for it as often."""


class Organising:
    def __init__(self, api: Callable[[], Awaitable[ApiClient]], library: LibraryCache, queue: Path) -> None:
        """*queue* holds what waits to be sent, a line each."""
        self._api, self._library = api, library
        self._queue = Decisions(queue)
        self._lock = queue.with_name(f".{queue.name}.lock")
        self._unread: list[Decision] = []
        """Sent, but what became of it was not read yet: it is shown meanwhile."""
        self._reads_later = self._decided_more = False
        self._away_until = 0.0

    async def decide(self, titles: Sequence[TitleRow], wishes: Mapping[str, Any]) -> bool:
        """
        Wish the fields *wishes* of `GameWishes` for each of *titles*; False when that waits for the backend.

        Raises:
            IntegError: The backend refused one; those before it stand.
        """
        # a release's key outlives every merge and split of titles
        return await self.decide_releases([title.releases[0].key for title in titles], wishes)

    async def decide_releases(self, keys: Sequence[str], wishes: Mapping[str, Any]) -> bool:
        """As `decide`, for the releases *keys*: `proton` and `launch_options` are theirs alone, the others their titles'."""
        return await self._do_all([("PUT", f"/games/{key}/preferences", dict(wishes)) for key in keys])

    async def decide_for_all(self, wishes: Mapping[str, Any]) -> bool:
        """Wish the fields *wishes* of `UserWishes` for all games and devices; False when that waits for the backend."""
        return await self._do_all([("PATCH", "/users/preferences", dict(wishes))])

    async def choose_proton(self, key: str, version: str | None) -> bool:
        """
        Let the release *key* run with *version* on every device, None with the default; False when the backend hears of it later.

        This device has decided already, so a backend that refuses is no failure: the log tells of it.
        """
        try:
            return await self._do_all([("PUT", f"/games/{key}/preferences", {"proton": version})], even_signed_out=True)
        except IntegError as error:
            _log.warning("%s runs with %s on this machine alone: %s", key, version, error.message)
            return True

    async def merge(self, titles: Sequence[TitleRow]) -> bool:
        """Make *titles* one, the first; False when that waits for the backend."""
        return await self.merge_games([title.releases[0].key for title in titles])

    async def merge_games(self, games: Sequence[str]) -> bool:
        """As `merge`, by releases' keys or titles' ids."""
        return await self._do_all([("POST", "/games/merge", {"games": list(games)})])

    async def split(self, game: str, *, undo: bool = False) -> bool:
        """Take *game*, a release's key or a title's id, out of its title, or put it back; False when that waits for the backend."""
        return await self._do_all([("POST", "/games/split", {"game": game, "undo": undo})])

    @asynccontextmanager
    async def reading_once(self) -> AsyncIterator[None]:
        """For many decisions, one after the other: the library shows them, and what became of them, at the end."""
        self._reads_later = True
        try:
            yield
        finally:
            self._reads_later = False
            if self._decided_more:
                self._decided_more = False
                await self._show_all()

    async def send_waiting(self) -> int:
        """
        Send what was written down; answers how many the backend took. What it refuses is logged and dropped.

        Raises:
            BackendUnreachableError: The rest has to wait.
            AuthenticationError: Nobody is signed in; it waits too.
        """
        before = len(self._unread)
        if await asyncio.to_thread(self._queue.exist):
            async with self._alone():
                try:
                    await self._send_waiting()
                finally:
                    await self._show()
        took = len(self._unread) - before
        if await self._library.shows_waiting():
            await self._read_again()
        return took

    async def _do_all(self, requests: Sequence[tuple[str, str, dict[str, Any]]], *, even_signed_out: bool = False) -> bool:
        sent = 0
        try:
            for request in requests:
                sent += await self._do(*request, kept=_KEPT if even_signed_out else _AWAY)
        finally:
            if self._reads_later:
                self._decided_more = True
            else:
                await self._show_all()
        return sent == len(requests)

    async def _do(self, method: str, path: str, body: dict[str, Any], *, kept: tuple[type[IntegError], ...]) -> bool:
        owner = await self._library.owner()
        decision = Decision(owner, method, path, body, uuid.uuid4().hex, utc_now_text())
        decision.check()
        async with self._alone():
            try:
                if time.monotonic() >= self._away_until and await self._send_waiting():
                    await self._send(decision)
                    self._unread.append(decision)
                    return True
            except kept as error:
                _log.info("%s waits: %s", path, error.message)
                self._away_until = time.monotonic() + _PAUSE_S
            await asyncio.to_thread(self._queue.add, decision)
        return False

    async def _send_waiting(self) -> bool:
        """Whether nothing waits any more for whoever asks."""
        waiting = await asyncio.to_thread(self._queue.read)
        if not waiting:
            return True
        owner = await (await self._api()).owner()  # who asks now, whoever's the library on this machine is
        others: list[Decision] = []
        while waiting:
            decision = waiting[0]
            if decision.owner not in {owner, ""}:  # another user of this backend decided that
                others.append(waiting.pop(0))
                continue
            try:
                await self._send(decision)
                self._unread.append(decision)
            except _KEPT:
                raise
            except IntegError as error:
                decision.tries += 1
                if type(error) is IntegError and decision.tries < MOST_TRIES:
                    await asyncio.to_thread(self._queue.write, [*others, *waiting])
                    _log.warning("the backend broke down over %s and is asked again later: %s", decision.path, error.message)
                    return False
                _log.warning("the backend refused what was decided about %s: %s", decision.path, error.message)
            waiting.pop(0)
            await asyncio.to_thread(self._queue.write, [*others, *waiting])
        return True

    async def _send(self, decision: Decision) -> None:
        await (await self._api()).change(decision.method, decision.path, decision.body, key=decision.key)

    def _alone(self) -> AbstractAsyncContextManager[None]:
        return only_one(self._lock, doing="sending what you decided")

    async def _show_all(self) -> None:
        async with self._alone():
            await self._show()
        if self._unread:
            await self._read_again()

    async def _show(self) -> None:
        """Let the library show what it can't have heard of yet; what was refused is not among it."""
        owner = await self._library.owner()
        known = [*self._unread, *await asyncio.to_thread(self._queue.read)]
        await self._library.show_waiting([each.as_waiting() for each in known if each.owner in {owner, ""}])

    async def _read_again(self) -> None:
        """Take what became of the decisions into the library; while that can't be had, what was sent from the queue goes on showing."""
        from integ_runtime.syncing import follow

        try:
            await follow(await self._api(), self._library)
        except _AWAY as error:
            _log.info("what became of it is read later: %s", error.message)
            return
        self._unread.clear()
        async with self._alone():
            await self._show()

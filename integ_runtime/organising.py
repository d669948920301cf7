"""
What the player decides about games, kept by the backend: sent at once, or written down while it can't be reached and sent, in order,
before anything else is asked of it. What concerns the list shows in it at once either way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from integ_runtime.cache.records import TitleRow
from integ_runtime.cache.store import LibraryCache
from integ_runtime.client.api import ApiClient
from integ_runtime.locks import only_one
from integ_server.contract.errors import (
    AuthenticationError,
    BackendUnreachableError,
    BusyError,
    IntegError,
    ProviderUnavailableError,
    StorageError,
)

_log = logging.getLogger("integ.organising")
_KEPT = (BackendUnreachableError, AuthenticationError, ProviderUnavailableError, BusyError, StorageError)
"""After these a decision still stands: it is sent once the backend is back or less busy, or the player signed in."""


class Organising:
    def __init__(self, api: Callable[[], Awaitable[ApiClient]], library: LibraryCache, queue: Path) -> None:
        """*queue* holds what waits to be sent, a line each."""
        self._api, self._library, self._queue = api, library, queue
        self._lock = queue.with_name(f".{queue.name}.lock")

    async def decide(self, titles: Sequence[TitleRow], wishes: dict[str, Any]) -> bool:
        """
        Wish the fields *wishes* of `GameWishes` for each of *titles*; False when that waits for the backend.

        Raises:
            IntegError: The backend refused one; those before it stand.
        """
        sent = True
        for title in titles:
            # a release's key outlives every merge and split of titles
            sent = await self._do("PUT", f"/games/{title.releases[0].key}/preferences", wishes) and sent
            await self._library.decide(title.title_id, wishes)
        await self._follow(sent)
        return sent

    async def merge(self, titles: Sequence[TitleRow]) -> bool:
        """Make *titles* one, the first; False when that waits for the backend."""
        sent = await self._do("POST", "/games/merge", {"games": [title.releases[0].key for title in titles]})
        await self._follow(sent)
        return sent

    async def split(self, game: str, *, undo: bool = False) -> bool:
        """Take *game*, a release's key or a title's id, out of its title, or put it back; False when that waits for the backend."""
        sent = await self._do("POST", "/games/split", {"game": game, "undo": undo})
        await self._follow(sent)
        return sent

    async def send_waiting(self) -> int:
        """
        Send what was written down; answers how many the backend took. What it refuses is logged and dropped.

        Raises:
            BackendUnreachableError: The rest has to wait.
            AuthenticationError: Nobody is signed in; it waits too.
        """
        if not await asyncio.to_thread(self._queue.exists):
            return 0
        async with only_one(self._lock, doing="sending what you decided"):
            return await self._send_waiting()

    async def _do(self, method: str, path: str, body: dict[str, Any]) -> bool:
        change = {"owner": await self._library.owner(), "method": method, "path": path, "body": body, "key": uuid.uuid4().hex}
        async with only_one(self._lock, doing="sending what you decided"):
            try:
                await self._send_waiting()
                await self._send(change)
            except BackendUnreachableError:
                await asyncio.to_thread(self._write, [*await asyncio.to_thread(self._read), change])
                return False
        return True

    async def _send_waiting(self) -> int:
        waiting, took = await asyncio.to_thread(self._read), 0
        if not waiting:
            return 0
        owner = await (await self._api()).owner()  # who asks now, whoever's the library on this machine is
        kept: list[dict[str, Any]] = []
        while waiting:
            change = waiting[0]
            if change["owner"] != owner:  # another user of this backend decided that
                kept.append(waiting.pop(0))
                continue
            try:
                await self._send(change)
                took += 1
            except _KEPT:
                await asyncio.to_thread(self._write, [*kept, *waiting])
                raise
            except IntegError as error:
                _log.warning("the backend refused what was decided about %s: %s", change["path"], error.message)
            waiting.pop(0)
            await asyncio.to_thread(self._write, [*kept, *waiting])
        return took

    async def _send(self, change: dict[str, Any]) -> None:
        await (await self._api()).change(change["method"], change["path"], change["body"], key=change["key"])

    async def _follow(self, sent: bool) -> None:
        if sent:
            from integ_runtime.syncing import follow

            await follow(await self._api(), self._library)

    def _read(self) -> list[dict[str, Any]]:
        try:
            lines = self._queue.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"{self._queue} can't be read: {error.strerror}", hint="integ doctor") from error
        found = []
        for line in lines:
            try:
                found.append({name: json.loads(line)[name] for name in ("owner", "method", "path", "body", "key")})
            except (ValueError, KeyError, TypeError):
                _log.warning("a line of %s is not what Integ wrote and is left out", self._queue)
        return found

    def _write(self, changes: list[dict[str, Any]]) -> None:
        """Whole or not at all, and on the disk before anybody is told that it waits."""
        if not changes:
            self._queue.unlink(missing_ok=True)
            return
        beside = self._queue.with_name(f".{self._queue.name}.new")
        try:
            self._queue.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(change, ensure_ascii=False) + "\n" for change in changes)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._queue)
        except OSError as error:
            raise StorageError(f"what you decided can't be kept: {error.strerror}", hint="integ doctor") from error

"""
What umu calls a game, which decides the fixes that it gets. Learned while the network is used anyway, and only read at a launch.

Source: umu-database's `umu_api.php`. When its own database fails it answers plain text with status 200.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.launch.umu_record import ID, RECORD, STORES, read_record
from integ_server.contract.errors import IntegError

KNOWN_FOR_S, UNKNOWN_FOR_S = 7 * 86_400, 86_400
_API = "https://umu.openwinecomponents.org/umu_api.php"
_ANSWER_WITHIN_S = 15.0
_MORE_S = 3.0
"""How long a finished install waits for an answer that is still on its way."""
_MOST_BYTES = 256 << 10
_AT_ONCE = 4
_log = logging.getLogger("integ.umu")


class UmuIds:
    """Asks umu's database about Windows games, each once a week, and once a day while it knows nothing of them."""

    def __init__(self, installed: InstalledGames, upstream_url: str | None) -> None:
        self._installed = installed
        self._upstream_url = upstream_url

    @asynccontextmanager
    async def learning(self, key: str, platform: str) -> AsyncIterator[None]:
        """Ask about *key* while something longer is done; nothing fails because of it."""
        asking = asyncio.create_task(self.learn(key)) if platform == "windows" and self._is_due(key) else None
        try:
            yield
            if asking is not None:
                await asyncio.wait([asking], timeout=_MORE_S)
        finally:
            if asking is not None:
                asking.cancel()
                await asyncio.wait([asking])

    async def learn_due(self, games: Sequence[InstalledGame]) -> None:
        """Ask about all of *games* whose turn it is."""
        due = [game.key for game in games if game.platform == "windows" and self._is_due(game.key)]
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(key: str) -> None:
            async with places:
                await self.learn(key)

        await asyncio.gather(*(one(key) for key in due))

    async def learn(self, key: str) -> None:
        """Ask about *key* and write down what is answered; what can't be had is asked again another time."""
        import httpx

        from integ_server.upstream import open_upstream

        store, _, codename = key.partition(":")
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S), open_upstream(self._upstream_url) as http:
                answer = await http.get(_API, params={"codename": codename.lower(), "store": store})
            if answer.status_code != 200 or len(answer.content) > _MOST_BYTES:
                return
            rows = json.loads(answer.content)
        except (IntegError, httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            _log.debug("umu's database did not tell what it calls %s: %s", key, type(error).__name__)
            return
        if not isinstance(rows, list):
            return
        ids = [row.get("umu_id") for row in rows if isinstance(row, dict)]
        found = next((each for each in ids if isinstance(each, str) and ID.fullmatch(each)), None)
        await asyncio.to_thread(_write, self._installed.folder(key), {"id": found, "asked_at": int(time.time())})

    def _is_due(self, key: str) -> bool:
        if key.partition(":")[0] not in STORES:
            return False
        known = read_record(self._installed.folder(key))
        asked_at = known.get("asked_at")
        kept_s = KNOWN_FOR_S if known.get("id") else UNKNOWN_FOR_S
        return not isinstance(asked_at, int) or not 0 <= time.time() - asked_at < kept_s


def _write(folder: Path, known: dict[str, Any]) -> None:
    with suppress(OSError):  # it costs fixes, and another question tomorrow
        beside = folder / f"{RECORD}.new"
        beside.write_text(json.dumps(known), "ascii")
        beside.replace(folder / RECORD)

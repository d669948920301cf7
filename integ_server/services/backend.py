"""What the services work with: opened by the app or by a worker, for one event loop, and handed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from integ_server.cache import Cache
from integ_server.contract.errors import NotFoundError
from integ_server.db import Database
from integ_server.providers.base import GameProvider
from integ_server.settings import ServerSettings

LOCAL_USER = "local"


class SecretKeeper(Protocol):
    """Seals what must not lie readable in the database; `auth.crypto.Vault` is one."""

    def seal(self, text: str, about: str) -> str: ...

    def open(self, sealed: str, about: str) -> str: ...


def _unsent(kind: str, job_id: str, delay_s: float) -> None:
    """For a backend without workers: the job waits for another process to take it up."""


@dataclass(slots=True)
class Backend:
    settings: ServerSettings
    db: Database
    cache: Cache
    vault: SecretKeeper
    stores: Mapping[str, GameProvider]
    send: Callable[[str, str, float], None] = _unsent
    """Tell the workers of a job: its kind, its id, and in how many seconds."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def get_store(self, slug: str) -> GameProvider:
        """
        Raises:
            NotFoundError: There is no such store.
        """
        store = self.stores.get(slug)
        if store is None:
            raise NotFoundError(f"there is no store called {slug[:40]!r}", hint=f"stores: {', '.join(sorted(self.stores))}")
        return store

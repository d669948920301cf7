"""What the services work with: opened by the app or by a worker, for one event loop, and handed on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpx

from integ_server.cache import Cache
from integ_server.contract.errors import NotFoundError
from integ_server.contract.scopes import Scope
from integ_server.copies import Copies
from integ_server.db import Database
from integ_server.providers.base import GameProvider
from integ_server.services.event_hub import EventHub
from integ_server.services.rates import Rates
from integ_server.settings import ServerSettings

if TYPE_CHECKING:
    from integ_server.metrics import Metrics
    from integ_server.schema_gate import SchemaGate
    from integ_server.services.endings import Endings
    from integ_server.tracing import Tracing

T = TypeVar("T")
LOCAL_USER = "local"
MEANWHILE_EVERY_S = 0.5


class StoppingError(Exception):
    """The backend ends; what was asked of a store is broken off."""


class SecretKeeper(Protocol):
    """Seals what must not lie readable in the database; `auth.crypto.Vault` is one."""

    def seal(self, text: str, about: str) -> str: ...

    def open(self, sealed: str, about: str) -> str: ...


class AccessClaims(Protocol):
    """What a good access token says; `auth.jwt.Claims` is one."""

    @property
    def user_id(self) -> str: ...

    @property
    def session_id(self) -> str: ...

    @property
    def scopes(self) -> frozenset[str]: ...


class AccessSigner(Protocol):
    """Makes and checks the backend's own access tokens; `auth.jwt.Signer` is one."""

    def sign(self, user_id: str, session_id: str, scopes: Collection[Scope]) -> str: ...

    def check(self, token: str) -> AccessClaims: ...

    def public_keys(self) -> list[dict[str, Any]]: ...


def _unsent(kind: str, queue: str, job_id: str, delay_s: float) -> None:
    """For a backend without workers: the job waits for another process to take it up."""


@dataclass(slots=True)
class Backend:
    settings: ServerSettings
    db: Database
    cache: Cache
    vault: SecretKeeper
    signer: AccessSigner
    stores: Mapping[str, GameProvider]
    http: httpx.AsyncClient
    """The way outside, for original addresses."""
    events: EventHub
    rates: Rates
    copies: Copies
    endings: Endings
    send: Callable[[str, str, str, float], None] = _unsent
    """Tell the workers of a job: its kind, its queue, its id, and in how many seconds."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    metrics: Metrics | None = None
    """None: nobody counts, as when it is embedded."""
    tracing: Tracing | None = None
    """None: nobody asked for traces."""
    schema: SchemaGate | None = None
    """None: the database was found to be in order before all else."""

    async def outside(self, call: Coroutine[Any, Any, T], meanwhile: Callable[[], Awaitable[object]] | None = None) -> T:
        """
        Await *call*, which only asks a store; *meanwhile* is called twice a second until it answers.

        A backend that ends breaks jobs off here and nowhere else: an SQLite statement that is cancelled keeps its transaction, and
        with it everybody's write lock, until the last frame that knows its cursor is gone.

        Raises:
            StoppingError: The backend ends.
        """
        answer = asyncio.ensure_future(call)
        ending = asyncio.ensure_future(self.stopping.wait())
        try:
            while not answer.done() and not ending.done():
                await asyncio.wait({answer, ending}, timeout=MEANWHILE_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                if meanwhile is not None and not answer.done() and not ending.done():
                    await meanwhile()
            if answer.done():
                return answer.result()
            raise StoppingError
        finally:
            answer.cancel()
            ending.cancel()
            await asyncio.gather(answer, ending, return_exceptions=True)

    def get_store(self, slug: str) -> GameProvider:
        """
        Raises:
            NotFoundError: There is no such store.
        """
        store = self.stores.get(slug)
        if store is None:
            raise NotFoundError(f"there is no store called {slug[:40]!r}", hint=f"stores: {', '.join(sorted(self.stores))}")
        return store

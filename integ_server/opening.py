"""Opens what the services work with: the same parts for the API and for a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from integ_server.auth.crypto import Vault
from integ_server.auth.jwt import Signer
from integ_server.cache import Cache, open_cache
from integ_server.copies import Copies
from integ_server.db import Database, open_database, storage_error
from integ_server.gates import Gates, OpenGates
from integ_server.migrations.upgrade import check_current, migrate
from integ_server.providers import providers
from integ_server.providers.base import GameProvider, ProviderConfig
from integ_server.services import events, library
from integ_server.services.backend import LOCAL_USER, Backend
from integ_server.services.endings import open_endings
from integ_server.services.event_hub import open_hub
from integ_server.services.rates import Rates
from integ_server.settings import ServerSettings
from integ_server.shared_gates import SharedGates
from integ_server.upstream import open_upstream

if TYPE_CHECKING:
    from integ_server.metrics import Metrics
    from integ_server.schema_gate import SchemaGate
    from integ_server.tracing import Tracing
    from integ_server.transport import Watch


@asynccontextmanager
async def open_backend(
    settings: ServerSettings, stores: Mapping[str, type[GameProvider]] | None = None, *, schema: SchemaGate | None = None
) -> AsyncIterator[Backend]:
    """
    Open database, cache, the way outside and the stores; *stores* stands in for those that are found by looking.

    An embedded database is brought up to date first; a served one has to be already, since somebody does that once for
    all processes. Unless *schema* is given: then it is looked at once, and whoever uses the backend has to ask that gate.

    Raises:
        IntegrityError: The database is of a newer version, or damaged.
        StorageError: It can't be read or written.
    """
    vault = Vault(settings.secret_key)
    async with AsyncExitStack() as opened:
        if settings.is_embedded:
            await migrate(settings.database_url)
        elif schema is not None:
            await schema.look()
        else:
            await check_current(settings.database_url)
        pool, patience_s = settings.database_pool, settings.database_statement_timeout_s
        db = await opened.enter_async_context(open_database(settings.database_url, pool=pool, statement_timeout_s=patience_s))
        if settings.is_embedded:
            await _ensure_local_user(db)
        cache = await opened.enter_async_context(open_cache(settings.redis_url))
        metrics, tracing = (None, None) if settings.is_embedded else await _watchers(opened)
        http = await opened.enter_async_context(
            open_upstream(settings.upstream_url, version=_version(), watch=_both(metrics, tracing), gates=_gates(settings, cache))
        )
        config = ProviderConfig(settings.steam_api_key, settings.gog_client_id, settings.gog_client_secret)
        kinds = providers() if stores is None else stores
        hub = await opened.enter_async_context(open_hub(cache))
        copies = Copies(cache)
        opened.push_async_callback(copies.close)
        events.tell_through(db, hub, copies)
        found = {slug: kind(http, config) for slug, kind in kinds.items()}
        rates = Rates(cache, 0 if settings.is_embedded else settings.requests_per_min)
        endings = await opened.enter_async_context(open_endings(db))
        signer = Signer(settings)
        yield Backend(
            settings, db, cache, vault, signer, found, http, hub, rates, copies, endings, metrics=metrics, tracing=tracing, schema=schema
        )


async def _ensure_local_user(db: Database) -> None:
    """The first write of a new home: a disk that is full is told as that, before there is an app to tell it."""
    try:
        await library.ensure_local_user(db, LOCAL_USER)
    except DBAPIError as error:
        if (told := storage_error(error)) is not None:
            raise told from error
        raise


def _gates(settings: ServerSettings, cache: Cache) -> Gates | None:
    if settings.upstream_unpaced:
        return OpenGates()
    return None if settings.is_embedded else SharedGates(cache)


async def _watchers(opened: AsyncExitStack) -> tuple[Metrics, Tracing | None]:
    from integ_server.metrics import Metrics  # the embedded backend counts nothing and does without the imports
    from integ_server.tracing import open_tracing

    tracing = open_tracing(_version())
    if tracing is not None:
        opened.push_async_callback(asyncio.to_thread, tracing.close)  # what is left is sent when all else has ended
    return Metrics(), tracing


def _both(metrics: Metrics | None, tracing: Tracing | None) -> Watch | None:
    """Who hears of each request to a store."""
    if metrics is None or tracing is None:
        return metrics.store_request if metrics is not None else None

    def watch(host: str, status: int, waited_s: float, took_s: float) -> None:
        metrics.store_request(host, status, waited_s, took_s)
        tracing.store_request(host, status, waited_s, took_s)

    return watch


def _version() -> str:
    try:
        return version("integ")
    except PackageNotFoundError:  # run from a checkout
        return ""

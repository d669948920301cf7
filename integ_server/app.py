"""The backend as an ASGI app, for a server's socket or for a thread of the player's own process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError

from integ_server.api import achievements, auth, docs, events, games, health, jobs, metrics, preferences, users
from integ_server.api.envelope import add_handlers
from integ_server.api.hot import HotPaths
from integ_server.api.idempotency import Idempotency
from integ_server.api.middleware import Doorkeeper
from integ_server.api.recorder import Recorder
from integ_server.api.safety import Safety
from integ_server.auth import rotation
from integ_server.contract.errors import IntegError
from integ_server.contract.failures import FailureEnvelope
from integ_server.contract.keys import KeyRotation
from integ_server.opening import open_backend
from integ_server.providers import providers
from integ_server.providers.base import GameProvider
from integ_server.services.backend import Backend
from integ_server.services.jobs import take_up
from integ_server.settings import ServerSettings
from integ_server.signals import on_stop_signal
from integ_server.worker.broker import open_workers
from integ_server.worker.scheduler import open_scheduler

if TYPE_CHECKING:
    from integ_server.schema_gate import SchemaGate

_ENDS_WITHIN_S = 6
_log = logging.getLogger("integ.app")


def embedded_settings(
    *,
    data_dir: Path,
    secret_key: str,
    upstream_url: str | None = None,
    steam_api_key: str = "",
    gog_client_id: str = "",
    gog_client_secret: str = "",
) -> ServerSettings:
    """
    Settings for a backend in the player's own process.

    Raises:
        UsageError: A value makes no sense; the message names it.
    """
    return ServerSettings.embedded(data_dir, upstream_url, steam_api_key, gog_client_id, gog_client_secret, secret_key)


async def rotate_keys(settings: ServerSettings) -> KeyRotation:
    """
    Seal anew with the first key of *settings* what the others sealed. Backends may run meanwhile, as long as they have all of them.

    Raises:
        StorageError: The database does not answer; what is done is done.
    """
    async with open_backend(settings, {}) as backend:
        done = await rotation.rotate(backend)
        texts = await rotation.texts_by_key(backend)
    unreadable = texts.pop("")
    return KeyRotation(next(iter(texts)), done.resealed, done.left, unreadable, texts)


def create_app(settings: ServerSettings, *, stores: Mapping[str, type[GameProvider]] | None = None) -> FastAPI:
    """
    The app. Nothing is opened before its lifespan is entered, and all of it belongs to the loop that enters it.

    Embedded there is one user and no sign-in to Integ; otherwise every route wants one. *stores* stands in for those found by looking.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            open_backend(settings, stores, schema=_gate(settings)) as backend,
            open_workers(backend, consume=settings.redis_url is None),
        ):
            app.state.backend = backend
            told = contextlib.nullcontext() if settings.is_embedded else on_stop_signal(backend.events.end)
            ending = asyncio.Event()
            working = asyncio.create_task(_work_of_its_own(backend, ending))
            try:
                with told:  # or the server would wait for streams that do not end by themselves
                    yield
            finally:
                # Let it come to its end, which takes a moment: a statement that is cancelled loses its connection.
                ending.set()
                _, pending = await asyncio.wait({working}, timeout=1 if settings.is_embedded else _ENDS_WITHIN_S)
                for task in pending:
                    task.cancel()
                await asyncio.gather(working, return_exceptions=True)

    app = _kind(settings)(
        title="Integ",
        summary="Every game you own on Steam and GOG",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours tell less: no addresses with their queries
        responses={"4XX": {"model": FailureEnvelope}, "5XX": {"model": FailureEnvelope}},
    )
    if not settings.is_embedded:
        app.add_middleware(HotPaths)
    app.add_middleware(Idempotency)
    app.add_middleware(Doorkeeper)
    if not settings.is_embedded:
        app.add_middleware(Safety, settings=settings)
    if settings.cors_origins:
        _let_pages_call(app, settings)
    app.add_middleware(Recorder, writes_lines=not settings.is_embedded)  # the last is the outermost
    add_handlers(app)
    for part in (health, metrics, docs, auth, users, games, achievements, preferences, jobs, events):
        if part is games:
            app.include_router(games.of_each_store(providers() if stores is None else stores))
        app.include_router(part.router)
    if not settings.is_embedded:
        # of no use embedded, where every route costs a start its milliseconds
        from integ_server.api import devices, pages, proton, sessions, store_pages, tokens, webhooks

        for part in (devices, sessions, tokens, proton, webhooks, pages, store_pages):
            app.include_router(part.router)
        app.include_router(pages.assets)
    return app


def _kind(settings: ServerSettings) -> type[FastAPI]:
    if settings.is_embedded:
        return FastAPI
    from integ_server.api.description import DescribedApp

    return DescribedApp


def _gate(settings: ServerSettings) -> SchemaGate | None:
    if settings.is_embedded:
        return None
    from integ_server.schema_gate import SchemaGate  # the embedded database is migrated right here

    return SchemaGate(settings.database_url)


async def _work_of_its_own(backend: Backend, ending: asyncio.Event) -> None:
    """What no request asks for, once the database is there: jobs that a killed process left behind; without workers, what is due."""
    if backend.schema is not None and not await backend.schema.wait(ending):
        return
    settings = backend.settings
    async with contextlib.nullcontext() if settings.is_embedded or settings.redis_url is not None else open_scheduler(backend):
        try:
            await take_up(backend)
        except (IntegError, DBAPIError) as error:
            _log.warning("what other processes left behind is not taken up now: %s", error)
        if not settings.is_embedded:
            await ending.wait()


def _let_pages_call(app: FastAPI, settings: ServerSettings) -> None:
    """Let scripts of these origins call with a token that they hold themselves; never with what a browser would send along by itself."""
    from fastapi.middleware.cors import CORSMiddleware

    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_credentials=False,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "Range", "X-Request-Id"],
        expose_headers=["ETag", "Retry-After", "X-Request-Id", "Content-Range"],
    )

"""A real SQLite file, and a real PostgreSQL where its programs are; and a player who signs in and syncs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from integ_server.app import create_app
from integ_server.auth import session as device_sessions
from integ_server.auth import tokens as personal_tokens
from integ_server.auth.caller import Caller
from integ_server.contract.scopes import ALL_SCOPES, Scope
from integ_server.contract.sessions import NewToken, TokenRequest, Tokens
from integ_server.contract.types import Changes, SignInAnswer, SignInWay, SyncCounts, SyncRequest
from integ_server.migrations.upgrade import migrate
from integ_server.models.job import ClaimedJob
from integ_server.opening import open_backend
from integ_server.providers.base import GameProvider
from integ_server.services import accounts, jobs, library, metadata, sync, users
from integ_server.services.backend import LOCAL_USER, Backend
from integ_server.settings import ServerSettings
from tests.servers import Postgres, postgres_server, redis_server

KEY = "k1:5f0c9a7be2d14836af907c1d3e8b6452"
_SERVED: dict[str, str] = {}
"""Addresses of databases that belong to a backend which serves, with the address of its Redis."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this run's own, with a migrated template database; it is gone afterwards."""
    with postgres_server() as server:
        server.run("CREATE DATABASE template_integ")
        asyncio.run(migrate(server.url("template_integ")))
        yield server


@pytest.fixture(scope="session")
def _redis() -> Iterator[str]:
    with redis_server() as server:
        yield f"unix://{server.folder}/s"


@pytest.fixture
def redis_url(_redis: str) -> str:
    """The address of a Redis of this run's own with nothing in it."""
    with Redis.from_url(_redis) as redis:
        redis.flushall()
    return _redis


@pytest.fixture
def empty_postgres(postgres: Postgres) -> str:
    """The address of a database of the test's own with nothing in it."""
    return postgres.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """
    The address of a migrated database of the test's own, once on each kind of backend: `settings_for` it on SQLite is an embedded one,
    on PostgreSQL one that serves and has a Redis for cache and messages.
    """
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'integ.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    url = server.new_database("template_integ")
    _SERVED[url] = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'integ.db'}"


def settings_for(url: str, **more: Any) -> ServerSettings:
    kind = {"is_embedded": url not in _SERVED, "redis_url": _SERVED.get(url)}
    return ServerSettings.model_validate({**kind, "database_url": url, "secret_key": KEY, "retry_for_s": 0.3, **more})


@dataclass
class Player:
    """Somebody who uses a backend, without the API in between."""

    backend: Backend
    user: str = LOCAL_USER

    async def sign_in(self, provider: str, account: str, user: str | None = None, *, key: str = "a key") -> None:
        """As after a sign-in in the browser: where many have accounts, `accounts.confirm` takes no key for a proof."""
        answer = SignInAnswer(way=SignInWay.API_KEY, api_key=key, account=account)
        confirmed = await self.backend.get_store(provider).sign_in(answer, return_to="")
        async with self.backend.db.writing.begin() as session:
            await accounts.link(self.backend, session, user or self.user, provider, confirmed)

    async def sign_out(self, provider: str | None = None, account: str | None = None) -> None:
        async with self.backend.db.writing.begin() as session:
            await accounts.sign_out(session, self.user, provider, account)

    async def start(self, *providers: str, full: bool = False) -> list[str]:
        """Queue a sync, and answer the ids of its jobs."""
        async with self.backend.db.writing.begin() as session:
            return [job.id for job in await sync.start(self.backend, session, self.user, SyncRequest(providers=list(providers), full=full))]

    async def claim(self, job_id: str) -> ClaimedJob:
        job = await jobs.claim(self.backend, job_id)
        assert job is not None
        return job

    async def pull(self, *providers: str, full: bool = False) -> SyncCounts:
        """Sync, without the metadata that is left to be read; the counts of all accounts added up."""
        total = SyncCounts()
        for job_id in await self.start(*providers, full=full):
            try:
                counts = await sync.pull_account(self.backend, await self.claim(job_id))
            except Exception:
                await jobs.hand_back(self.backend, job_id)
                raise
            total = SyncCounts(**{name: getattr(total, name) + getattr(counts, name) for name in SyncCounts.model_fields})
        return total

    async def read_metadata(self) -> int:
        """Do the metadata jobs that are queued, and answer how many there were."""
        async with self.backend.db.reading() as session:
            waiting = [job for job in await jobs.current(session, self.user) if job.kind == "metadata" and job.state == "queued"]
        for job in waiting:
            await metadata.read_due(self.backend, await self.claim(job.id))
        return len(waiting)

    async def changes(self, since: int = 0) -> Changes:
        async with self.backend.db.reading() as session:
            return await library.changes(session, self.user, since)

    async def everything(self) -> Changes:
        """All changes from the beginning, the parts put together."""
        whole = await self.changes()
        titles, releases = {each.id: each for each in whole.titles}, {each.key: each for each in whole.releases}
        while whole.more:
            whole = await self.changes(whole.revision)
            titles |= {each.id: each for each in whole.titles}
            releases |= {each.key: each for each in whole.releases}
        return Changes(revision=whole.revision, titles=list(titles.values()), releases=list(releases.values()))

    async def partition(self) -> dict[str, list[str]]:
        """Title ids with the keys of their releases."""
        found: dict[str, list[str]] = {}
        for release in (await self.everything()).releases:
            found.setdefault(release.title_id, []).append(release.key)
        return {title_id: sorted(keys) for title_id, keys in found.items()}


OpenPlayer = Callable[..., Any]


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def open_player(opened: AsyncExitStack, database_url: str) -> OpenPlayer:
    """`await open_player({"slug": Store}, **settings)`: a player on a backend with these stores; on both databases."""

    async def go(stores: Mapping[str, type[GameProvider]], **more: Any) -> Player:
        return await opened.enter_async_context(player_on(database_url, stores, **more))

    return go


@asynccontextmanager
async def player_on(url: str, stores: Mapping[str, type[GameProvider]], **more: Any) -> AsyncIterator[Player]:
    """A player on the database at *url*; several may be on the same."""
    async with open_backend(settings_for(url, **more), stores) as backend:
        await library.ensure_local_user(backend.db, LOCAL_USER)  # one of many, where it is a backend that serves
        yield Player(backend)


@dataclass
class Served:
    """A backend for many, reached as its clients reach it."""

    app: FastAPI
    opened: AsyncExitStack

    @property
    def backend(self) -> Backend:
        backend: Backend = self.app.state.backend
        return backend

    async def new_user(self, name: str = "Ann") -> str:
        async with self.backend.db.writing.begin() as session:
            return await users.make_user(session, name)

    async def new_tokens(self, user_id: str, scopes: Collection[Scope] = ALL_SCOPES, device: str = "a test") -> Tokens:
        """What a device of the user's has after it signed in."""
        async with self.backend.db.writing.begin() as session:
            return await device_sessions.begin(self.backend, session, user_id, device, scopes)

    async def new_personal_token(self, user_id: str, scopes: Collection[Scope] = ALL_SCOPES, days: int | None = 1) -> NewToken:
        wanted = TokenRequest(name="a script", scopes=sorted(scopes), expires_in_days=days)
        async with self.backend.db.writing.begin() as session:
            return await personal_tokens.make(session, Caller(user_id, ALL_SCOPES), wanted)

    async def http(self, token: str | None = None, *, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """A client that brings *token*, or nothing."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 1))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.AsyncClient(transport=transport, base_url="https://integ.example", headers=headers, timeout=30)
        return await self.opened.enter_async_context(client)

    async def signed_in(self, name: str = "Ann", scopes: Collection[Scope] = ALL_SCOPES) -> httpx.AsyncClient:
        """A client on a device of a new user's."""
        return await self.http((await self.new_tokens(await self.new_user(name), scopes)).access_token)


async def personal_token_on(url: str) -> str:
    """A personal token of a new user on the database at *url*, good in every process that serves it."""
    await migrate(url)
    settings = settings_for(url, is_embedded=False)
    async with open_backend(settings, {}) as backend, backend.db.writing.begin() as session:
        caller = Caller(await users.make_user(session, "Ann"), ALL_SCOPES)
        return (await personal_tokens.make(session, caller, TokenRequest(name="a script", scopes=sorted(ALL_SCOPES)))).token


OpenServed = Callable[..., Awaitable[Served]]


@pytest.fixture
def open_served(opened: AsyncExitStack, database_url: str) -> OpenServed:
    """
    `await open_served({"slug": Store}, **settings)`: a backend for many, on SQLite without a Redis and on PostgreSQL with one; called
    again, a second process of the same. Work is done by the process itself on SQLite, and by nobody on PostgreSQL.
    """

    async def go(stores: Mapping[str, type[GameProvider]] | None = None, **more: Any) -> Served:
        if database_url not in _SERVED:
            await migrate(database_url)
        settings = settings_for(database_url, **{"is_embedded": False, "public_url": "https://integ.example", **more})
        app = create_app(settings, stores=stores if stores is not None else {})
        await opened.enter_async_context(app.router.lifespan_context(app))
        return Served(app, opened)

    return go

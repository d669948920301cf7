"""What `/readyz` tells, with each thing missing in turn."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from integ_server.app import create_app
from integ_server.contract.types import SignInAnswer, SignInWay
from integ_server.migrations.upgrade import known_revisions, migrate
from integ_server.providers.base import GameProvider
from integ_server.services import accounts, presence, readiness
from integ_server.services.backend import LOCAL_USER, Backend
from tests.fakes import Shelf, fake_store
from tests.server.conftest import settings_for
from tests.servers import Server, redis_server


@asynccontextmanager
async def opened_app(url: str, **more: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    await migrate(url)
    stores: dict[str, type[GameProvider]] = {"fake": fake_store(Shelf(games={"ann": []}))}
    app = create_app(settings_for(url, **more), stores=stores)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=20) as http,
    ):
        yield app, http


async def states(http: httpx.AsyncClient, status: int) -> dict[str, str]:
    answer = await http.get("/readyz")
    assert answer.status_code == status, answer.text
    return {check["name"]: check["state"] for check in answer.json()["data"]["checks"]}


@pytest.fixture
def redis() -> Iterator[Server]:
    """A Redis of the test's own, which may be ended."""
    with redis_server() as server:
        yield server


async def test_all_is_well_without_redis_and_with_workers_in_this_process(sqlite_url: str) -> None:
    async with opened_app(sqlite_url) as (_, http):
        assert await states(http, 200) == {"database": "ok", "redis": "ok", "workers": "ok", "keys": "ok"}


async def test_a_schema_that_is_not_this_versions_is_told(database_url: str) -> None:
    async with opened_app(database_url) as (app, http):
        backend: Backend = app.state.backend
        for revision, mend in ((known_revisions()[-2], "integ migrate"), ("9999", "restart this process with the newer version")):
            async with backend.db.writing.begin() as session:
                await session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()["error"], answer.json()["hint"]) == (503, "BackendUnreachableError", mend)
            assert answer.headers["retry-after"] == "5" and revision in answer.json()["message"]


async def test_a_missing_worker_is_told_but_nothing_fails_for_it(sqlite_url: str, redis_url: str) -> None:
    async with opened_app(sqlite_url, is_embedded=False, redis_url=redis_url) as (app, http):
        backend: Backend = app.state.backend
        await backend.cache.delete("presence/worker")
        assert (await states(http, 200))["workers"] == "warn"
        await presence.show_worker(backend.cache)
        assert (await states(http, 200))["workers"] == "ok"


async def test_a_redis_that_went_away_is_told(sqlite_url: str, redis: Server) -> None:
    url = f"unix://{redis.folder}/s"
    async with opened_app(sqlite_url, is_embedded=False, redis_url=url) as (_, http):
        assert (await states(http, 200))["redis"] == "ok"
        redis.stop()
        found = await http.get("/readyz")
        assert await states(http, 503) == {"database": "ok", "redis": "fail", "workers": "warn", "keys": "ok"}
        assert url not in found.text


async def test_a_redis_that_hangs_does_not_hang_the_answer(sqlite_url: str, redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "CHECK_WITHIN_S", 0.3)
    async with opened_app(sqlite_url, is_embedded=False, redis_url=f"unix://{redis.folder}/s") as (_, http):
        redis.tell(signal.SIGSTOP)
        async with asyncio.timeout(3):
            assert (await states(http, 503))["redis"] == "fail"
        redis.tell(signal.SIGCONT)
        await asyncio.sleep(0.1)
        assert (await states(http, 200))["redis"] == "ok"


async def test_keys_of_another_backend_are_told_without_a_word_of_them(sqlite_url: str) -> None:
    async with opened_app(sqlite_url) as (app, http):
        backend: Backend = app.state.backend
        answer = SignInAnswer(way=SignInWay.API_KEY, api_key="a key", account="ann")
        confirmed = await accounts.confirm(backend, LOCAL_USER, "fake", answer)
        async with backend.db.writing.begin() as session:
            await accounts.link(backend, session, LOCAL_USER, "fake", confirmed)
        assert (await states(http, 200))["keys"] == "ok"
    async with opened_app(sqlite_url, secret_key="other:" + "z" * 32) as (_, http):
        answered = await http.get("/readyz")
        assert (answered.status_code, "zzz" in answered.text) == (503, False)
        assert (await states(http, 503))["keys"] == "fail"


async def test_a_mirror_without_its_folder_is_told_but_nothing_fails_for_it(sqlite_url: str, tmp_path: Path) -> None:
    async with opened_app(sqlite_url, is_embedded=False, proton_mirror_dir=tmp_path / "mirror") as (_, http):
        assert (await states(http, 200))["mirror"] == "warn"
        (tmp_path / "mirror").mkdir()
        assert (await states(http, 200))["mirror"] == "ok"

"""The real stores' code against the sandbox, through the app as a client reaches it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy.exc import OperationalError

from integ_server.app import create_app, embedded_settings
from integ_server.contract.errors import StorageError
from integ_server.opening import open_backend
from tests.conftest_sandbox import RunningSandbox
from tests.server.conftest import KEY

LOOPBACK = "http://127.0.0.1:39999/callback"


@asynccontextmanager
async def running(data_dir: Path, sandbox: RunningSandbox, **more: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(embedded_settings(data_dir=data_dir, secret_key=KEY, upstream_url=sandbox.url, **more))
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield await opened.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://integ.embedded", timeout=30))


async def data(http: httpx.AsyncClient, method: str, path: str, body: object = None) -> Any:
    answer = await http.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json()["data"]


async def sign_in_at_gog(http: httpx.AsyncClient) -> dict[str, Any]:
    page = await data(http, "POST", "/auth/gog/login", {"way": "code"})
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        landed = await browser.get(page["address"])
    answer = {"way": "code", "code": str(landed.url), "state": page["state"]}
    signed_in: dict[str, Any] = await data(http, "POST", "/auth/gog/callback", answer)
    return signed_in


async def openid_answer(http: httpx.AsyncClient, api_key: str) -> dict[str, str]:
    page = await data(http, "POST", "/auth/steam/login", {"way": "openid", "return_to": LOOPBACK})
    async with httpx.AsyncClient() as browser:
        sent_back = await browser.get(page["address"])
    location = sent_back.headers["location"]
    assert location.startswith(f"{LOOPBACK}?state={page['state']}")
    return {"way": "openid", "state": page["state"], "query": urlsplit(location).query, "api_key": api_key}


async def sync(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    ids = [job["id"] for job in await data(http, "POST", "/games/sync", {})]

    async def wait() -> None:
        while any(job["state"] in {"queued", "running"} for job in (await data(http, "GET", "/games/sync-status"))["jobs"]):
            await asyncio.sleep(0.02)

    await asyncio.wait_for(wait(), 60)
    return [await data(http, "GET", f"/jobs/{job_id}") for job_id in ids]


async def test_both_stores_signed_in_and_synced_are_one_library_with_joined_titles(tmp_path: Path, sandbox: RunningSandbox) -> None:
    world = sandbox.world
    async with running(tmp_path, sandbox) as http:
        steam = await data(http, "POST", "/auth/steam/callback", await openid_answer(http, world.steam_own_key))
        assert (steam["account"], steam["display_name"]) == (world.steam_id, world.persona)
        assert (await sign_in_at_gog(http))["account"] == world.gog_user_id

        jobs = await sync(http)
        assert [(job["provider"], job["state"], job["error"]) for job in jobs] == [("steam", "done", None), ("gog", "done", None)]
        changes = await data(http, "GET", "/games/changes?since=0")
        by_key = {each["key"]: each for each in changes["releases"]}
        at_both = [each for each in world.titles if each.steam and each.gog and each.steam.owned and each.gog.owned and each.gamesdb_id]
        joined = [
            each
            for each in at_both
            if each.steam and each.gog and by_key[f"steam:{each.steam.appid}"]["title_id"] == by_key[f"gog:{each.gog.id}"]["title_id"]
        ]
        assert joined, "nothing was joined"
        again = await sync(http)
        assert [job["counts"]["added"] + job["counts"]["changed"] + job["counts"]["removed"] for job in again] == [0, 0]
        assert (await data(http, "GET", "/games/changes?since=0"))["revision"] >= changes["revision"]


async def test_an_openid_answer_counts_once(tmp_path: Path, sandbox: RunningSandbox) -> None:
    async with running(tmp_path, sandbox, steam_api_key=sandbox.world.steam_key) as http:
        answer = await openid_answer(http, "")
        await data(http, "POST", "/auth/steam/callback", answer)
        replayed = await http.post("/auth/steam/callback", json=answer)
        assert (replayed.status_code, replayed.json()["error"]) == (401, "AuthenticationError")
        with_another_state = {**answer, "state": (await openid_answer(http, ""))["state"]}
        assert (await http.post("/auth/steam/callback", json=with_another_state)).status_code == 401


async def test_the_library_outlives_the_app_and_a_lost_key_asks_for_a_new_sign_in(tmp_path: Path, sandbox: RunningSandbox) -> None:
    async with running(tmp_path, sandbox) as http:
        await sign_in_at_gog(http)
        await sync(http)
        before = await data(http, "GET", "/games/changes?since=0")
    async with running(tmp_path, sandbox) as http:
        assert await data(http, "GET", "/games/changes?since=0") == before
    app = create_app(embedded_settings(data_dir=tmp_path, secret_key="other:" + "z" * 32, upstream_url=sandbox.url))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://integ.embedded") as http:
            (job,) = await sync(http)
            assert (job["state"], job["error"]["error"]) == ("failed", "AuthenticationError")
            assert await data(http, "GET", "/games/changes?since=0") == before


def test_the_app_lives_in_a_thread_of_its_own_while_others_call_it(tmp_path: Path, sandbox: RunningSandbox) -> None:
    before = threading.active_count()
    app = create_app(embedded_settings(data_dir=tmp_path, secret_key=KEY, upstream_url=sandbox.url))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):

        async def ask() -> int:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://integ.embedded") as http:
                return (await http.get("/readyz")).status_code

        assert portal.call(ask) == 200
    assert threading.active_count() <= before + 1


async def test_a_start_without_a_place_to_write_says_so(tmp_path: Path, sandbox: RunningSandbox) -> None:
    (tmp_path / "file").write_text("in the way")
    app = create_app(embedded_settings(data_dir=tmp_path / "file" / "data", secret_key=KEY))
    with pytest.raises(StorageError):
        async with app.router.lifespan_context(app):
            pass


async def test_a_disk_that_is_full_at_the_very_first_start_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise OperationalError("INSERT INTO users", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr("integ_server.services.library.ensure_local_user", full)
    with pytest.raises(StorageError, match="disk is full"):
        async with open_backend(embedded_settings(data_dir=tmp_path, secret_key=KEY)):
            pass

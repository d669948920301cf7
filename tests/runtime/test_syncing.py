"""One sync as a front end sees it, at both kinds of backend: what comes of it, what one store's failure is, and what changes after."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from integ_runtime.progress import Progress
from integ_runtime.runtime import Runtime, open_runtime
from integ_runtime.settings import read_settings
from integ_server.contract.errors import AuthenticationError, PartialError
from integ_server.sandbox.gog_auth import CLIENT_ID, REDIRECT
from tests.conftest_backends import BackendKind, on_both_kinds
from tests.conftest_sandbox import RunningSandbox

pytestmark = on_both_kinds


@pytest.fixture
async def runtime(backend_kind: BackendKind) -> AsyncIterator[Runtime]:
    async with open_runtime(read_settings()) as opened:
        yield opened


@pytest.fixture
async def signed_in(runtime: Runtime, sandbox: RunningSandbox) -> Runtime:
    """To both stores."""
    browsing: list[asyncio.Task[httpx.Response]] = []

    async def browse(address: str) -> httpx.Response:
        async with httpx.AsyncClient(follow_redirects=True, timeout=30) as browser:
            return await browser.get(address)

    await runtime.accounts.sign_in_by_browser(
        "steam", show=lambda address: browsing.append(asyncio.create_task(browse(address))), api_key=sandbox.world.steam_key
    )
    await asyncio.gather(*browsing)
    asked = {"client_id": CLIENT_ID, "redirect_uri": REDIRECT, "response_type": "code", "layout": "client2"}
    async with httpx.AsyncClient(timeout=30) as browser:
        landing = (await browser.get(sandbox.at("https://auth.gog.com/auth"), params=asked)).headers["Location"]
    await runtime.accounts.sign_in_with_code("gog", landing)
    return runtime


async def keys(runtime: Runtime) -> set[str]:
    return {release.key for title in await runtime.library.titles() for release in title.releases}


async def test_a_sync_brings_both_libraries_and_the_next_one_changes_nothing(signed_in: Runtime, sandbox: RunningSandbox) -> None:
    heard: list[Progress] = []
    outcome = await signed_in.sync(report=heard.append)
    outcome.raise_if_failed()
    assert {each["provider"] for each in outcome.accounts} == {"steam", "gog"}
    assert all(each["added"] == each["total"] > 0 for each in outcome.accounts)
    assert heard, "somebody waits and is told"
    have = await keys(signed_in)
    assert {f"steam:{app.appid}" for app in sandbox.world.owned_steam if app.kind == "game"} <= have
    again = await signed_in.sync()
    assert [(each["added"], each["changed"], each["removed"]) for each in again.accounts] == [(0, 0, 0)] * 2
    assert await keys(signed_in) == have


async def test_one_of_two_stores_that_refuses_takes_nothing_away(signed_in: Runtime, sandbox: RunningSandbox) -> None:
    await signed_in.sync()
    have = await keys(signed_in)
    sandbox.faults.on("steam.wrong_key")
    outcome = await signed_in.sync()
    with pytest.raises(PartialError):
        outcome.raise_if_failed()
    assert {each["provider"] for each in outcome.accounts if each["error"]} == {"steam"}
    assert await keys(signed_in) == have


async def test_whoever_waits_for_a_store_that_is_down_is_told_which_one_and_until_when(signed_in: Runtime, sandbox: RunningSandbox) -> None:
    heard: list[str] = []

    def hear(progress: Progress) -> None:
        if progress.waits:
            heard.append(progress.message)
            sandbox.faults.off("steam.down")

    sandbox.faults.on("steam.down")
    (await signed_in.sync(report=hear)).raise_if_failed()
    assert heard and re.fullmatch(r"steam waits: Steam .*; asked again at \d\d:\d\d:\d\d", heard[0])
    assert all(job.error is None and job.waits_until is None for job in (await (await signed_in.api()).sync_status()).jobs)


async def test_ctrl_c_while_a_store_is_down_ends_the_waiting_with_130_and_what_comes_of_the_job(
    signed_in: Runtime, sandbox: RunningSandbox, backend_kind: BackendKind
) -> None:
    sandbox.faults.on("steam.down")
    words = [sys.executable, "-m", "integ_cli", "sync", "steam"]
    child = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL)
    assert child.stderr is not None
    waits = await asyncio.wait_for(child.stderr.readline(), 30)
    assert waits.startswith(b"steam waits: Steam ")
    child.send_signal(signal.SIGINT)
    rest = (await asyncio.wait_for(child.stderr.read(), 30)).decode()
    assert await child.wait() == 130
    assert "Traceback" not in rest
    sandbox.faults.off("steam.down")
    if not backend_kind.is_served:
        assert "integ sync" in rest
        (await signed_in.sync()).raise_if_failed()
        return
    assert "The backend goes on with it" in rest
    api = await signed_in.api()
    for _ in range(200):
        if all(job.state == "done" for job in (await api.sync_status()).jobs if job.kind == "sync"):
            break
        await asyncio.sleep(0.1)
    await signed_in.follow()
    assert any(key.startswith("steam:") for key in await keys(signed_in))


async def test_a_sync_in_the_background_is_not_waited_for(signed_in: Runtime, sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.down")
    began = time.monotonic()
    pid = await signed_in.sync_in_background(["steam"])
    assert time.monotonic() - began < 2
    sandbox.faults.off("steam.down")
    while Path(f"/proc/{pid}/stat").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        await asyncio.sleep(0.05)
        assert time.monotonic() - began < 60
    await signed_in.follow()
    assert any(key.startswith("steam:") for key in await keys(signed_in))


async def test_a_store_that_is_signed_out_of_leaves_the_library(signed_in: Runtime) -> None:
    await signed_in.sync()
    gone = await signed_in.accounts.sign_out("gog")
    assert [each.provider for each in gone] == ["gog"]
    await signed_in.follow()
    left = await keys(signed_in)
    assert left and not any(key.startswith("gog:") for key in left)


async def test_only_the_named_store_is_asked(signed_in: Runtime) -> None:
    outcome = await signed_in.sync(["gog"])
    assert [each["provider"] for each in outcome.accounts] == ["gog"]
    have = await keys(signed_in)
    assert have and all(key.startswith("gog:") for key in have)


async def test_nobody_who_is_signed_in_is_told_so(runtime: Runtime) -> None:
    with pytest.raises(AuthenticationError) as told:
        await runtime.sync()
    assert told.value.hint == "integ login"


async def test_who_asks_is_known(signed_in: Runtime, backend_kind: BackendKind) -> None:
    who = await signed_in.who()
    assert who == {"backend": backend_kind.address, "user": "Ann" if backend_kind.is_served else None}
    assert {each.provider for each in await signed_in.accounts.all()} == {"steam", "gog"}


async def test_a_listener_hears_of_a_sync_from_a_backend_for_many(signed_in: Runtime, backend_kind: BackendKind) -> None:
    heard: list[str] = []
    api = await signed_in.api()

    async def hear() -> None:
        async for event in api.events():
            heard.append(event.event)

    hearing = asyncio.create_task(hear())
    await asyncio.sleep(0.5)
    await signed_in.sync()
    await asyncio.sleep(0.5)
    if signed_in.has_backend:
        assert {"job.changed", "library.changed"} <= set(heard)
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
    else:
        await asyncio.wait_for(hearing, 1)
        assert heard == [], "in this process there is nobody else to tell"

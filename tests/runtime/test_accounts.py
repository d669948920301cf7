"""Signing in through the runtime, at both kinds of backend: a browser that comes back to this machine, the sandbox outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from integ_runtime.runtime import Runtime, open_runtime
from integ_runtime.settings import read_settings
from integ_server.contract.errors import AuthenticationError, UsageError
from tests.conftest_backends import BackendKind, on_both_kinds
from tests.conftest_sandbox import RunningSandbox

pytestmark = on_both_kinds


@pytest.fixture
async def runtime(backend_kind: BackendKind) -> AsyncIterator[Runtime]:
    async with open_runtime(read_settings()) as opened:
        yield opened


async def browse(address: str) -> httpx.Response:
    """What a player's browser does with the sign-in page: go where it sends one."""
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        return await browser.get(address)


async def test_a_browser_that_comes_back_signs_in(runtime: Runtime, sandbox: RunningSandbox, backend_kind: BackendKind) -> None:
    browsing: list[asyncio.Task[httpx.Response]] = []
    shown: list[str] = []

    def show(address: str) -> None:
        shown.append(address)
        browsing.append(asyncio.create_task(browse(address)))

    signed_in = await runtime.accounts.sign_in_by_browser("steam", show=show, api_key=sandbox.world.steam_key)
    assert (signed_in.provider, signed_in.account) == ("steam", sandbox.world.steam_id)
    assert shown[0].startswith(f"{backend_kind.upstream_url}/steamcommunity.com/openid/login?")
    page = await browsing[0]
    assert page.status_code == 200
    assert "close this page" in page.text
    assert sandbox.world.steam_id not in page.text, "nothing of the answer is repeated into a page"


async def test_what_else_knocks_at_the_listener_does_not_end_the_waiting(runtime: Runtime, sandbox: RunningSandbox) -> None:
    knocks: list[int] = []

    async def come_back_late(address: str) -> None:
        callback = httpx.URL(httpx.URL(address).params["openid.return_to"])
        async with httpx.AsyncClient() as other:
            for path in ("/favicon.ico", "/callback", "/callback/../etc/passwd?x=1"):
                knocks.append((await other.get(callback.copy_with(raw_path=path.encode()))).status_code)
            knocks.append((await other.post(callback)).status_code)
        reader, writer = await asyncio.open_connection("127.0.0.1", callback.port)
        writer.write(b"\xff\xfe not http at all\r\n\r\n")
        await reader.read()
        writer.close()
        await browse(address)

    waiting: list[asyncio.Task[None]] = []
    signed_in = await runtime.accounts.sign_in_by_browser(
        "steam", show=lambda address: waiting.append(asyncio.create_task(come_back_late(address))), api_key=sandbox.world.steam_key
    )
    assert signed_in.account == sandbox.world.steam_id
    await waiting[0]
    assert knocks == [404, 404, 404, 404]


@pytest.mark.parametrize("fault", ["openid.cancel", "openid.forged", "openid.lookalike", "openid.old_nonce", "openid.other_return_to"])
async def test_an_answer_that_is_not_what_it_should_be_is_refused(runtime: Runtime, sandbox: RunningSandbox, fault: str) -> None:
    sandbox.faults.on(fault)
    browsing: list[asyncio.Task[httpx.Response]] = []
    with pytest.raises(AuthenticationError):
        await runtime.accounts.sign_in_by_browser(
            "steam",
            show=lambda address: browsing.append(asyncio.create_task(browse(address))),
            api_key=sandbox.world.steam_key,
            timeout_s=5,
        )
    await asyncio.gather(*browsing, return_exceptions=True)
    assert await runtime.accounts.all() == []


async def test_nobody_coming_back_is_told(runtime: Runtime) -> None:
    with pytest.raises(AuthenticationError, match="nobody came back"):
        await runtime.accounts.sign_in_by_browser("steam", show=lambda address: None, api_key="0" * 32, timeout_s=0.05)


async def test_an_unknown_store_is_told_with_those_there_are(runtime: Runtime) -> None:
    with pytest.raises(UsageError) as caught:
        await runtime.accounts.get_provider("epic")
    assert "gog" in caught.value.hint
    assert "steam" in caught.value.hint


async def test_the_page_for_a_key_is_an_address_for_the_players_browser(runtime: Runtime, backend_kind: BackendKind) -> None:
    steam = await runtime.accounts.get_provider("Steam")
    assert steam.needs_api_key
    assert steam.api_key_page == f"{backend_kind.upstream_url}/steamcommunity.com/dev/apikey"

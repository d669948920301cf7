"""A sign-in whose every page is answered by another process: PostgreSQL and Redis are all that they share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx
import pytest

from integ_server.sandbox.steam_auth import Phone
from tests.conftest_sandbox import RunningSandbox
from tests.server.api.test_pages import STORES, Browser, begun, polled
from tests.server.conftest import OpenServed, Served

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class InTurn(httpx.AsyncBaseTransport):
    """Hands each request to the next of several processes, as a balancer does."""

    def __init__(self, processes: list[Served]) -> None:
        self._next: Iterator[Served] = itertools.cycle(processes)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await httpx.ASGITransport(next(self._next).app, raise_app_exceptions=False).handle_async_request(request)


async def test_any_process_goes_on_where_another_left_off(open_served: OpenServed, sandbox: RunningSandbox) -> None:
    processes: list[Served] = [await open_served(STORES, upstream_url=sandbox.url, steam_api_key=sandbox.world.steam_key) for _ in range(3)]
    http = httpx.AsyncClient(transport=InTurn(processes), base_url="https://integ.example", timeout=30)
    await processes[0].opened.enter_async_context(http)
    browser = Browser(http, sandbox)

    start = await begun(processes[0])
    await browser.open(f"/device?user_code={start['user_code']}")
    await browser.send("/device", user_code=start["user_code"])
    await browser.by_steam()
    assert browser.where == "/device/confirm", browser.text
    await browser.send("/device/decision", status=200, decision="approve", user_code=start["user_code"])
    assert (await polled(processes[1], start)).status_code == 200

    await browser.by_gog()
    await browser.open("/auth/steam/login")
    await browser.send("/sign-in/steam/qr")
    sandbox.sandbox.state.part(Phone).newest.stage = "approved"
    await browser.open("/account")
    assert browser.text.count('class="more store"') == 2

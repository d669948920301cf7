from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from integ_runtime.client import events
from integ_runtime.client.api import ApiClient
from integ_runtime.client.events import read_events
from integ_server.contract.errors import AuthenticationError
from integ_server.contract.events import Event


async def _lines(text: str) -> AsyncIterator[str]:
    for line in text.split("\n"):
        yield line


async def test_events_are_read_as_they_are_written() -> None:
    pings = "id: 1.1\nretry: 3000\n\n: ping\n\n"
    text = pings + 'event: library.changed\ndata: {"revision":\ndata: 7}\nid: 2.1\n\nevent: reset\ndata: {}\nid: 3\n\nhalf'
    assert [event async for event in read_events(_lines(text))] == [
        Event(id="1.1", event="", data={}),
        Event(id="2.1", event="library.changed", data={"revision": 7}),
        Event(id="3", event="reset", data={}),
    ]


async def test_a_connection_that_breaks_is_opened_anew_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_FIRST_PAUSE_S", 0.01)
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if len(asked) == 2:
            raise httpx.ConnectError("away")
        return httpx.Response(200, text=f"event: job.changed\ndata: {{}}\nid: {len(asked)}\n\n")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://integ.example") as http:
        stream = ApiClient(http).events()
        heard = [await asyncio.wait_for(anext(stream), 5) for _ in range(2)]
        await stream.aclose()  # type: ignore[attr-defined]
    assert ([event.id for event in heard], asked) == (["1", "3"], [None, "1", "1"])


async def test_a_backend_that_refuses_is_told_as_one() -> None:
    refused = httpx.MockTransport(lambda request: httpx.Response(401, json={"status": "error", "error": "AuthenticationError"}))
    async with httpx.AsyncClient(transport=refused, base_url="https://integ.example") as http:
        with pytest.raises(AuthenticationError):
            await anext(ApiClient(http).events())

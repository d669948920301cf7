"""What a backend for many tells of its own accord, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import httpx

from integ_server.contract.errors import BackendUnreachableError, IntegError
from integ_server.contract.events import Event

if TYPE_CHECKING:
    from integ_runtime.client.api import ApiClient

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_MOST_DATA = 1 << 20


async def read_events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """The events in *lines*; one without a name says nothing but where the stream is."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data" and "data" in fields:
                value = f"{fields['data']}\n{value}"[:_MOST_DATA]
            fields[name] = value  # a comment goes under no name
            continue
        if fields.keys() & {"event", "id"}:
            told = json.loads(fields.get("data") or "{}")
            yield Event(id=fields.get("id", ""), event=fields.get("event", ""), data=told if isinstance(told, dict) else {})
        fields = {}


class Waker:
    """Waits that end early when the backend tells of something."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()


@asynccontextmanager
async def waking(api: ApiClient) -> AsyncIterator[Waker]:
    """Inside, waits end early; a backend that tells nothing, or is in this process, lets them end in their time."""
    waker = Waker()

    async def listen() -> None:
        with suppress(IntegError):
            async for _ in api.events():
                waker.wake()

    listening = asyncio.create_task(listen())
    try:
        yield waker
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def listen(http: httpx.AsyncClient, where: str) -> AsyncIterator[Event]:
    """
    Each event as it comes, for as long as anybody listens; a connection that breaks is opened anew where it was.

    Raises:
        IntegError: The backend refuses: nobody is signed in, or too many listen.
    """
    from integ_runtime.client.api import error_in

    last_id, pause_s = "", _FIRST_PAUSE_S
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        try:
            async with http.stream("GET", "/events", headers=headers) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise error_in(answer)
                async for event in read_events(answer.aiter_lines()):
                    last_id, pause_s = event.id or last_id, _FIRST_PAUSE_S
                    if event.event:
                        yield event
        except httpx.HTTPError:
            pass  # away for a while
        except ValueError as error:
            raise BackendUnreachableError(f"{where} answered, but not as an Integ backend does", hint="integ config list") from error
        await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

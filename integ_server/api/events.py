"""Events as they happen, for a client that listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from integ_server.api.deps import BackendDep, Reader, get_caller
from integ_server.contract.events import Event

router = APIRouter(tags=["sync"])
RETRY_MS = 3_000
"""When a client is to come back whose connection broke."""


async def _following(
    request: Request,
    backend: BackendDep,
    user: Reader,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
    since: Annotated[str | None, Query(alias="last_event_id", max_length=64)] = None,
) -> AsyncIterator[AsyncIterator[Event]]:
    place = await backend.events.take_place(user)

    async def check() -> None:
        await get_caller(request)
        await place.keep()

    # In process an answer arrives as a whole, so there a stream ends with what there is, and the client comes back.
    events = backend.events.follow(user, last_event_id or since, check, waits=not backend.settings.is_embedded)
    try:
        yield events
    finally:
        await place.leave()


@router.get("/events", response_class=EventSourceResponse)
async def events(following: Annotated[AsyncIterator[Event], Depends(_following)]) -> AsyncIterator[ServerSentEvent]:
    """
    What happens, as Server-Sent Events; `data` is JSON, `id` goes into `Last-Event-ID` when the client comes back.

    A `reset` says that events may have been missed: ask for everything again, by revision. The stream ends when the sign-in does.
    """
    first = True
    async for each in following:
        yield ServerSentEvent(
            event=each.event or None, data=each.data if each.event else None, id=each.id, retry=RETRY_MS if first else None
        )
        first = False

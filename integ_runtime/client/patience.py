"""Asking a backend again that was away for a moment: for questions, and for writes that it does once however often they arrive."""

from __future__ import annotations

import asyncio
import json
import random
import uuid

import httpx

RETRIES = "integ_retries"
"""An extension of a request: "any" lets it be sent again whatever it is, "unsent" only when it never reached the backend."""
KEY = "Idempotency-Key"
TRIES = 4
BROKEN_TRIES = 8
"""When the connection breaks before the answer: somebody took the request, so there is a backend, whose processes are being replaced."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
"""A backend that asks for a longer pause gets it from the player, who is told."""
_QUESTIONS = {"GET", "HEAD"}
_AWAY = {429, 502, 503, 504}
_BUSY = 409
"""With a pause to wait: another process is at the very same request, and its answer is given to who comes again."""
_THE_STORES = {"ProviderError", "ProviderUnavailableError"}
"""The backend is there, and has asked the store again itself."""


class PatientTransport(httpx.AsyncBaseTransport):
    """
    Sends a request up to `TRIES` times, with growing pauses of uneven length, so that many clients don't come back at once; connections
    that break on the way to the answer are counted by themselves, up to `BROKEN_TRIES`.

    Writes get an `Idempotency-Key`, the same each time. Sign-ins have none: their answers are secrets that the backend keeps for nobody.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        repeatable = _is_repeatable(request)
        away = broken = 0
        while True:
            pause_s = min(FIRST_PAUSE_S * 2 ** (away + broken), LONGEST_PAUSE_S)
            try:
                answer = await self._inner.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
                away += 1
                if away == TRIES:
                    raise
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                broken += 1
                if broken == BROKEN_TRIES or not repeatable:
                    raise
            except httpx.TransportError:
                away += 1
                if away == TRIES or not repeatable:
                    raise
            else:
                away += 1
                if away == TRIES or not repeatable or not _is_passing(answer):
                    return answer
                asked_s = await _asked_pause_s(answer)
                if asked_s is None or asked_s > LONGEST_PAUSE_S:
                    return answer
                await answer.aclose()
                pause_s = max(pause_s, asked_s)
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_repeatable(request: httpx.Request) -> bool:
    """Whether it does no harm to send *request* again; gives a write its key."""
    told = request.extensions.get(RETRIES)
    if told is not None or not isinstance(request.stream, httpx.ByteStream):
        return told == "any"
    if request.method in _QUESTIONS:
        return True
    if request.url.path.startswith("/auth/"):
        return False
    request.headers.setdefault(KEY, uuid.uuid4().hex)
    return True


def _is_passing(answer: httpx.Response) -> bool:
    return answer.status_code in _AWAY or (answer.status_code == _BUSY and "Retry-After" in answer.headers)


async def _asked_pause_s(answer: httpx.Response) -> float | None:
    """The pause that *answer* asks for; None when asking again is no use."""
    await answer.aread()
    try:
        said = json.loads(answer.content)
    except ValueError:
        said = None  # of a proxy in between
    if isinstance(said, dict) and said.get("error") in _THE_STORES:
        return None
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "0")))
    except ValueError:  # a date: nobody who answers for an Integ backend sends one
        return None

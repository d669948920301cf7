"""A write that is sent twice is done once: `Idempotency-Key`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integ_server.api.deps import get_caller
from integ_server.contract.errors import AuthenticationError, BackendUnreachableError, BusyError, UsageError
from integ_server.services import owner
from integ_server.services.backend import Backend

KEPT_FOR_S = 86_400.0
MOST_KEPT_BYTES = 64 << 10
"""A longer answer is given and not kept: what is asked for again is done again."""
_WRITES = {"POST", "PUT", "PATCH", "DELETE"}
_KEPT_HEADERS = {b"content-type", b"location", b"cache-control", b"etag"}
_MAY_CHANGE = {401, 403, 408, 409, 425, 429}
"""What a retry is for; like failures of ours, these are not kept."""
_TURN_S = 5.0
_WAIT_S = 6.0
"""For whoever is at the same request: long enough for one that died, whose caller asks again at once, to be forgotten."""
_LOOK_EVERY_S = 0.1
_log = logging.getLogger("integ.api")


class Idempotency:
    """
    Plain ASGI: a request without the header costs one look at it.

    The same key from the same caller with the same request gets the answer that was given first, for a day; with another request it is
    refused. Answers are kept sealed, since some hold a token that is shown once. Who is not signed in has no keys: there is nobody to
    tell apart, and such an answer may be a new sign-in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope) if scope["type"] == "http" and scope["method"] in _WRITES else None
        if key is None:
            await self._app(scope, receive, send)
            return
        if not 1 <= len(key) <= 255 or not all(32 < letter < 127 for letter in key):
            raise UsageError("Idempotency-Key has to be 1 to 255 visible ASCII characters", hint="a UUID is a good one")
        try:
            caller = await get_caller(Request(scope))
        except AuthenticationError:
            await self._app(scope, receive, send)
            return
        who = f"{caller.user_id}\0{caller.session_id}\0{caller.token_id}"
        name = f"idempotency/{hashlib.sha256(who.encode() + b'/' + key).hexdigest()}"
        body = await _whole(receive)
        if body is None:
            return
        line = json.dumps([scope["method"], scope["path"], scope["query_string"].decode("latin-1")])
        asked = hashlib.sha256(line.encode() + body).hexdigest()
        backend: Backend = scope["app"].state.backend
        if await _replayed(backend, name, asked, send):
            return
        async with _turn(backend, name):
            if not await _replayed(backend, name, asked, send):  # it may have been done while this one came
                await self._app(scope, _given(body, receive), _Keeper(backend, name, asked, send))


class _Keeper:
    """Sends an answer on, and keeps it before its end is sent: who has it whole can't come too early for the copy."""

    def __init__(self, backend: Backend, name: str, asked: str, send: Send) -> None:
        self._backend, self._name, self._asked, self._send = backend, name, asked, send
        self._held: list[Message] = []
        self._bytes = 0
        self._passes = False

    async def __call__(self, message: Message) -> None:
        if self._passes:
            await self._send(message)
            return
        self._held.append(message)
        self._bytes += len(message.get("body", b""))
        is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not is_whole and self._bytes <= MOST_KEPT_BYTES:
            return
        self._passes = True
        if is_whole and self._bytes <= MOST_KEPT_BYTES:
            await self._keep()
        for each in self._held:
            await self._send(each)

    async def _keep(self) -> None:
        start = self._held[0]
        if start["status"] >= 500 or start["status"] in _MAY_CHANGE:
            return
        headers = [[each.decode("latin-1") for each in pair] for pair in start["headers"] if pair[0].lower() in _KEPT_HEADERS]
        body = base64.b64encode(b"".join(each.get("body", b"") for each in self._held)).decode()
        kept = {"asked": self._asked, "status": start["status"], "headers": headers, "body": body}
        try:
            await self._backend.cache.set(self._name, self._backend.vault.seal(json.dumps(kept), self._name), KEPT_FOR_S)
        except BackendUnreachableError:  # the work is done and stored: the caller is to know that
            _log.warning("an answer could not be kept for a retry")


async def _replayed(backend: Backend, name: str, asked: str, send: Send) -> bool:
    """
    Give the answer that is kept, if there is one.

    Raises:
        UsageError: The key was used for another request.
    """
    sealed = await backend.cache.get(name)
    if sealed is None:
        return False
    try:
        kept: dict[str, Any] = json.loads(backend.vault.open(sealed, name))
    except AuthenticationError:  # its key was taken out of use
        return False
    if kept["asked"] != asked:
        error = UsageError("this Idempotency-Key was used for another request", hint="make a new key for each request")
        error.status = 422
        raise error
    headers = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in kept["headers"]]
    body = base64.b64decode(kept["body"])
    headers += [(b"content-length", str(len(body)).encode()), (b"idempotent-replayed", b"true")]
    await send({"type": "http.response.start", "status": kept["status"], "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return True


@asynccontextmanager
async def _turn(backend: Backend, name: str) -> AsyncIterator[None]:
    """
    Be the only one who does this request, for as long as it takes; a process that dies lets go of it in seconds.

    Raises:
        BusyError: Another one is at it, and goes on.
    """
    turn, holder = f"{name}/turn", f"{owner.this_process()}/{secrets.token_hex(8)}"
    until = time.monotonic() + _WAIT_S
    while not await backend.cache.lease(turn, holder, _TURN_S):
        other = await backend.cache.get(turn)
        if other is not None and not owner.is_alive(other.partition("/")[0], datetime.now(UTC), own_machine=False):
            await backend.cache.release(turn, other)  # of this machine, where that is seen at once
        elif time.monotonic() < until:
            await asyncio.sleep(_LOOK_EVERY_S)
        else:
            raise BusyError("the same request is being done at this moment", hint="ask again in a moment for its answer", retry_after_s=1)

    async def hold() -> None:
        while True:
            await asyncio.sleep(_TURN_S / 3)
            with suppress(BackendUnreachableError):
                await backend.cache.lease(turn, holder, _TURN_S)

    holding = asyncio.create_task(hold())
    try:
        yield
    finally:
        holding.cancel()
        with suppress(BackendUnreachableError):
            await asyncio.shield(backend.cache.release(turn, holder))


def _key(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"idempotency-key":
            return bytes(value)
    return None


async def _whole(receive: Receive) -> bytes | None:
    """The request's body, whose size has its limit already; None when the caller is gone."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _given(body: bytes, receive: Receive) -> Receive:
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once

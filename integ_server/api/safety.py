"""What protects a backend in the open: limits on requests, and headers that tell browsers what they may do with an answer."""

from __future__ import annotations

import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integ_server.api.envelope import failure
from integ_server.api.limits import client_address
from integ_server.contract.errors import RateLimitedError
from integ_server.services.backend import Backend
from integ_server.services.limits import network_of
from integ_server.settings import ServerSettings

_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
"""Each unless the answer says otherwise itself: a page has its own policy, a list its own word on caching."""
_FREE = {"/healthz", "/readyz", "/metrics"}
"""Asked by machines every few seconds, from one address for many."""


class Safety:
    """
    Plain ASGI, around the Doorkeeper, for a backend that serves.

    Requests that nobody signed in for are counted by address once they are answered, so that a household behind one address is not
    counted together; those of a user are counted where the user becomes known.
    """

    def __init__(self, app: ASGIApp, *, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        named = dict(_ALWAYS)
        if settings.public_url.startswith("https://"):
            named[b"strict-transport-security"] = b"max-age=31536000"
        self._headers = list(named.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                present = {name for name, _ in headers}
                message["headers"] = headers + [each for each in self._headers if each[0] not in present]
            await send(message)

        if not self._settings.requests_per_min or scope["path"] in _FREE:
            await self._app(scope, receive, protected)
            return
        backend: Backend = scope["app"].state.backend
        who = f"address/{network_of(client_address(scope, self._settings))}"
        if not any(name == b"authorization" for name, _ in scope["headers"]):
            try:
                backend.rates.check(who)
            except RateLimitedError as error:
                if backend.metrics is not None:
                    backend.metrics.limited("address")
                await failure(error)(scope, receive, protected)
                return
        try:
            await self._app(scope, receive, protected)
        finally:
            if "user_id" not in scope["state"]:
                with contextlib.suppress(RateLimitedError):
                    await backend.rates.count(who)

"""Around every request: a limit, who may connect at all, and an envelope for what nobody expected."""

from __future__ import annotations

import logging
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integ_server.api.envelope import bug, failure
from integ_server.contract.errors import IntegError, PermissionDeniedError, UsageError
from integ_server.settings import LOOPBACK

MOST_BODY_BYTES = 1 << 20
_FORWARDED = {b"forwarded", b"x-forwarded-for", b"x-real-ip"}
_log = logging.getLogger("integ.api")


class Doorkeeper:
    """
    Plain ASGI, for its cost is paid by every request. *loopback_only* turns away whoever is not on this machine, also behind a
    proxy or by a name that a page in the browser made point here.
    """

    def __init__(self, app: ASGIApp, *, loopback_only: bool) -> None:
        self._app = app
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        started = False
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST_BODY_BYTES:
                raise _too_large()
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            self._admit(scope, headers)
            await self._app(scope, counted, watched)
        except IntegError as error:
            if started:
                raise
            await failure(error)(scope, receive, watched)
        except Exception as error:
            _log.exception("request %s failed", scope["state"]["request_id"])
            if started:
                raise
            await failure(bug(error))(scope, receive, watched)

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > MOST_BODY_BYTES:
            raise _too_large()
        client: Any = scope.get("client")
        if not self._loopback_only:
            return
        host = headers.get(b"host", b"").decode("latin-1").rpartition("@")[2]
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if (client and client[0] not in LOOPBACK) or name not in LOOPBACK or headers.keys() & _FORWARDED:
            raise PermissionDeniedError(
                "this backend knows no sign-in of its own yet and answers this machine only", hint="use it from the backend's own machine"
            )


def _too_large() -> UsageError:
    error = UsageError("the request is too large", hint=f"at most {MOST_BODY_BYTES} bytes")
    error.status = 413
    return error

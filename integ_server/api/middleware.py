"""Around every request: a limit, and an envelope for what nobody expected."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integ_server.api.envelope import bug, failure
from integ_server.contract.errors import IntegError, UsageError

MOST_BODY_BYTES = 1 << 20
_log = logging.getLogger("integ.api")


class Doorkeeper:
    """
    Plain ASGI, for its cost is paid by every request.

    It asks for no particular `Host`: nothing here is told to whoever merely reaches the socket, and a page in a browser that made its own
    name point here (DNS rebinding) has neither a token nor, under that name, a cookie.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
            self._admit(headers)
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

    def _admit(self, headers: dict[bytes, bytes]) -> None:
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > MOST_BODY_BYTES:
            raise _too_large()


def _too_large() -> UsageError:
    error = UsageError("the request is too large", hint=f"at most {MOST_BODY_BYTES} bytes")
    error.status = 413
    return error

"""Outermost around every request: its id, and what is written down about it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integ_server.logs import log_request, request_id

if TYPE_CHECKING:
    from integ_server.services.backend import Backend
    from integ_server.tracing import Tracing

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_OF_TRACES = {b"traceparent", b"tracestate"}
_QUIET = {"/healthz", "/readyz", "/metrics"}
"""Asked every few seconds by machines: their lines are worth something only to whoever debugs them."""


class Recorder:
    """
    Gives each request its id, which every line of the log carries while it is answered, and with *writes_lines* writes one line about it.

    That line names the route and not the address: queries and keys in paths are the players' own.
    """

    def __init__(self, app: ASGIApp, *, writes_lines: bool) -> None:
        self._app = app
        self._writes_lines = writes_lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
        own_id = asked_id if _REQUEST_ID.fullmatch(asked_id) else os.urandom(16).hex()
        label = (b"x-request-id", own_id.encode())
        state = scope.setdefault("state", {})
        state["request_id"] = own_id
        status = 0

        async def labelled(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), label]
            await send(message)

        token = request_id.set(own_id)
        backend: Backend = scope["app"].state.backend
        metrics, tracing = backend.metrics, backend.tracing
        began = time.perf_counter()
        if metrics is not None:
            metrics.in_flight.inc()
        try:
            if tracing is None:
                await self._app(scope, receive, labelled)
            else:
                await self._traced(tracing, scope, receive, labelled, lambda: status)
        finally:
            took_s = time.perf_counter() - began
            if metrics is not None:
                metrics.in_flight.dec()
                metrics.request(method_of(scope), route_of(scope), status, took_s)
            if self._writes_lines:
                _write_line(scope, status, took_s)
            request_id.reset(token)

    async def _traced(self, tracing: Tracing, scope: Scope, receive: Receive, send: Send, status: Callable[[], int]) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _OF_TRACES}
        with tracing.request(method_of(scope), headers) as span:
            try:
                await self._app(scope, receive, send)
            finally:
                tracing.answered(span, method_of(scope), route_of(scope), status())


def route_of(scope: Scope) -> str:
    """The template that the request's path fitted, `/games/{key}`; `-` for a path that is none of ours."""
    return getattr(scope.get("route"), "path", "") or "-"


def method_of(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def _write_line(scope: Scope, status: int, took_s: float) -> None:
    """A status of 0 says that whoever asked went away before the answer began."""
    route, method = route_of(scope), method_of(scope)
    level = logging.DEBUG if route in _QUIET and status < 500 else logging.INFO
    user_id = scope["state"].get("user_id")
    user = hashlib.blake2b(user_id.encode(), digest_size=6).hexdigest() if user_id else None
    took_ms = round(took_s * 1000, 1)
    line = f"{method} {route} {status} {took_ms:.1f} ms"
    log_request(level, line, method=method, route=route, status=status, ms=took_ms, user=user)

"""A port of its own for the figures of a process whose other ports can't tell them: a worker, or one of several that share a port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from integ_server.connections import Connection
from integ_server.metrics_access import CONTENT_TYPE, brings
from integ_server.services.backend import Backend

_log = logging.getLogger("integ.serving")


@asynccontextmanager
async def open_metrics_door(backend: Backend, number: int = 0) -> AsyncIterator[None]:
    """
    Answer `/metrics` and `/healthz` at `metrics_port` plus *number* while inside, where that setting is; figures are no reason not to
    work, so a port that is taken is an error in the log alone.
    """
    settings = backend.settings
    if settings.metrics_port is None or backend.metrics is None:
        yield
        return
    port = settings.metrics_port + number
    try:
        door = socket.create_server(
            (settings.metrics_host, port), family=socket.AF_INET6 if ":" in settings.metrics_host else socket.AF_INET
        )
    except (OSError, OverflowError) as error:
        _log.error("nobody can read this process's figures: port %d can't be listened at: %s", port, error)
        yield
        return
    server = _Server(
        uvicorn.Config(
            _app(backend),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
    )
    answering = asyncio.create_task(server.serve([door]))
    try:
        yield
    finally:
        server.should_exit = True
        await answering


class _Server(uvicorn.Server):
    """Signals are the process's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _app(backend: Backend) -> Starlette:
    async def metrics(request: Request) -> Response:
        assert backend.metrics is not None
        token = backend.settings.metrics_token
        if token and not brings(request.headers.get("authorization", ""), token):
            return PlainTextResponse("INTEG_METRICS_TOKEN is expected as a bearer token\n", 401, {"WWW-Authenticate": "Bearer"})
        return Response(await backend.metrics.text(backend), media_type=CONTENT_TYPE)

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz)])

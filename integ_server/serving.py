"""The backend on a socket: one process or several, which share nothing but the database and Redis."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from integ_server.contract.errors import UsageError
from integ_server.logs import install_logs
from integ_server.migrations.upgrade import check_current
from integ_server.settings import ServerSettings

END_WITHIN_S = 20
"""How long answers that are being written, event streams among them, may take once the process is told to end."""


def serve(
    settings: ServerSettings, host: str, port: int, processes: int = 1, *, listening: Callable[[str], None] = lambda address: None
) -> None:
    """
    Answer requests until a signal ends it; *listening* is told the address once connections are taken.

    Raises:
        UsageError: The address can't be had, or *processes* would have to share what only Redis can hold.
        IntegrityError: The database is of a newer version.
        StorageError: It does not answer.
    """
    if processes > 1 and settings.redis_url is None:
        raise UsageError(
            "several processes share sign-ins and jobs by Redis, and INTEG_REDIS_URL is not set", hint="integ serve --processes 1"
        )
    asyncio.run(check_current(settings.database_url))
    bound = _bind(host, port)
    try:
        shown = f"[{host}]" if ":" in host else host
        listening(f"http://{shown}:{bound.getsockname()[1]}")
        signal.signal(signal.SIGTERM, _end)
        config = uvicorn.Config(
            partial(_app, settings),
            factory=True,
            workers=processes,
            log_config=None,
            access_log=False,  # it writes whole addresses, and codes stand in some
            proxy_headers=False,  # who is believed stands in the settings
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=END_WITHIN_S,
        )
        if processes > 1:
            Multiprocess(config, sockets=[bound]).run()
        else:
            uvicorn.Server(config).run(sockets=[bound])
    finally:
        bound.close()


def _app(settings: ServerSettings) -> FastAPI:
    """The app of one process; each of several comes by here, with nothing of the first one's but its settings."""
    from integ_server.app import create_app

    install_logs(settings.log_level, settings.log_format)
    return create_app(settings)


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(found[4][:2], family=socket.AddressFamily(found[0]), backlog=2048)
    except OSError as error:
        raise UsageError(f"{host}:{port} can't be listened at: {error.strerror}", hint="integ serve --host ADDRESS --port N") from None


def _end(number: int, frame: object) -> None:
    """To be told to end is no failure."""
    sys.exit(0)

"""
The HTTP server under `integ serve`: uvicorn with httptools and uvloop, in this process or in several that this one watches.

Chosen by measurement (`just bench servers`; own processor time for one answer of the API's outer layers, medians of one run side by
side): uvicorn with h11 137 µs, with httptools 88, with uvloop too 80 and a p99 of 6.6 ms in place of 9.3; granian 115, with uvloop 86.
So the parser pays much and the loop something, and granian is no faster where the processor is the limit. uvicorn besides runs
inside a process of ours: it takes sockets that are open already, and lets streams be told of the end and slow clients be turned away.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING

import uvicorn

from integ_server import systemd
from integ_server.connections import KEEP_ALIVE_S, Connection
from integ_server.contract.errors import IntegError, UsageError
from integ_server.logs import install_logs
from integ_server.metrics_door import open_metrics_door
from integ_server.settings import ServerSettings
from integ_server.supervisor import supervise

if TYPE_CHECKING:
    from fastapi import FastAPI

END_WITHIN_S = 25
"""How long requests that are being answered may take to end, before a process that is told to end drops them."""
_MOST_FILES = 65_536
_BACKLOG = 2048
_log = logging.getLogger("integ.serving")


def serve(
    settings: ServerSettings, host: str, port: int, processes: int = 1, *, listening: Callable[[str], None] = lambda address: None
) -> None:
    """
    Answer at *host* and *port* until a signal to end comes; what is being answered then is finished first. *listening* is told the address
    once connections are taken.

    Several processes each have a listening socket of their own at the same port, which lets the kernel share connections out evenly; this
    one keeps all of them open, so that no connection is lost that waits for a process which dies. A socket that systemd
    hands over takes the place of *host* and *port*. A database that is missing or not migrated is waited for; `/readyz` says so meanwhile.

    Raises:
        UsageError: The address can't be had, or *processes* would have to share what only Redis can hold.
    """
    if processes > 1 and settings.redis_url is None:
        raise UsageError(
            "several processes share sign-ins and jobs by Redis, and INTEG_REDIS_URL is not set", hint="integ serve --processes 1"
        )
    _allow_many_files()
    import_module("integ_server.app")  # before the fork

    doors = _doors(host, port, processes)
    install_logs(settings.log_level, settings.log_format)  # what failed before this is told by whoever called
    try:
        listening(_address(doors[0]))
        _log.info("answering on %s", _address(doors[0]))
        if processes == 1:
            _run(settings, doors[0], lambda: systemd.notify("READY=1"))
        else:
            gc.collect()
            gc.freeze()  # what is loaded by now stays shared between the processes
            supervise(lambda number, on_ready: _run(settings, doors[number], on_ready, number), processes)
    finally:
        for door in doors:
            door.close()


def _run(settings: ServerSettings, door: socket.socket, on_ready: Callable[[], None], number: int | None = None) -> None:
    """One process; *number* says which of several that share a port, None that it is the only one."""
    from integ_server.app import create_app

    try:
        _Server(create_app(settings), settings, on_ready=on_ready, number=number).run([door])
    except SystemExit:  # what uvicorn does when the app can't be opened, once it has logged why
        raise IntegError("the backend could not be started", hint="the log says why") from None


class _Server(uvicorn.Server):
    """uvicorn's, which says when it answers, turns slow clients away, and tells streams that it ends."""

    def __init__(self, app: FastAPI, settings: ServerSettings, *, on_ready: Callable[[], None], number: int | None = None) -> None:
        trusted = [str(network) for network in settings.trusted_proxies]
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                loop="uvloop",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(trusted),
                forwarded_allow_ips=trusted,
                backlog=_BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=END_WITHIN_S,
                limit_concurrency=max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200),
            )
        )
        self._app = app
        self._on_ready = on_ready
        self._parent = os.getppid()
        self._number = number
        self._opened = contextlib.AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._number is not None:  # which of them a scrape of the shared port reaches nobody can say
            await self._opened.enter_async_context(open_metrics_door(self._app.state.backend, self._number))
        # All that was loaded stays for good: looking through it again and again is what made one answer in a hundred slow.
        gc.collect()
        gc.freeze()
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.end_if_slow(now)
            if os.getppid() != self._parent:  # the process that watches this one was killed
                self.should_exit = True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End like a program that is done: uvicorn's own would kill the process by the signal once all is over."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if signal.SIGINT in self._captured_signals:
            raise KeyboardInterrupt

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        systemd.notify("STOPPING=1")
        await self._opened.aclose()
        self._app.state.backend.events.end()  # they would be waited for
        await super().shutdown(sockets)


def _doors(host: str, port: int, processes: int) -> list[socket.socket]:
    """A listening socket for each process; the one that systemd gave is everybody's."""
    given = systemd.sockets()
    if len(given) > 1:
        raise UsageError("systemd handed over more than one socket", hint="one ListenStream= is enough")
    if given:
        return given * processes
    doors: list[socket.socket] = []
    try:
        for _ in range(processes):
            doors.append(_door(host, doors[0].getsockname()[1] if doors else port, shared=processes > 1))
    except OSError as error:
        for door in doors:
            door.close()
        said = error.strerror or str(error)
        raise UsageError(f"{host}:{port} can't be listened at: {said}", hint="integ serve --host ADDRESS --port N") from None
    return doors


def _door(host: str, port: int, *, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    # Its protocol is told: asyncio sends without delay only where it knows that this is TCP.
    door = socket.socket(family, kind, protocol)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        door.bind(address)
        door.listen(_BACKLOG)
    except OSError:
        door.close()
        raise
    return door


def _address(door: socket.socket) -> str:
    place = door.getsockname()
    if not isinstance(place, tuple):
        return f"unix:{place}"
    host = f"[{place[0]}]" if ":" in place[0] else place[0]
    return f"http://{host}:{place[1]}"


def _allow_many_files() -> None:
    """A listener to events holds a connection for hours, and the usual 1024 files are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

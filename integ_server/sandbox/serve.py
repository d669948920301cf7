"""Run a sandbox on a loopback port of this machine, in a thread of its own, without a word in anybody's log."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from integ_server.sandbox.app import Sandbox

_READY_S = 10
_THREAD = "integ-sandbox"


def _is_from_elsewhere(record: logging.LogRecord) -> bool:
    """A sandbox's server says nothing, also when an answer breaks off on purpose; other servers of this process are heard as ever."""
    return record.threadName != _THREAD


class _Server(uvicorn.Server):
    """Says when it answers, and stops at once when it is told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        assert self._stop is not None
        seconds = 0
        while not self._stop.is_set():
            await self.on_tick(10 * seconds)  # renews the Date header
            seconds += 1
            try:
                async with asyncio.timeout(1):
                    await self._stop.wait()
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nobody waits for what is still being answered: whoever asked it has gone, or is a test of just that."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    def stop(self) -> None:
        """From any thread."""
        self.should_exit = self.force_exit = True
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)


def _door(port: int) -> socket.socket:
    """A listening socket that says it is TCP: asyncio sends without delay only where it knows, else each answer takes 40 ms."""
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", port))
        door.listen(128)
    except OSError:
        door.close()
        raise
    return door


@contextmanager
def serve(sandbox: Sandbox, port: int = 0) -> Iterator[str]:
    """
    Answer on 127.0.0.1 while the block runs; yields the address, ready to be asked. Port 0: any free one.

    Raises:
        OSError: The port is taken.
    """
    config = uvicorn.Config(
        sandbox.app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        h11_max_incomplete_event_size=1 << 18,
    )
    server = _Server(config)
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addFilter(_is_from_elsewhere)  # the same filter is never added twice
    with _door(port) as door:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[door])), name=_THREAD, daemon=True)
        thread.start()
        try:
            if not server.ready.wait(_READY_S):
                raise OSError("the sandbox did not start")
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            sandbox.state.closing.set()
            server.stop()
            thread.join(_READY_S)

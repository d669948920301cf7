"""
Both kinds of backend for a client's tests: the one in its own process, and a served one over a real socket, with PostgreSQL, Redis and
a worker. The served one lives as long as the run, and is emptied between two tests.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from redis import Redis

from integ_runtime.runtime import open_runtime
from integ_runtime.settings import read_settings
from tests.backends import Served, served
from tests.conftest_sandbox import RunningSandbox
from tests.servers import Postgres, postgres_server, redis_server

on_both_kinds = pytest.mark.parametrize("backend_kind", ["embedded", pytest.param("served", marks=pytest.mark.integration)], indirect=True)


class Forwarder:
    """A port that stays, in front of whichever sandbox the test at hand has: a process is told where its outside is only once."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.target: tuple[str, int] | None = None
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def point_at(self, url: str | None) -> None:
        """From now on; what was open to another sandbox is cut."""
        self.target = ("127.0.0.1", int(url.rpartition(":")[2])) if url else None
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.point_at(None)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target) if self.target else None
            except OSError:
                far = None
            if far is None:
                client.close()
                continue
            self._open |= {client, far}
            for source, sink in ((client, far), (far, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        for each in (source, sink):  # the other direction ends with this one
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()


@dataclass(frozen=True)
class _House:
    backend: Served
    forwarder: Forwarder
    postgres: Postgres
    redis_url: str

    def empty(self) -> None:
        self.postgres.run("TRUNCATE users, titles CASCADE", self.backend.environ["INTEG_DATABASE_URL"].partition("@/")[2].partition("?")[0])
        with Redis.from_url(self.redis_url) as redis:
            redis.flushall()


@pytest.fixture(scope="session")
def _house() -> Iterator[_House]:
    forwarder = Forwarder()
    with postgres_server() as postgres, redis_server() as redis, tempfile.TemporaryDirectory(prefix="integ-served-") as folder:
        redis_url = f"unix://{redis.folder}/s"
        environ = {"INTEG_REQUESTS_PER_MIN": "0"}
        with served(Path(folder), forwarder.url, postgres.new_database(), redis_url, **environ) as backend:
            yield _House(backend, forwarder, postgres, redis_url)
    forwarder.close()


@dataclass(frozen=True)
class BackendKind:
    """What this test's settings name by now."""

    is_served: bool
    upstream_url: str
    """Where the backend finds the test's sandbox."""
    address: str
    """As `integ status` shows it."""


@pytest.fixture
def backend_kind(request: pytest.FixtureRequest, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackendKind]:
    """An empty backend with the test's sandbox outside: embedded, or for tests `on_both_kinds` also served, with a user signed in."""
    monkeypatch.setenv("INTEG_UPSTREAM_URL", sandbox.url)
    if getattr(request, "param", "embedded") == "embedded":
        yield BackendKind(is_served=False, upstream_url=sandbox.url, address="embedded")
        return
    house: _House = request.getfixturevalue("_house")
    house.empty()
    house.forwarder.point_at(sandbox.url)
    monkeypatch.setenv("INTEG_BACKEND_URL", house.backend.url)
    monkeypatch.setenv("INTEG_TOKEN", house.backend.new_token(house.backend.new_user()))
    yield BackendKind(is_served=True, upstream_url=house.forwarder.url, address=house.backend.url)
    house.forwarder.point_at(None)


def sign_in_at_steam(sandbox: RunningSandbox) -> None:
    """As this test's user, by the page: to a backend for many a key alone proves nobody's account."""

    async def work() -> None:
        browsing: list[asyncio.Task[httpx.Response]] = []
        async with open_runtime(read_settings()) as runtime, httpx.AsyncClient(follow_redirects=True, timeout=30) as browser:
            await runtime.accounts.sign_in_by_browser(
                "steam",
                show=lambda address: browsing.append(asyncio.create_task(browser.get(address))),
                api_key=sandbox.world.steam_key,
            )
            await asyncio.gather(*browsing)

    asyncio.run(work())

"""A proxy from the environment: it gets its own password, and nothing of what is meant for the other side."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from integ_server.contract.errors import IntegError, ProviderUnavailableError
from integ_server.providers._http import ask
from integ_server.upstream import BulkDoor, open_upstream

PASSWORD = "pr0xyPassw0rd"


class Proxy:
    """Takes one request a connection, remembers its head, and says no."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://bob:{PASSWORD}@127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (part := connection.recv(4096)):
                    head += part
                if head == b"":
                    return
                self.heads.append(head.decode())
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def close(self) -> None:
        socket.create_connection(self._listening.getsockname()).close()  # an empty request ends it
        self._thread.join()
        self._listening.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    made = Proxy()
    monkeypatch.setenv("https_proxy", made.url)
    yield made
    made.close()


def _check(proxy: Proxy, told: IntegError) -> None:
    assert proxy.heads
    login = base64.b64encode(f"bob:{PASSWORD}".encode()).decode()
    for head in proxy.heads:
        assert head.startswith("CONNECT api.gog.com:443 ")
        assert f"proxy-authorization: Basic {login}".lower() in head.lower()
        assert "s3cret" not in head
    assert PASSWORD not in str(told) + repr(told.__cause__)


async def test_answers_come_through_it_by_connect_alone(proxy: Proxy) -> None:
    async with open_upstream() as http:
        with pytest.raises(ProviderUnavailableError) as told:
            await ask(http, "GOG", "https://api.gog.com/a?code=s3cret", bearer="s3cret")
    _check(proxy, told.value)


def test_big_bodies_come_through_it_by_connect_alone(proxy: Proxy) -> None:
    with BulkDoor() as door, pytest.raises(ProviderUnavailableError) as told:  # noqa: SIM117
        with door.open("https://api.gog.com/a?code=s3cret", headers={"Authorization": "Bearer s3cret"}):
            pass
    _check(proxy, told.value)


async def test_the_sandbox_is_reached_without_it(proxy: Proxy, sandbox) -> None:  # type: ignore[no-untyped-def]
    async with open_upstream(sandbox.url) as http:
        answer = await http.get("https://gamesdb.gog.com/platforms/gog/external_releases/1")
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == 404
    assert proxy.heads == []

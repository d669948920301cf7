"""Clients that are slow or send too much, against the real server with its patience shortened."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from integ_server import connections
from integ_server.connections import MOST_HEAD_BYTES
from integ_server.serving import _Server
from tests.server.conftest import settings_for


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    closing = asyncio.Event()
    app.state.backend = SimpleNamespace(events=SimpleNamespace(end=closing.set))

    @app.get("/")
    async def hello(request: Request) -> str:
        assert request.client is not None
        return f"{request.client.host} {request.url.scheme}"

    @app.post("/")
    async def take(request: Request) -> int:
        return len(await request.body())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            await closing.wait()
            yield "data: bye\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/large")
    async def large() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield b" " * 65_536

        return StreamingResponse(parts())

    return app


@contextlib.asynccontextmanager
async def serving(app: FastAPI, **more: str) -> AsyncIterator[tuple[_Server, int]]:
    ready = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = _Server(app, settings_for("sqlite+aiosqlite:////x", **more), on_ready=ready.set)
        task = asyncio.create_task(server.serve([door]))
        await ready.wait()
        try:
            yield server, door.getsockname()[1]
        finally:
            server.should_exit = True
            await asyncio.wait_for(task, 20)


async def said(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def test_a_head_that_never_ends_is_refused(app: FastAPI) -> None:
    async with serving(app) as (_, port):
        whole = await said(port, HEAD + b"x-long: " + b"a" * MOST_HEAD_BYTES + b"\r\n\r\n")
        endless = await said(port, HEAD, *[b"x-%d: " % n + b"a" * 1000 + b"\r\n" for n in range(40)], pause_s=0.001)
        one_header = await said(port, HEAD + b"x-long: ", *[b"a" * 9000] * 4, pause_s=0.02)
        told = b"HTTP/1.1 431 Request Header Fields Too Large"
        assert whole.startswith(told)
        # Who goes on sending may lose the words to the reset that it provokes.
        assert {answer.split(b"\r\n")[0] for answer in (endless, one_header)} <= {told, b""}
        usual = await said(port, HEAD + b"x-long: " + b"a" * 20_000 + b"\r\nconnection: close\r\n\r\n")
        assert usual.startswith(b"HTTP/1.1 200")


async def test_many_small_requests_in_one_packet_are_no_large_head(app: FastAPI) -> None:
    async with serving(app) as (_, port):
        many = (HEAD + b"x-some: " + b"a" * 500 + b"\r\n\r\n") * 100
        answer = await said(port, many, HEAD + b"connection: close\r\n\r\n", pause_s=0.1)
        assert answer.count(b"HTTP/1.1 200") == 101


@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"GET / HTT"],
        [HEAD],
        [HEAD + b"\r\n", b"GET"],
        [HEAD + b"\r\n", b"\r\n"],
        [b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n", b"1"],
    ],
    ids=["nothing", "half a line", "half a head", "half a second head", "an empty line", "half a body"],
)
async def test_a_client_that_keeps_us_waiting_is_let_go(app: FastAPI, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]) -> None:
    for name in ("HEAD_WITHIN_S", "BODY_WITHIN_S", "PAUSE_AT_MOST_S", "KEEP_ALIVE_S"):
        monkeypatch.setattr(connections, name, 0.4)
    async with serving(app) as (_, port):
        began = time.monotonic()
        await said(port, *parts, pause_s=0.1)
        assert 0.3 < time.monotonic() - began < 10


async def test_a_client_that_drips_its_body_or_reads_nothing_is_let_go(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_WITHIN_S", 1.0)
    monkeypatch.setattr(connections, "UNREAD_AT_MOST_S", 1.0)
    async with serving(app) as (server, port):
        began = time.monotonic()
        drip = [b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n", *[b"1"] * 60]
        await said(port, *drip, pause_s=0.1)
        assert time.monotonic() - began < 9
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.5)
        assert server.server_state.connections
        for _ in range(80):
            if not server.server_state.connections:
                break
            await asyncio.sleep(0.1)
        assert not server.server_state.connections
        writer.close()


async def test_a_body_with_more_around_it_than_in_it_is_broken_off(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_REQUEST_BYTES", 50_000)
    async with serving(app) as (_, port):
        head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        assert await said(port, head, *[b"1;" + b"a" * 1000 + b"\r\nx\r\n"] * 60, pause_s=0.001) == b""


async def test_streams_are_told_of_the_end(app: FastAPI) -> None:
    async with serving(app) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"data: 1" in await reader.readuntil(b"data: 1\n\n")
        began = time.monotonic()
        server.should_exit = True
        assert b"data: bye" in await asyncio.wait_for(reader.read(), 5)
        assert time.monotonic() - began < 5
        writer.close()


@pytest.mark.parametrize(
    ("trusted", "seen"), [("", '"127.0.0.1 http"'), ("10.0.0.0/8", '"127.0.0.1 http"'), ("127.0.0.0/8", '"8.8.8.8 https"')]
)
async def test_a_proxy_is_believed_only_by_setting(app: FastAPI, trusted: str, seen: str) -> None:
    async with serving(app, trusted_proxies=trusted) as (_, port):
        forwarded = b"x-forwarded-for: 1.2.3.4, 8.8.8.8\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n"
        answer = await said(port, HEAD + forwarded)
        assert answer.rpartition(b"\r\n")[2].decode() == seen

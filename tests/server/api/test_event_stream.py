"""Events over a real socket: what ASGITransport can't show."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from integ_server.app import create_app
from tests.server.conftest import KEY, personal_token_on, settings_for

SERVER = """
import sys, uvicorn
from integ_server.app import create_app
from integ_server.settings import ServerSettings

app = create_app(ServerSettings.model_validate({"database_url": sys.argv[1], "secret_key": sys.argv[2]}))
server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="info"))
server.run()
"""


@pytest.fixture
async def embedded(sqlite_url: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings_for(sqlite_url), stores={})
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://integ.embedded") as http:
        yield http


async def test_in_process_the_stream_ends_with_what_there_is(embedded: httpx.AsyncClient) -> None:
    answer = await asyncio.wait_for(embedded.get("/events"), 5)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache"
    lines = answer.text.splitlines()
    assert lines[0].startswith("id: ") and lines[1] == "retry: 3000"
    unknown = await embedded.get("/events", headers={"Last-Event-ID": "1-1.1-1"})
    assert unknown.text.startswith("event: reset\ndata: {}\nid: ")
    resumed = await embedded.get("/events", params={"last_event_id": lines[0].removeprefix("id: ")})
    assert resumed.text.splitlines() == lines


async def test_the_places_of_streams_that_ended_are_free_again(embedded: httpx.AsyncClient) -> None:
    answers = [await embedded.get("/events") for _ in range(20)]
    assert {each.status_code for each in answers} == {200}


@asynccontextmanager
async def _served(tmp_path: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """A server as a process of its own, and a client that is signed in there."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'data' / 'integ.db'}"
    headers = {"Authorization": f"Bearer {await personal_token_on(url)}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, url, KEY, cwd=Path(__file__).parents[3], stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"running on" not in (line := await process.stderr.readline()):
                assert line, "the server ended"
        address = line.decode().split("running on ")[1].split()[0]
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=20) as http:
            yield process, http
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_server_that_is_told_to_stop_waits_for_no_stream(tmp_path: Path) -> None:
    async with _served(tmp_path) as (process, http):
        async with http.stream("GET", "/events") as answer:
            assert answer.status_code == 200
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith("id: ")
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                _ = [line async for line in lines]
        async with asyncio.timeout(5):
            await process.wait()


async def test_a_client_that_goes_leaves_its_place(tmp_path: Path) -> None:
    async with _served(tmp_path) as (_, http):
        for _ in range(20):
            async with http.stream("GET", "/events") as answer:
                assert answer.status_code == 200, await answer.aread()
                await anext(answer.aiter_lines())
            await asyncio.sleep(0.02)

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from integ_server.logs import request_id
from integ_server.services import library
from tests.server.api.test_health import opened_app
from tests.server.conftest import personal_token_on


@pytest.fixture
async def http(sqlite_url: str) -> AsyncIterator[httpx.AsyncClient]:
    token = await personal_token_on(sqlite_url)
    async with opened_app(sqlite_url, is_embedded=False) as (_, opened):
        opened.headers["Authorization"] = f"Bearer {token}"
        yield opened


def access_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__["integ"] | {"said": record.getMessage()} for record in caplog.records if record.name == "integ.access"]


async def test_one_line_a_request_names_the_route_and_never_the_address(http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "integ.access"):
        await http.get("/games/steam:620?q=private-words")
        await http.get("/nothing/private-words")
        await http.request("PROPFIND", "/games")
        await http.get("/healthz")
    told = access_lines(caplog)
    assert [(line["method"], line["route"], line["status"]) for line in told] == [
        ("GET", "/games/{key}", 404),
        ("GET", "-", 404),
        ("OTHER", "/games", 405),
    ]
    assert "private-words" not in caplog.text and all(line["ms"] >= 0 for line in told)
    assert len(told[0]["user"]) == 12 and "local" not in told[0]["user"] and "user" not in told[1]


async def test_what_is_logged_while_a_request_is_answered_carries_its_id(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def noted(*args: object) -> None:
        seen.append(request_id.get())
        raise RuntimeError

    monkeypatch.setattr(library, "user_info", noted)
    answer = await http.get("/users/me", headers={"x-request-id": "r-1"})
    assert (seen, answer.status_code, request_id.get()) == (["r-1"], 500, "")


async def test_the_embedded_backend_writes_no_line(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with opened_app(sqlite_url) as (_, http):
        with caplog.at_level(logging.DEBUG, "integ.access"):
            assert (await http.get("/games")).status_code == 200
    assert access_lines(caplog) == []

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.server.api.test_api import app, http, shelf, sign_in, synced

__all__ = ["app", "http", "shelf"]


async def test_a_change_is_heard_of_by_a_device_that_asks_with_its_etag(http: httpx.AsyncClient) -> None:
    await sign_in(http)
    await synced(http)
    first = await http.get("/games/changes")
    asked = {"If-None-Match": first.headers["ETag"]}
    assert (await http.get("/games/changes", headers=asked)).status_code == 304
    for method, path, body in (
        ("PUT", "/games/fake:1/preferences", {"favourite": True, "tags": ["night"]}),
        ("PATCH", "/users/preferences", {"language": "de"}),
        ("POST", "/games/merge", {"games": ["lantern-keep", "quiet-orbit"]}),
        ("POST", "/games/split", {"game": "fake:2"}),
    ):
        before = (await http.get("/games/changes")).headers["ETag"]
        answer = await http.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        assert (await http.get("/games/changes", headers={"If-None-Match": before})).status_code == 200
    assert (await http.get("/games/lantern-keep/preferences")).json()["data"]["tags"] == ["night"]
    assert (await http.get("/users/preferences")).json()["data"] == {"default_proton": None, "platform": None, "language": "de"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/games/nothing/preferences", {"favourite": True}, 404),
        ("PUT", "/games/%00/preferences", {"favourite": True}, 404),
        ("PUT", "/games/fake:1/preferences", {"favorite": True}, 422),
        ("PUT", "/games/fake:1/preferences", {"tags": ["\ud800"]}, 422),
        ("PUT", "/games/fake:1/preferences", {"notes": "\ud800"}, 422),
        ("GET", "/games/nothing/preferences", None, 404),
        ("PATCH", "/users/preferences", {"proton": "x"}, 422),
        ("POST", "/games/merge", {"games": ["lantern-keep"]}, 422),
        ("POST", "/games/merge", {"games": ["lantern-keep", "\0"]}, 404),
        ("POST", "/games/merge", {"games": ["lantern-keep", "fake:9"]}, 404),
        ("POST", "/games/split", {"game": "fake:9"}, 404),
        ("POST", "/games/split", {"game": "lantern-keep", "off": True}, 422),
    ],
)
async def test_wrong_requests_are_told_what_is_wrong(http: httpx.AsyncClient, method: str, path: str, body: Any, status: int) -> None:
    await sign_in(http)
    await synced(http)
    text = None if body is None else json.dumps(body)  # half a character as JSON can spell it
    answer = await http.request(method, path, content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text

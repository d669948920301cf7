from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from integ_server.app import create_app
from integ_server.contract.errors import RateLimitedError, from_envelope
from integ_server.providers.base import GameProvider
from integ_server.services import accounts, library
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import settings_for


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(games={"ann": [owned("1", "Lantern Keep"), owned("2", "Quiet Orbit")]}, metadata={"1": told("1"), "2": told("2")})


@pytest.fixture
async def app(shelf: Shelf, sqlite_url: str) -> AsyncIterator[FastAPI]:
    stores: dict[str, type[GameProvider]] = {"fake": fake_store(shelf)}
    app = create_app(settings_for(sqlite_url), stores=stores)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://integ.embedded"
    ) as client:
        yield client


async def sign_in(http: httpx.AsyncClient) -> None:
    answer = await http.post("/auth/fake/callback", json={"way": "api_key", "api_key": "a key", "account": "ann"})
    assert answer.status_code == 200, answer.text


async def synced(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Sync, and wait until nothing is left to do; the jobs of the sync as they ended."""
    answer = await http.post("/games/sync", json={})
    assert answer.status_code == 202, answer.text
    ids = [job["id"] for job in answer.json()["data"]]

    async def wait() -> None:
        while any(job["state"] in {"queued", "running"} for job in (await http.get("/games/sync-status")).json()["data"]["jobs"]):
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 30)
    return [(await http.get(f"/jobs/{job_id}")).json()["data"] for job_id in ids]


async def test_the_whole_main_job_over_http(http: httpx.AsyncClient) -> None:
    (provider,) = (await http.get("/auth/providers")).json()["data"]
    assert (provider["slug"], provider["ways"]) == ("fake", ["api_key", "code", "openid"])
    await sign_in(http)
    (account,) = (await http.get("/users/me/accounts")).json()["data"]
    assert (account["provider"], account["account"], account["state"], account["last_sync_at"]) == ("fake", "ann", "ok", None)
    (job,) = await synced(http)
    assert (job["state"], job["counts"]) == ("done", {"added": 2, "changed": 0, "removed": 0, "total": 2})
    changes = (await http.get("/games/changes", params={"since": 0})).json()["data"]
    assert [each["id"] for each in changes["titles"]] == ["lantern-keep", "quiet-orbit"]
    me = (await http.get("/users/me")).json()["data"]
    assert (me["id"], me["revision"]) == ("local", changes["revision"])
    plan = (await http.post("/games/fake:1/download", json={})).json()["data"]
    assert (plan["key"], plan["steam_url"]) == ("fake:1", "steam://install/1")
    (out,) = (await http.post("/auth/logout", json={"provider": "fake", "account": None})).json()["data"]
    assert out["state"] == "signed_out"
    assert (await http.get("/users/me/accounts")).json()["data"] == []
    assert (await http.get("/games")).json()["data"]["items"] == []


async def test_pages_follow_their_cursor(http: httpx.AsyncClient) -> None:
    await sign_in(http)
    await synced(http)
    first = (await http.get("/games", params={"limit": 1})).json()["data"]
    second = (await http.get("/games", params={"limit": 1, "cursor": first["next_cursor"]})).json()["data"]
    assert [each["key"] for each in first["items"] + second["items"]] == ["fake:1", "fake:2"]
    assert second["next_cursor"] is None
    assert [each["key"] for each in (await http.get("/games", params={"q": "orbit"})).json()["data"]["items"]] == ["fake:2"]
    assert (await http.get("/games/fake:2")).json()["data"]["title"] == "Quiet Orbit"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/nowhere", None, 404, "NotFoundError"),
        ("PUT", "/games", None, 405, "UsageError"),
        ("GET", "/games?limit=0", None, 422, "UsageError"),
        ("GET", "/games?limit=201", None, 422, "UsageError"),
        ("GET", "/games?cursor=x", None, 400, "UsageError"),
        ("GET", "/games?provider=%00", None, 422, "UsageError"),
        ("GET", "/games?q=%00%ff", None, 200, None),
        ("GET", "/games/fake:99", None, 404, "GameNotFoundError"),
        ("GET", "/games/%00", None, 404, "GameNotFoundError"),
        ("GET", "/jobs/%00", None, 404, "JobNotFoundError"),
        ("GET", "/games/changes?since=-1", None, 422, "UsageError"),
        ("GET", "/games/changes?since=99999999999999999999999", None, 422, "UsageError"),
        ("POST", "/games/sync", {}, 401, "AuthenticationError"),
        ("POST", "/games/sync", {"providers": ["epic"]}, 404, "NotFoundError"),
        ("POST", "/games/sync", {"providers": "epic"}, 422, "UsageError"),
        ("POST", "/auth/epic/login", {"way": "code"}, 404, "NotFoundError"),
        ("POST", "/auth/logout", {}, 404, "AccountNotFoundError"),
        ("POST", "/auth/logout", {"account": "\0"}, 422, "UsageError"),
        ("POST", "/auth/fake/callback", {"way": "openid", "state": "x"}, 401, "AuthenticationError"),
        ("POST", "/games/fake:1/download", {}, 404, "GameNotFoundError"),
        ("POST", "/games/fake:1/download", {"platform": "amiga"}, 422, "UsageError"),
    ],
)
async def test_every_failure_is_an_envelope_with_a_request_id(
    http: httpx.AsyncClient, method: str, path: str, body: object, status: int, error: str | None
) -> None:
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert len(answer.headers["x-request-id"]) == 32
    if error is not None:
        told = answer.json()
        assert (told["status"], told["error"]) == ("error", error)
        assert type(from_envelope(told)).__name__ == error


async def test_a_secret_in_a_wrong_field_is_not_repeated(http: httpx.AsyncClient) -> None:
    for body in (
        {"way": "sekrit-way", "api_key": "sekrit"},
        {"way": "code", "code": ["sekrit"]},
        ["sekrit"],
        {"way": "api_key", "account": {"sekrit": "sekrit"}},
    ):
        answer = await http.post("/auth/fake/callback", json=body)
        assert answer.status_code == 422 and "sekrit" not in answer.text
    half = await http.post("/auth/fake/callback", content=b'{"api_key": "sekrit', headers={"content-type": "application/json"})
    assert half.status_code == 422 and "sekrit" not in half.text


async def test_half_characters_are_wrong_usage(http: httpx.AsyncClient) -> None:
    as_json = {"content-type": "application/json"}
    for path, body in (
        ("/auth/logout", b'{"account": "\\ud800"}'),
        ("/auth/logout", b'{"provider": "\\ud800"}'),
        ("/games/sync", b'{"providers": ["\\ud800"]}'),
        ("/auth/fake/callback", b'{"way": "code", "code": "code-\\ud800", "state": "\\ud800"}'),
        ("/auth/fake/callback", b'{"way": "api_key", "account": "\\ud800"}'),
    ):
        answer = await http.post(path, content=body, headers=as_json)
        assert answer.status_code in {401, 404, 422}, (path, body, answer.text)
        assert answer.json()["status"] == "error"


async def test_a_bug_is_told_without_its_words_and_logged_with_them(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*args: object) -> None:
        raise ZeroDivisionError("inner workings")

    monkeypatch.setattr(library, "user_info", broken)
    with caplog.at_level(logging.ERROR):
        answer = await http.get("/users/me")
    assert (answer.status_code, answer.json()["error"]) == (500, "IntegError")
    assert "inner workings" not in answer.text and "x-request-id" in answer.headers
    assert "inner workings" in caplog.text and answer.headers["x-request-id"] in caplog.text


@pytest.mark.parametrize(
    ("said", "status", "error"),
    [
        ("database or disk is full", 507, "StorageError"),
        ("disk I/O error", 507, "StorageError"),
        ("attempt to write a readonly database", 507, "StorageError"),
        ("database is locked", 409, "BusyError"),
        ("database disk image is malformed", 422, "IntegrityError"),
    ],
)
async def test_a_failing_disk_is_told_as_one(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, said: str, status: int, error: str
) -> None:
    async def broken(*args: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception(said))

    monkeypatch.setattr(library, "user_info", broken)
    answer = await http.get("/users/me")
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert "SELECT" not in answer.text


async def test_a_commit_that_fails_is_no_success(http: httpx.AsyncClient) -> None:
    def full(session: Session) -> None:
        raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    await sign_in(http)
    event.listen(Session, "before_commit", full)
    try:
        answer = await http.post("/auth/logout", json={})
    finally:
        event.remove(Session, "before_commit", full)
    assert (answer.status_code, answer.json()["error"]) == (507, "StorageError")
    assert len((await http.get("/users/me/accounts")).json()["data"]) == 1


async def test_a_pause_is_told_in_the_header_too(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slowly(*args: object) -> None:
        raise RateLimitedError("slowly", retry_after_s=12.3)

    monkeypatch.setattr(accounts, "confirm", slowly)
    answer = await http.post("/auth/fake/callback", json={"way": "api_key"})
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["retry_after_s"]) == (429, "13", 12.3)


async def test_a_request_id_of_the_callers_own_is_kept_if_it_is_a_plain_word(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz", headers={"x-request-id": "mine-1.2"})).headers.get_list("x-request-id") == ["mine-1.2"]
    for odd in ("a b", "x" * 65, "é", ""):
        given = (await http.get("/healthz", headers={b"x-request-id": odd.encode()})).headers["x-request-id"]
        assert given != odd and len(given) == 32


async def test_unchanged_lists_cost_a_304(http: httpx.AsyncClient, shelf: Shelf) -> None:
    await sign_in(http)
    await synced(http)
    for path in ("/games/changes?since=0", "/games/sync-status"):
        first = await http.get(path)
        tag = first.headers["etag"]
        again = await http.get(path, headers={"if-none-match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "x-request-id" in again.headers
    tag = (await http.get("/games/changes?since=0")).headers["etag"]
    shelf.games["ann"].append(owned("3"))
    await synced(http)
    changed = await http.get("/games/changes?since=0", headers={"if-none-match": tag})
    assert changed.status_code == 200 and len(changed.json()["data"]["releases"]) == 3
    assert (await http.get("/games/changes?since=1", headers={"if-none-match": changed.headers["etag"]})).status_code == 200


async def test_a_body_without_an_end_is_turned_away(http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    announced = await http.post("/games/sync", content=b" " * (2 << 20))
    streamed = await http.post("/games/sync", content=endless(), headers={"content-type": "application/json"})
    assert {each.status_code for each in (announced, streamed)} == {413}
    assert {each.json()["error"] for each in (announced, streamed)} == {"UsageError"}


async def test_the_description_of_the_api_names_every_endpoint(http: httpx.AsyncClient) -> None:
    described = (await http.get("/openapi.json")).json()
    found = {f"{method.upper()} {path}": said for path, methods in described["paths"].items() for method, said in methods.items()}
    assert [each for each, said in found.items() if not said.get("description")] == [], "every endpoint says what it does"
    assert found.keys() >= {
        "GET /healthz",
        "GET /events",
        "GET /readyz",
        "GET /auth/providers",
        "POST /auth/{provider}/login",
        "POST /auth/{provider}/callback",
        "POST /auth/logout",
        "GET /users/me",
        "GET /users/me/accounts",
        "GET /games",
        "GET /games/fake",
        "GET /games/{key}",
        "GET /games/{key}/achievements",
        "POST /games/{key}/download",
        "POST /games/sync",
        "GET /games/sync-status",
        "GET /games/changes",
        "GET /jobs/{job_id}",
    }
    assert (await http.get("/docs")).status_code == 200


async def test_health_and_readiness(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).json()["data"] == {"state": "ok"}
    ready = (await http.get("/readyz")).json()["data"]
    assert (ready["state"], {check["state"] for check in ready["checks"]}) == ("ok", {"ok"})

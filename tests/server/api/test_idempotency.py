from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any
from unittest.mock import AsyncMock

import httpx
import pytest
from fastapi import Body, FastAPI, Response
from starlette.requests import Request

from integ_server.api import idempotency
from integ_server.api.deps import LOCAL_CALLER, Caller
from integ_server.app import create_app
from integ_server.cache import MemoryCache, RedisCache
from integ_server.contract.errors import AuthenticationError, GameNotFoundError, ProviderError, RateLimitedError
from integ_server.contract.scopes import ALL_SCOPES
from integ_server.services import owner
from tests.server.conftest import settings_for


@dataclass
class Counter:
    """What the endpoint of these tests did."""

    done: list[Any] = field(default_factory=list)
    fails: Exception | None = None
    waits: asyncio.Event | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture(params=["in process", "in Redis"])
async def app(request: pytest.FixtureRequest, sqlite_url: str, counter: Counter) -> AsyncIterator[FastAPI]:
    redis = request.getfixturevalue("redis_url") if request.param == "in Redis" else None
    app = create_app(settings_for(sqlite_url, redis_url=redis), stores={})

    @app.post("/count", status_code=201)
    @app.put("/count", status_code=201)
    async def count(response: Response, body: Annotated[Any, Body()]) -> dict[str, Any]:
        counter.begun.set()
        if counter.waits is not None:
            await counter.waits.wait()
        counter.done.append(body)
        if counter.fails is not None:
            raise counter.fails
        response.headers["Location"] = f"/count/{len(counter.done)}"
        response.set_cookie("a", "b")
        return {"number": len(counter.done), "secret": "shown once", "padding": "x" * body.get("padding", 0)}

    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://integ.embedded") as client:
        yield client


async def _count(http: httpx.AsyncClient, key: str | None, body: Any = None, method: str = "POST", **more: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await http.request(method, "/count", json=body or {}, headers=headers, **more)


async def test_the_same_request_is_done_once_and_answered_alike(http: httpx.AsyncClient, counter: Counter) -> None:
    first, second = await _count(http, "k1"), await _count(http, "k1")
    assert (first.status_code, first.json()["number"]) == (201, 1)
    assert (second.status_code, second.content, second.headers["location"]) == (201, first.content, "/count/1")
    assert (first.headers.get("idempotent-replayed"), second.headers["idempotent-replayed"]) == (None, "true")
    assert "set-cookie" in first.headers and "set-cookie" not in second.headers
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len(counter.done) == 1
    assert (await _count(http, "k2")).json()["number"] == 2


async def test_without_a_key_everything_is_done_each_time(http: httpx.AsyncClient, counter: Counter) -> None:
    assert [(await _count(http, None)).json()["number"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("change", [{"body": {"other": 1}}, {"method": "PUT"}, {"params": {"a": "b"}}])
async def test_a_key_that_is_used_for_another_request_is_refused(http: httpx.AsyncClient, counter: Counter, change: dict[str, Any]) -> None:
    await _count(http, "k1")
    refused = await _count(http, "k1", **change)
    assert (refused.status_code, refused.json()["error"]) == (422, "UsageError")
    assert len(counter.done) == 1


async def test_a_duplicate_that_comes_too_early_gets_the_answer_of_the_first(http: httpx.AsyncClient, counter: Counter) -> None:
    counter.waits = asyncio.Event()
    first = asyncio.ensure_future(_count(http, "k1"))
    await counter.begun.wait()
    asyncio.get_running_loop().call_later(0.3, counter.waits.set)
    assert (await _count(http, "k1")).json()["number"] == (await first).json()["number"] == 1


@pytest.mark.parametrize("turn_s", [0.5, 60.0], ids=["elsewhere", "on this machine"])
async def test_a_request_whose_process_died_is_done_when_it_comes_again(
    http: httpx.AsyncClient, counter: Counter, monkeypatch: pytest.MonkeyPatch, turn_s: float
) -> None:
    monkeypatch.setattr(idempotency, "_TURN_S", turn_s)
    died = "1 1 of-another-boot pid:[1]" if turn_s < 1 else owner.this_process().replace(f"{os.getpid()} ", "999999 ", 1)
    with monkeypatch.context() as dying:
        for kind in (MemoryCache, RedisCache):
            dying.setattr(kind, "release", AsyncMock())  # it did not come to that
        dying.setattr(idempotency.owner, "this_process", lambda: died)
        counter.fails = RuntimeError("killed")
        await _count(http, "k1")
    counter.fails = None
    assert (await _count(http, "k1")).status_code == 201


async def test_a_duplicate_of_a_request_that_takes_long_is_told_to_come_back(
    http: httpx.AsyncClient, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_WAIT_S", 0.3)
    counter.waits = asyncio.Event()
    first = asyncio.ensure_future(_count(http, "k1"))
    await counter.begun.wait()
    second = await _count(http, "k1")
    assert (second.status_code, second.json()["error"], second.headers["retry-after"]) == (409, "BusyError", "1")
    counter.waits.set()
    assert (await first).json()["number"] == 1
    assert (await _count(http, "k1")).json()["number"] == 1
    assert len(counter.done) == 1


@pytest.mark.parametrize(
    "failure", [ProviderError("odd"), RateLimitedError("slow", retry_after_s=1), RuntimeError("a bug"), AuthenticationError("over")]
)
async def test_what_a_retry_can_mend_is_not_kept(http: httpx.AsyncClient, counter: Counter, failure: Exception) -> None:
    counter.fails = failure
    assert (await _count(http, "k1")).status_code in {502, 429, 500, 401}
    counter.fails = None
    assert (await _count(http, "k1")).json()["number"] == 2


async def test_a_failure_that_stays_one_is_kept(http: httpx.AsyncClient, counter: Counter) -> None:
    counter.fails = GameNotFoundError("no such game")
    answers = [await _count(http, "k1") for _ in range(2)]
    assert [(each.status_code, each.json()["error"]) for each in answers] == [(404, "GameNotFoundError")] * 2
    assert len(counter.done) == 1


async def test_an_answer_too_large_to_be_kept_is_given_all_the_same(http: httpx.AsyncClient, counter: Counter) -> None:
    body = {"padding": idempotency.MOST_KEPT_BYTES}
    answers = [await _count(http, "k1", body) for _ in range(2)]
    assert [each.json()["number"] for each in answers] == [1, 2]
    assert {len(each.json()["padding"]) for each in answers} == {idempotency.MOST_KEPT_BYTES}


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256, "a\tb"])
async def test_a_key_that_is_none_is_wrong_usage(http: httpx.AsyncClient, counter: Counter, key: str) -> None:
    answer = await http.post("/count", json={}, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert (answer.status_code, answer.json()["error"], counter.done) == (400, "UsageError", [])


async def test_a_key_means_nothing_to_a_read(http: httpx.AsyncClient) -> None:
    answers = [await http.get("/healthz", headers={"Idempotency-Key": "k1"}) for _ in range(2)]
    assert [each.headers.get("idempotent-replayed") for each in answers] == [None, None]


async def test_another_callers_key_is_another_key(http: httpx.AsyncClient, counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    callers = {
        "one": LOCAL_CALLER,
        "two": Caller("local", ALL_SCOPES, token_id="t"),
        "three": Caller("local", ALL_SCOPES, session_id="t"),
        "four": Caller("other", ALL_SCOPES),
    }

    async def get_caller(request: Request) -> Caller:
        return callers[request.query_params["who"]]

    monkeypatch.setattr(idempotency, "get_caller", get_caller)
    numbers = [(await http.post(f"/count?who={who}", json={}, headers={"Idempotency-Key": "k"})).json()["number"] for who in callers]
    assert numbers == [1, 2, 3, 4]
    assert (await http.post("/count?who=two", json={}, headers={"Idempotency-Key": "k"})).json()["number"] == 2


async def test_who_is_not_signed_in_gets_no_answer_that_was_kept(
    http: httpx.AsyncClient, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(request: Request) -> Caller:
        raise AuthenticationError("sign in")

    await _count(http, "k1")
    monkeypatch.setattr(idempotency, "get_caller", nobody)
    assert [(await _count(http, "k1")).json()["number"] for _ in range(2)] == [2, 3]


async def test_answers_are_kept_sealed(app: FastAPI, http: httpx.AsyncClient) -> None:
    kept: list[str] = []
    cache = app.state.backend.cache
    store = cache.set

    async def watched(name: str, value: str, ttl_s: float) -> None:
        kept.append(value)
        await store(name, value, ttl_s)

    cache.set = watched
    await _count(http, "k1")
    assert len(kept) == 1 and kept[0].startswith("v1.") and "shown once" not in kept[0]


async def test_a_body_over_the_limit_is_turned_away_as_ever(http: httpx.AsyncClient) -> None:
    answer = await http.post("/count", content=b"x" * (2 << 20), headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 413

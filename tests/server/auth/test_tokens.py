from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from integ_server.auth import tokens as personal_tokens
from integ_server.contract.scopes import ALL_SCOPES, Scope
from integ_server.models.tables import api_tokens
from integ_server.services.backend import Backend
from tests.server.conftest import OpenServed, Served


async def made(http: httpx.AsyncClient, *scopes: str, **more: Any) -> httpx.Response:
    return await http.post("/auth/tokens", json={"name": "a script", "scopes": scopes, **more})


async def is_let_in(served: Served, token: str) -> bool:
    answer = await (await served.http(token)).get("/users/me")
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


async def test_a_token_is_shown_once_and_works_for_what_it_was_made_for(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.signed_in()
    answer = await made(http, "library:read", "sync", expires_in_days=30)
    told = answer.json()["data"]
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert told["token"].startswith("integ_pat_") and len(told["token"]) > 50
    assert told["token"].startswith(told["prefix"]) and len(told["prefix"]) == 16
    assert 29 < (datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)).total_seconds() / 86400 <= 30
    script = await served.http(told["token"])
    assert (await script.get("/users/me")).json()["data"]["id"] == (await http.get("/users/me")).json()["data"]["id"]
    refused = await script.post("/auth/logout", json={})
    assert (refused.status_code, refused.json()["error"], refused.json()["data"]) == (403, "PermissionDeniedError", {"scope": "accounts"})
    assert "accounts" in refused.json()["message"]
    listed = await http.get("/auth/tokens")
    assert told["token"] not in listed.text
    (row,) = listed.json()["data"]
    assert (row["id"], row["prefix"], row["scopes"], row["last_used_at"] is None) == (
        told["id"],
        told["prefix"],
        ["library:read", "sync"],
        False,
    )


async def test_the_database_and_the_cache_hold_no_token(open_served: OpenServed, monkeypatch: pytest.MonkeyPatch) -> None:
    served: Served = await open_served()
    kept: list[str] = []
    cache = served.backend.cache
    add = cache.add

    async def seen(name: str, value: str, ttl_s: float) -> bool:
        kept.extend((name, value))
        return await add(name, value, ttl_s)

    monkeypatch.setattr(cache, "add", seen)
    token = await served.new_personal_token(await served.new_user())
    assert await is_let_in(served, token.token)
    async with served.backend.db.reading() as session:
        (row,) = (await session.execute(select(api_tokens))).mappings()
    secret = token.token.removeprefix(token.prefix)
    assert len(kept) == 2 and not any(secret in str(each) for each in (*kept, *row.values()))


async def test_a_revoked_token_is_refused_by_every_process_at_once(open_served: OpenServed) -> None:
    first: Served = await open_served()
    second: Served = await open_served() if first.backend.settings.redis_url else first
    http = await first.signed_in()
    told = (await made(http, "library:read")).json()["data"]
    assert await is_let_in(second, told["token"])  # and now its cache knows the token
    assert (await http.delete(f"/auth/tokens/{told['id']}")).status_code == 200
    assert not await is_let_in(second, told["token"]) and not await is_let_in(first, told["token"])
    assert (await http.get("/auth/tokens")).json()["data"] == []
    assert (await http.delete(f"/auth/tokens/{told['id']}")).status_code == 404


async def test_a_look_that_began_before_the_revocation_lets_nobody_in_after_it(
    open_served: OpenServed, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: Served = await open_served()
    user = await served.new_user()
    token = await served.new_personal_token(user)
    cache = served.backend.cache
    add = cache.add

    async def slow(name: str, value: str, ttl_s: float) -> bool:
        async with served.backend.db.writing.begin() as session:  # the revocation comes between the look and what is written down
            await personal_tokens.revoke(served.backend, session, user, token.id)
        return await add(name, value, ttl_s)

    monkeypatch.setattr(cache, "add", slow)
    await is_let_in(served, token.token)
    monkeypatch.setattr(cache, "add", add)
    assert not await is_let_in(served, token.token)


async def test_a_token_ends_when_it_said_though_the_cache_knows_it(open_served: OpenServed) -> None:
    served: Served = await open_served()
    token = await served.new_personal_token(await served.new_user())
    eternal = await served.new_personal_token(await served.new_user("Eve"), days=None)
    assert await is_let_in(served, token.token)
    await _age(served.backend, timedelta(days=2))
    await served.backend.cache.delete(personal_tokens._known(personal_tokens._hash(token.token)))
    assert not await is_let_in(served, token.token)
    assert await is_let_in(served, eternal.token)
    short = await served.new_personal_token(await served.new_user("Bob"))
    await _age(served.backend, timedelta(days=1) - timedelta(seconds=2))
    assert await is_let_in(served, short.token)
    await asyncio.sleep(2.1)
    assert not await is_let_in(served, short.token)


async def test_a_token_gives_away_no_more_than_it_has_and_needs_the_user_scope(open_served: OpenServed) -> None:
    served: Served = await open_served()
    user = await served.new_user()
    keeper = await served.http((await served.new_personal_token(user, {Scope.USER, Scope.SYNC})).token)
    assert (await made(keeper, "sync")).status_code == 201
    assert (await made(keeper, "user")).status_code == 201
    for beyond in (["accounts"], ["sync", "library:read"], sorted(ALL_SCOPES)):
        answer = await made(keeper, *beyond)
        assert (answer.status_code, answer.json()["error"]) == (403, "PermissionDeniedError")
    reader = await served.http((await served.new_personal_token(user, ALL_SCOPES - {Scope.USER})).token)
    for answer in (await made(reader, "sync"), await reader.get("/auth/tokens"), await reader.get("/auth/sessions")):
        assert (answer.status_code, answer.json()["data"]) == (403, {"scope": "user"})


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "scopes": ["sync"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x" * 101, "scopes": ["sync"]},
        {"name": "\u202e\n", "scopes": ["sync"]},
        {"name": "x", "scopes": ["sync"], "expires_in_days": 0},
        {"name": "x", "scopes": ["sync"], "expires_in_days": 100_000},
    ],
    ids=str,
)
async def test_a_token_without_sense_is_not_made(open_served: OpenServed, body: dict[str, Any]) -> None:
    served: Served = await open_served()
    http = await served.signed_in()
    answer = await http.post("/auth/tokens", json=body)
    assert answer.status_code in {400, 422} and answer.json()["error"] == "UsageError"


async def test_the_tokens_of_others_are_not_there(open_served: OpenServed) -> None:
    served: Served = await open_served()
    token = await served.new_personal_token(await served.new_user())
    eve = await served.signed_in("Eve")
    assert (await eve.get("/auth/tokens")).json()["data"] == []
    for token_id in (token.id, "0" * 32, "%00", "x'--"):
        assert (await eve.delete(f"/auth/tokens/{token_id}")).status_code == 404
    assert await is_let_in(served, token.token)


@pytest.mark.parametrize("made_up", ["integ_pat_", "integ_pat_x", "integ_pat_" + "A" * 43, "integ_pat_" + "é" * 9, "integ_pat_\x7f"])
async def test_a_made_up_token_is_refused(open_served: OpenServed, made_up: str) -> None:
    served: Served = await open_served()
    http = await served.http()
    answer = await http.get("/users/me", headers={b"authorization": b"Bearer " + made_up.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]) == (401, "NotSignedInError")


async def test_there_is_an_end_to_how_many_one_may_have(open_served: OpenServed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal_tokens, "MOST_TOKENS", 2)
    served: Served = await open_served()
    http = await served.signed_in()
    answers = [await made(http, "sync") for _ in range(3)]
    assert [each.status_code for each in answers] == [201, 201, 400]
    await http.delete(f"/auth/tokens/{answers[0].json()['data']['id']}")
    assert (await made(http, "sync")).status_code == 201


async def test_all_of_a_users_tokens_end_together(open_served: OpenServed) -> None:
    served: Served = await open_served()
    ann = await served.new_user()
    mine = [await served.new_personal_token(ann) for _ in range(2)]
    other = await served.new_personal_token(await served.new_user("Eve"))
    assert all([await is_let_in(served, each.token) for each in (*mine, other)])
    async with served.backend.db.writing.begin() as session:
        assert await personal_tokens.revoke_all(served.backend, session, ann) == 2
    assert [await is_let_in(served, each.token) for each in (*mine, other)] == [False, False, True]


async def _age(backend: Backend, by: timedelta) -> None:
    async with backend.db.writing.begin() as session:
        await session.execute(text(f"UPDATE api_tokens SET expires_at = expires_at - {int(by.total_seconds())}"))

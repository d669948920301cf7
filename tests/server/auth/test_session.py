from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from integ_server.auth import session as device_sessions
from integ_server.contract.errors import NotSignedInError
from integ_server.contract.scopes import Scope
from integ_server.contract.sessions import Tokens
from integ_server.models.tables import sessions
from tests.server.conftest import OpenServed, Served


async def is_let_in(served: Served, token: str) -> bool:
    answer = await (await served.http(token)).get("/users/me")
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


async def refreshed(http: httpx.AsyncClient, refresh_token: str) -> httpx.Response:
    return await http.post("/auth/refresh", json={"refresh_token": refresh_token})


async def later(served: Served, by: timedelta, *columns: str) -> None:
    """Let all sessions be older by so much."""
    moved = ", ".join(f"{name} = {name} - {int(by.total_seconds())}" for name in columns)
    async with served.backend.db.writing.begin() as session:
        await session.execute(text(f"UPDATE sessions SET {moved}"))


async def test_a_refresh_brings_new_tokens_and_the_old_access_token_lasts_until_its_end(open_served: OpenServed) -> None:
    served: Served = await open_served()
    first = await served.new_tokens(await served.new_user())
    answer = await refreshed(await served.http(), first.refresh_token)
    second = Tokens.model_validate(answer.json()["data"])
    assert answer.headers["cache-control"] == "no-store"
    assert (second.session_id, second.user_id, second.scopes) == (first.session_id, first.user_id, first.scopes)
    assert second.refresh_token != first.refresh_token and second.access_token != first.access_token
    assert await is_let_in(served, first.access_token) and await is_let_in(served, second.access_token)


async def test_a_used_refresh_token_ends_the_whole_session(open_served: OpenServed) -> None:
    """Whoever stole it, or was stolen from: nobody can tell, so that both are out."""
    served: Served = await open_served()
    http = await served.http()
    first = await served.new_tokens(await served.new_user())
    second = (await refreshed(http, first.refresh_token)).json()["data"]
    third = (await refreshed(http, second["refresh_token"])).json()["data"]
    stolen = await refreshed(http, first.refresh_token)
    assert (stolen.status_code, stolen.json()["error"]) == (401, "NotSignedInError")
    for token in (first.access_token, second["access_token"], third["access_token"]):
        assert not await is_let_in(served, token)
    assert (await refreshed(http, third["refresh_token"])).status_code == 401


async def test_a_lost_answer_is_given_again_for_a_minute(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    first = await served.new_tokens(await served.new_user())
    lost = (await refreshed(http, first.refresh_token)).json()["data"]
    again = (await refreshed(http, first.refresh_token)).json()["data"]
    assert again["refresh_token"] == lost["refresh_token"]  # so that two processes that asked at once hold the same
    third = await refreshed(http, again["refresh_token"])
    assert third.status_code == 200 and await is_let_in(served, third.json()["data"]["access_token"])


async def test_after_a_minute_the_one_before_is_a_stolen_one(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    first = await served.new_tokens(await served.new_user())
    second = (await refreshed(http, first.refresh_token)).json()["data"]
    await later(served, timedelta(seconds=62), "rotated_at")
    assert (await refreshed(http, first.refresh_token)).status_code == 401
    assert not await is_let_in(served, second["access_token"])
    assert (await refreshed(http, second["refresh_token"])).status_code == 401


async def test_asking_again_does_not_make_the_minute_longer(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    first = await served.new_tokens(await served.new_user())
    await refreshed(http, first.refresh_token)
    for _ in range(2):
        await later(served, timedelta(seconds=25), "rotated_at")
        assert (await refreshed(http, first.refresh_token)).status_code == 200
    await later(served, timedelta(seconds=25), "rotated_at")
    assert (await refreshed(http, first.refresh_token)).status_code == 401


async def test_a_lost_answer_is_mended_after_a_change_of_keys_too(open_served: OpenServed) -> None:
    served: Served = await open_served()
    first = await served.new_tokens(await served.new_user())
    await refreshed(await served.http(), first.refresh_token)
    newer = "k2:" + "n" * 32
    for keys in (f"{newer},k1:5f0c9a7be2d14836af907c1d3e8b6452", newer):
        changed: Served = await open_served(secret_key=keys)
        answer = await refreshed(await changed.http(), first.refresh_token)
        assert answer.status_code == 200
        assert await is_let_in(changed, answer.json()["data"]["access_token"]) or changed.backend.settings.redis_url is None


async def test_many_that_refresh_at_once_end_nothing(open_served: OpenServed) -> None:
    served: Served = await open_served()
    http = await served.http()
    first = await served.new_tokens(await served.new_user())
    answers = await asyncio.gather(*(refreshed(http, first.refresh_token) for _ in range(8)))
    assert {each.status_code for each in answers} == {200}
    assert len({each.json()["data"]["refresh_token"] for each in answers}) == 1


@pytest.mark.parametrize(
    "made_up", ["", "x", ".", "integ_rt_", "integ_rt_.x", "integ_rt_{sid}", "integ_rt_{sid}.", "integ_rt_\0.x", "{sid}.x"]
)
async def test_a_made_up_refresh_token_is_refused_and_one_for_a_known_session_ends_it(open_served: OpenServed, made_up: str) -> None:
    served: Served = await open_served()
    http = await served.http()
    tokens = await served.new_tokens(await served.new_user())
    answer = await refreshed(http, made_up.format(sid=tokens.session_id))
    assert (answer.status_code, answer.json()["error"]) == (401, "NotSignedInError")
    assert await is_let_in(served, tokens.access_token) == ("{sid}" not in made_up)


async def test_a_device_that_was_not_used_for_two_months_is_signed_out(open_served: OpenServed) -> None:
    served: Served = await open_served()
    tokens = await served.new_tokens(await served.new_user())
    await later(served, device_sessions.LIVES - timedelta(days=1), "created_at", "last_used_at", "expires_at")
    again = await refreshed(await served.http(), tokens.refresh_token)
    assert again.status_code == 200  # and its time begins anew
    await later(served, device_sessions.LIVES - timedelta(days=1), "expires_at")
    assert (await refreshed(await served.http(), again.json()["data"]["refresh_token"])).status_code == 200
    await later(served, device_sessions.LIVES + timedelta(seconds=1), "expires_at")
    assert (await refreshed(await served.http(), again.json()["data"]["refresh_token"])).status_code == 401


async def test_a_revoked_session_is_refused_by_every_process_at_once(open_served: OpenServed) -> None:
    first: Served = await open_served()
    second: Served = await open_served()
    user = await first.new_user()
    here, other = await first.new_tokens(user, device="here"), await first.new_tokens(user, device="a lost phone")
    if first.backend.settings.redis_url is None:  # without a Redis each process is on its own
        second = first
    assert await is_let_in(second, other.access_token)
    http = await first.http(here.access_token)
    listed = {each["device"]: each for each in (await http.get("/auth/sessions")).json()["data"]}
    assert {name: each["is_current"] for name, each in listed.items()} == {"here": True, "a lost phone": False}
    assert (await http.delete(f"/auth/sessions/{listed['a lost phone']['id']}")).status_code == 200
    assert not await is_let_in(second, other.access_token)
    assert (await refreshed(await second.http(), other.refresh_token)).status_code == 401
    assert await is_let_in(second, here.access_token)
    assert [each["device"] for each in (await http.get("/auth/sessions")).json()["data"]] == ["here"]


async def test_a_refresh_that_runs_beside_a_revocation_brings_nothing_back(open_served: OpenServed) -> None:
    served: Served = await open_served()
    user = await served.new_user()
    http = await served.http()
    keeper = await served.http((await served.new_tokens(user)).access_token)
    for _ in range(6):
        doomed = await served.new_tokens(user)
        ended, *answers = await asyncio.gather(
            keeper.delete(f"/auth/sessions/{doomed.session_id}"), *(refreshed(http, doomed.refresh_token) for _ in range(3))
        )
        assert ended.status_code == 200
        for each in answers:
            if each.status_code == 200:
                assert not await is_let_in(served, each.json()["data"]["access_token"])


async def test_logging_out_ends_the_session_that_asks_and_no_store(open_served: OpenServed) -> None:
    served: Served = await open_served()
    user = await served.new_user()
    mine, other = await served.new_tokens(user, {Scope.LIBRARY_READ}), await served.new_tokens(user)
    http = await served.http(mine.access_token)
    assert (await http.post("/auth/logout", json={"session": True, "provider": "fake"})).status_code == 400
    assert (await http.post("/auth/logout", json={})).status_code == 403  # out of the stores: not with these scopes
    assert (await http.post("/auth/logout", json={"session": True})).json()["data"] == []
    assert not await is_let_in(served, mine.access_token) and await is_let_in(served, other.access_token)
    token = await served.new_personal_token(user)
    assert (await (await served.http(token.token)).post("/auth/logout", json={"session": True})).status_code == 400


async def test_the_sessions_of_others_are_not_there(open_served: OpenServed) -> None:
    served: Served = await open_served()
    ann, eve = await served.new_tokens(await served.new_user()), await served.new_tokens(await served.new_user("Eve"))
    http = await served.http(eve.access_token)
    for session_id in (ann.session_id, "0" * 32, "%00", "..", "x'--"):
        answer = await http.delete(f"/auth/sessions/{session_id}")
        assert answer.status_code == 404, session_id
    assert await is_let_in(served, ann.access_token)
    assert [each["id"] for each in (await http.get("/auth/sessions")).json()["data"]] == [eve.session_id]


async def test_whoever_lost_redis_refreshes_and_goes_on(open_served: OpenServed) -> None:
    served: Served = await open_served()
    tokens = await served.new_tokens(await served.new_user())
    await served.backend.cache.delete(f"session/{tokens.session_id}")
    assert not await is_let_in(served, tokens.access_token)
    answer = await refreshed(await served.http(), tokens.refresh_token)
    assert await is_let_in(served, answer.json()["data"]["access_token"])
    assert await is_let_in(served, tokens.access_token)  # it is the session that counts


async def test_a_record_that_names_another_user_lets_nobody_in(open_served: OpenServed) -> None:
    served: Served = await open_served()
    tokens = await served.new_tokens(await served.new_user())
    await served.backend.cache.set(f"session/{tokens.session_id}", "somebody else", 60)
    assert not await is_let_in(served, tokens.access_token)


async def test_the_database_holds_no_refresh_token(open_served: OpenServed) -> None:
    served: Served = await open_served()
    tokens = await served.new_tokens(await served.new_user())
    answer = (await refreshed(await served.http(), tokens.refresh_token)).json()["data"]
    async with served.backend.db.reading() as session:
        (row,) = (await session.execute(select(sessions))).mappings()
    stored: dict[str, Any] = dict(row)
    for token in (tokens.refresh_token, answer["refresh_token"]):
        assert not any(token.partition(".")[2] in str(value) for value in stored.values())


async def test_all_of_a_users_devices_end_together_and_those_of_others_do_not(open_served: OpenServed) -> None:
    served: Served = await open_served()
    ann, eve = await served.new_user(), await served.new_tokens(await served.new_user("Eve"))
    mine = [await served.new_tokens(ann) for _ in range(3)]
    async with served.backend.db.writing.begin() as session:
        assert await device_sessions.end_all(served.backend, session, ann) == 3
    assert [await is_let_in(served, each.access_token) for each in (*mine, eve)] == [False, False, False, True]
    with pytest.raises(NotSignedInError):
        await device_sessions.refresh(served.backend, mine[0].refresh_token)


async def test_there_is_an_end_to_how_many_devices_one_may_have_and_the_one_used_longest_ago_goes(
    open_served: OpenServed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_sessions, "MOST_SESSIONS", 3)
    served: Served = await open_served()
    user = await served.new_user()
    first = await served.new_tokens(user)
    for _ in range(2):
        await later(served, timedelta(seconds=10), "last_used_at")
        await served.new_tokens(user)
    await later(served, timedelta(seconds=10), "last_used_at")
    kept = (await refreshed(await served.http(), first.refresh_token)).json()["data"]
    await later(served, timedelta(seconds=10), "last_used_at")
    newest = await served.new_tokens(user)
    assert await is_let_in(served, kept["access_token"]) and await is_let_in(served, newest.access_token)
    listed = (await (await served.http(newest.access_token)).get("/auth/sessions")).json()["data"]
    assert [each["id"] for each in listed][:2] == [newest.session_id, first.session_id] and len(listed) == 3


async def test_no_token_is_written_into_the_log(open_served: OpenServed, caplog: pytest.LogCaptureFixture) -> None:
    served: Served = await open_served()
    caplog.set_level(logging.DEBUG)
    http = await served.http()
    user = await served.new_user()
    tokens, personal = await served.new_tokens(user), await served.new_personal_token(user)
    begun = (await http.post("/auth/device", json={"device": "x"})).json()["data"]
    await http.post("/auth/device/token", json={"device_code": begun["device_code"]})
    fresh = (await refreshed(http, tokens.refresh_token)).json()["data"]
    await refreshed(http, fresh["refresh_token"][:-1])  # and that is the end of the session
    for token in (tokens.access_token, fresh["access_token"], personal.token, personal.token[:-1]):
        await is_let_in(served, token)
    secrets = [
        tokens.access_token,
        tokens.refresh_token,
        personal.token,
        begun["device_code"],
        *(fresh[name] for name in ("access_token", "refresh_token")),
    ]
    assert caplog.text
    for secret in secrets:
        assert secret not in caplog.text and secret.rpartition(".")[2][-20:] not in caplog.text

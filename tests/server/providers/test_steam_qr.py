"""Steam's sign-in by QR code at the wire: every way in which a session goes on or ends, and the tokens that come of it."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integ_server.contract.errors import (
    AuthenticationError,
    IntegError,
    PermissionDeniedError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
)
from integ_server.providers import _steam_tokens as tokens
from integ_server.providers.base import Credentials, ProviderConfig, QrSession, SignedInAccount
from integ_server.providers.steam import Steam
from integ_server.sandbox.steam_auth import Knobs, Phone
from integ_server.upstream import install_redaction
from tests.conftest_sandbox import RunningSandbox
from tests.server.providers.outside import over, through

STEAMID = "76561198000000001"
BEGUN = {
    "client_id": "5713928841207733190",
    "challenge_url": "https://s.team/q/1/5713928841207733190",
    "request_id": "q1V4mC0n8bq7cQe0s0pTjA==",
    "interval": 5,
}


def phone(sandbox: RunningSandbox) -> Phone:
    return sandbox.sandbox.state.part(Phone)


def token(sub: object = STEAMID, *, days: float = 200, **more: object) -> str:
    claims = {"sub": sub, "exp": int((datetime.now(UTC) + timedelta(days=days)).timestamp()), **more}
    parts = (b'{"typ": "JWT", "alg": "EdDSA"}', json.dumps(claims).encode(), b"signature")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def answering(response: Any = None, *, result: int = 1, status: int = 200) -> Steam:
    """Steam, answering this to everything."""
    answer = {"response": {} if response is None else response}
    return Steam(over(lambda _request: httpx.Response(status, json=answer, headers={"x-eresult": str(result)})))


def waiting() -> QrSession:
    handle = json.dumps({"client_id": BEGUN["client_id"], "request_id": BEGUN["request_id"]})
    return QrSession(str(BEGUN["challenge_url"]), handle, 5.0)


async def polled(session: QrSession | SignedInAccount) -> QrSession:
    assert isinstance(session, QrSession)
    return session


async def signed_in(store: Steam, sandbox: RunningSandbox) -> SignedInAccount:
    session = await store.begin_qr("Integ")
    phone(sandbox).newest.stage = "approved"
    told = await store.poll_qr(session)
    assert isinstance(told, SignedInAccount)
    return told


# --- the way through -------------------------------------------------------------------------------------------------


async def test_a_scanned_and_confirmed_code_signs_in_and_reads_the_library_without_any_key(sandbox: RunningSandbox) -> None:
    async with through(sandbox.url) as http:
        store = Steam(http)
        session = await store.begin_qr("Integ at games.example")
        assert session.address == phone(sandbox).newest.challenge
        assert (session.poll_every_s, session.is_scanned) == (5.0, False)
        assert phone(sandbox).newest.device == "Integ at games.example"
        assert await store.poll_qr(session) == session, "nobody scanned it yet"

        phone(sandbox).newest.stage = "scanned"
        session = await polled(await store.poll_qr(session))
        assert session.is_scanned

        phone(sandbox).newest.stage = "approved"
        told = await store.poll_qr(session)
        assert isinstance(told, SignedInAccount)
        assert (told.credentials.account, told.display_name) == (sandbox.world.steam_id, sandbox.world.persona)
        assert told.credentials.secret in phone(sandbox).refresh
        sandbox.faults.on("steam.private_profile")  # a token sees its own account's games all the same
        assert [game async for game in store.owned_games(told.credentials)]
    asked = [each for each in sandbox.requests if each.path.startswith("/IPlayerService/")]
    assert all("access_token=" in each.query and "&key=" not in f"&{each.query}" for each in asked)


async def test_the_session_says_that_it_is_a_mobile_app_s_so_that_its_tokens_can_be_renewed(sandbox: RunningSandbox) -> None:
    async with through(sandbox.url) as http:
        store = Steam(http)
        told = await signed_in(store, sandbox)
        assert set(phone(sandbox).refresh.values()) == {3}
        fresh = await store.renew(told.credentials)
    assert fresh.access_token != told.credentials.access_token
    assert fresh.secret == told.credentials.secret
    assert fresh.access_expires_at is not None
    assert timedelta(hours=23) < fresh.access_expires_at - datetime.now(UTC) < timedelta(hours=25)


async def test_the_platform_is_sent_in_both_places_and_no_secret_in_an_address() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"response": BEGUN}, headers={"x-eresult": "1"})

    store = Steam(over(handle))
    session = await store.begin_qr("Integ")
    await store.poll_qr(session)
    form = dict(parse_qsl(asked[0].content.decode()))
    assert (form["platform_type"], form["device_details[platform_type]"]) == ("3", "3")
    assert dict(parse_qsl(asked[1].content.decode())) == {"client_id": BEGUN["client_id"], "request_id": BEGUN["request_id"]}
    assert all(request.method == "POST" and not request.url.query for request in asked)


async def test_a_code_that_changed_is_polled_for_by_its_new_number_and_the_old_request(sandbox: RunningSandbox) -> None:
    async with through(sandbox.url) as http:
        store = Steam(http)
        first = await store.begin_qr("Integ")
        sandbox.faults.on("qr.rotated", times=1)
        second = await polled(await store.poll_qr(first))
        assert second.address == phone(sandbox).newest.challenge != first.address
        assert json.loads(second.handle)["request_id"] == json.loads(first.handle)["request_id"]
        phone(sandbox).newest.stage = "approved"
        assert isinstance(await store.poll_qr(second), SignedInAccount)


async def test_a_new_number_without_a_new_address_makes_one() -> None:
    told = await polled(await answering({"new_client_id": 77}).poll_qr(waiting()))
    assert told.address == "https://s.team/q/1/77"


async def test_an_account_whose_access_token_did_not_come_gets_it_by_a_renewal(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("qr.no_access_token")
    async with through(sandbox.url) as http:
        told = await signed_in(Steam(http), sandbox)
    assert told.credentials.access_token in phone(sandbox).access
    assert told.display_name == sandbox.world.persona


async def test_where_even_the_renewal_fails_the_lasting_half_is_kept() -> None:
    refresh = token()

    def handle(request: httpx.Request) -> httpx.Response:
        if "PollAuth" in request.url.path:
            return httpx.Response(200, json={"response": {"refresh_token": refresh}}, headers={"x-eresult": "1"})
        return httpx.Response(503)

    told = await Steam(over(handle)).poll_qr(waiting())
    assert isinstance(told, SignedInAccount)
    assert told.credentials == Credentials(STEAMID, refresh)
    assert told.display_name == STEAMID


async def test_who_has_no_name_at_steam_is_called_by_the_account(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.keys_only")
    async with through(sandbox.url) as http:
        told = await signed_in(Steam(http), sandbox)
    assert told.display_name == sandbox.world.steam_id


async def test_the_backend_s_key_helps_where_a_method_takes_no_token(sandbox: RunningSandbox) -> None:
    sandbox.faults.on("steam.keys_only")
    async with through(sandbox.url) as http:
        told = await signed_in(Steam(http, ProviderConfig(steam_api_key=sandbox.world.steam_key)), sandbox)
    assert told.display_name == sandbox.world.persona


async def test_achievements_that_take_a_key_are_not_mistaken_for_the_end_of_the_sign_in() -> None:
    store = Steam(over(lambda _request: httpx.Response(401, text="<html>Unauthorized</html>")))
    with pytest.raises(PermissionDeniedError):
        await store.achievements(Credentials(STEAMID, token(), token(days=1)), "620")


# --- how it ends otherwise -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["qr.denied", "qr.expired", "qr.unknown", "qr.server_error", "qr.agreement"])
async def test_a_session_that_is_over_is_told_as_over(sandbox: RunningSandbox, fault: str) -> None:
    async with through(sandbox.url) as http:
        store = Steam(http)
        session = await store.begin_qr("Integ")
        sandbox.faults.on(fault)
        with pytest.raises(AuthenticationError) as told:
            await store.poll_qr(session)
    assert told.value.hint


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("qr.busy", ProviderUnavailableError),
        ("steam.down", ProviderUnavailableError),
        ("steam.html", ProviderUnavailableError),
        ("steam.rate_limited", RateLimitedError),
        ("steam.rate_limited_silent", RateLimitedError),
    ],
)
async def test_steam_s_trouble_does_not_end_a_session(sandbox: RunningSandbox, fault: str, kind: type[IntegError]) -> None:
    async with through(sandbox.url) as http:
        store = Steam(http)
        session = await store.begin_qr("Integ")
        phone(sandbox).newest.stage = "approved"
        sandbox.faults.on(fault, times=1)
        with pytest.raises(kind) as told:
            await store.poll_qr(session)
        assert type(told.value) is kind
        assert isinstance(await store.poll_qr(session), SignedInAccount)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_block_of_our_address_is_told_as_passing(status: int) -> None:
    store = answering(status=status)
    for call in (store.begin_qr("Integ"), store.poll_qr(waiting())):
        with pytest.raises(ProviderUnavailableError):
            await call


@pytest.mark.parametrize(("fault", "kind"), [("qr.not_offered", ProviderError), ("qr.too_often", RateLimitedError)])
async def test_a_sign_in_that_can_t_be_begun_is_told(sandbox: RunningSandbox, fault: str, kind: type[IntegError]) -> None:
    sandbox.faults.on(fault)
    async with through(sandbox.url) as http:
        with pytest.raises(kind):
            await Steam(http).begin_qr("Integ")


@pytest.mark.parametrize(
    "changed",
    [
        {"challenge_url": "https://s.team.evil.example/q/1/5"},
        {"challenge_url": "http://s.team/q/1/5"},
        {"challenge_url": "https://s.team/q/1/5?x"},
        {"challenge_url": "https://s.team/q/1/5\n"},
        {"challenge_url": ""},
        {"client_id": "0"},
        {"client_id": "-1"},
        {"client_id": "1&x=2"},
        {"request_id": ""},
        {"request_id": "a b"},
        {"client_id": None},
        {"interval": "soon"},
    ],
    ids=json.dumps,
)
async def test_a_beginning_that_is_none_is_told_and_never_shown_as_a_code(changed: dict[str, Any]) -> None:
    with pytest.raises(ProviderError):
        await answering({**BEGUN, **changed}).begin_qr("Integ")


async def test_numbers_may_be_numbers_and_odd_pauses_are_five_seconds() -> None:
    begun = await answering({**BEGUN, "client_id": 57, "interval": 0.01}).begin_qr("Integ")
    assert json.loads(begun.handle)["client_id"] == "57"
    assert begun.poll_every_s == 5.0
    without = {name: value for name, value in BEGUN.items() if name != "interval"}
    assert (await answering(without).begin_qr("Integ")).poll_every_s == 5.0


async def test_a_code_that_changes_to_a_foreign_address_is_refused() -> None:
    with pytest.raises(ProviderError):
        await answering({"new_client_id": "7", "new_challenge_url": "https://evil.example/q/1/7"}).poll_qr(waiting())


@pytest.mark.parametrize(
    ("access", "refresh"),
    [
        ("no token", token()),
        (token(), token("76561198000000002")),
        (token("me"), token("me")),
        (token(), "a.b.c"),
        (token(sub=None), token()),
    ],
    ids=["no access token", "another account", "no SteamID", "no refresh token", "nobody"],
)
async def test_tokens_that_do_not_belong_together_sign_nobody_in(access: str, refresh: str) -> None:
    with pytest.raises(ProviderError):
        await answering({"access_token": access, "refresh_token": refresh}).poll_qr(waiting())


# --- renewal ---------------------------------------------------------------------------------------------------------


def renewing(response: dict[str, object], asked: list[dict[str, str]] | None = None, *, result: int = 1, status: int = 200) -> Steam:
    def handle(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(dict(parse_qsl(request.content.decode())))
        return httpx.Response(status, json={"response": response}, headers={"x-eresult": str(result)})

    return Steam(over(handle))


async def test_a_refresh_token_is_asked_to_be_renewed_only_near_its_end_and_the_new_one_is_kept() -> None:
    asked: list[dict[str, str]] = []
    old, near, new = token(days=200), token(days=20), token(days=205)
    kept = await renewing({"access_token": token(days=1)}, asked).renew(Credentials(STEAMID, old))
    changed = await renewing({"access_token": token(days=1), "refresh_token": new}, asked).renew(Credentials(STEAMID, near))
    assert [each["renewal_type"] for each in asked] == ["0", "1"]
    assert (kept.secret, changed.secret) == (old, new)
    assert asked[0]["steamid"] == STEAMID


@pytest.mark.parametrize("result", [5, 9, 15, 27])
async def test_a_sign_in_that_steam_ended_is_over(result: int) -> None:
    with pytest.raises(AuthenticationError):
        await renewing({}, result=result).renew(Credentials(STEAMID, token()))


@pytest.mark.parametrize("fault", ["steam.refresh_over"])
async def test_a_revoked_refresh_token_is_over_at_the_stand_in_too(sandbox: RunningSandbox, fault: str) -> None:
    async with through(sandbox.url) as http:
        store = Steam(http)
        told = await signed_in(store, sandbox)
        sandbox.faults.on(fault)
        with pytest.raises(AuthenticationError):
            await store.renew(told.credentials)


@pytest.mark.parametrize(
    ("result", "status"), [(2, 200), (8, 200), (10, 200), (20, 200), (84, 200), (1, 401), (1, 403), (1, 500), (1, 502), (1, 429)]
)
async def test_nothing_else_ends_a_sign_in(result: int, status: int) -> None:
    with pytest.raises(ProviderError):
        await renewing({}, result=result, status=status).renew(Credentials(STEAMID, token()))


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"access_token": ""},
        {"access_token": "x.y.z"},
        {"access_token": token("76561198000000002")},
        {"access_token": token(), "refresh_token": token("76561198000000002")},
    ],
    ids=["nothing", "empty", "no token", "somebody else's", "somebody else's refresh token"],
)
async def test_a_renewal_that_is_none_is_told(response: dict[str, object]) -> None:
    with pytest.raises(ProviderError):
        await renewing(response).renew(Credentials(STEAMID, token()))


def test_a_key_never_runs_out_and_a_token_does() -> None:
    store = answering()
    assert not store.runs_out(Credentials(STEAMID, "0123456789ABCDEF0123456789ABCDEF"))
    assert not store.runs_out(Credentials(STEAMID, ""))
    assert store.runs_out(Credentials(STEAMID, token()))


async def test_a_refresh_token_is_never_sent_as_a_key() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"response": {"game_count": 0}})

    with pytest.raises(AuthenticationError):
        [game async for game in Steam(over(handle)).owned_games(Credentials(STEAMID, token()))]
    assert asked == []


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_who_a_token_is_for_and_until_when_is_read_from_its_claims() -> None:
    claims = tokens.claims_of(token(days=1))
    assert claims.account == STEAMID
    assert claims.expires_at is not None
    assert abs(claims.expires_at - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)
    assert tokens.claims_of(token(exp="never")).expires_at is None


def odd_tokens() -> st.SearchStrategy[str]:
    payloads = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
    made = payloads.map(lambda value: "e30." + base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=") + ".x")
    return (
        st.text()
        | made
        | st.dictionaries(st.sampled_from(["sub", "exp", "iat"]), payloads).map(lambda claims: token(**{"sub": STEAMID, **claims}))
    )


@given(odd_tokens())
def test_any_text_is_a_token_of_a_person_or_told_to_be_none(text: str) -> None:
    try:
        claims = tokens.claims_of(text)
    except ProviderError as error:
        assert text[:40] not in error.message or len(text) < 12
        return
    assert claims.account.isdigit()


@given(
    st.dictionaries(
        st.sampled_from(["new_client_id", "new_challenge_url", "refresh_token", "access_token", "had_remote_interaction"]),
        st.none() | st.text() | st.integers() | st.booleans(),
    ),
    st.integers(0, 100),
)
async def test_any_answer_to_a_poll_is_a_session_an_account_or_one_of_our_errors(response: dict[str, Any], result: int) -> None:
    try:
        told = await answering(response, result=result).poll_qr(waiting())
    except IntegError:
        return
    assert isinstance(told, QrSession)
    assert told.address.startswith("https://s.team/q/")


async def test_no_token_reaches_a_log_an_error_or_a_text(sandbox: RunningSandbox, caplog: pytest.LogCaptureFixture) -> None:
    install_redaction()
    caplog.set_level(logging.DEBUG)
    async with through(sandbox.url) as http:
        store = Steam(http)
        session = await store.begin_qr("Integ")
        phone(sandbox).newest.stage = "approved"
        told = await store.poll_qr(session)
        assert isinstance(told, SignedInAccount)
        login = told.credentials
        _ = [game async for game in store.owned_games(login)]
        sandbox.faults.on("steam.access_over")
        with pytest.raises(AuthenticationError) as refused:
            _ = [game async for game in store.owned_games(login)]
        sandbox.faults.on("steam.refresh_over")
        with pytest.raises(AuthenticationError) as over_:
            await store.renew(login)
    shown = (
        caplog.text
        + repr(told)
        + repr(session)
        + "".join(traceback.format_exception(refused.value) + traceback.format_exception(over_.value))
    )
    for secret in (login.access_token, login.secret, login.access_token.split(".")[1], json.loads(session.handle)["request_id"]):
        assert secret not in shown


async def test_an_access_token_that_ran_out_is_refused_and_a_renewed_one_reads_on(sandbox: RunningSandbox) -> None:
    async with through(sandbox.url) as http:
        store = Steam(http)
        sandbox.sandbox.state.part(Knobs).access_ttl_s = -1
        login = (await signed_in(store, sandbox)).credentials
        with pytest.raises(AuthenticationError):
            _ = [game async for game in store.owned_games(login)]
        sandbox.sandbox.state.part(Knobs).access_ttl_s = 3600
        fresh = await store.renew(replace(login))
        assert [game async for game in store.owned_games(fresh)]

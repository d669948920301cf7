"""Who somebody is on a backend for many: whoever a store says they are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from integ_server.contract.errors import AuthenticationError, PermissionDeniedError
from integ_server.contract.types import SignInAnswer, SignInStart, SignInWay
from integ_server.models.account import Account
from integ_server.models.tables import accounts as account_rows
from integ_server.models.tables import users as user_rows
from integ_server.providers.base import Credentials, SignedInAccount
from integ_server.services import accounts, users
from integ_server.services.access import opened
from tests.fakes import Shelf, fake_store
from tests.server.conftest import OpenServed, Served

PAGE = "page/a browser's session"


async def serving(open_served: OpenServed, **more: Any) -> Served:
    shelf = Shelf(games={"ann": [], "ann's second": [], "eve": [], "bob": []})
    served: Served = await open_served({"fake": fake_store(shelf), "other": fake_store(shelf, "other")}, **more)
    return served


async def came_in(served: Served, account: str, provider: str = "fake", way: SignInWay = SignInWay.OPENID) -> str:
    """Sign in on the page with a store account: the id of the user that one is."""
    state, api_key = "", "a key"
    if way is SignInWay.OPENID:
        start = SignInStart(way=way, return_to="https://integ.example/auth/callback")
        state, api_key = (await accounts.begin(served.backend, PAGE, provider, start)).state, ""
    answer = SignInAnswer(way=way, state=state, query=f"account={account}", code=f"code-{account}", account=account, api_key=api_key)
    confirmed = await accounts.confirm(served.backend, PAGE, provider, answer)
    async with served.backend.db.writing.begin() as session:
        return await users.sign_in_with(served.backend, session, provider, confirmed)


async def link(served: Served, user: str, account: str, provider: str = "fake", way: SignInWay = SignInWay.CODE, key: str = "") -> None:
    """Add an account to a user who is signed in."""
    answer = SignInAnswer(way=way, code=f"code-{account}", account=account, api_key=key)
    confirmed = await accounts.confirm(served.backend, user, provider, answer)
    async with served.backend.db.writing.begin() as session:
        await accounts.link(served.backend, session, user, provider, confirmed)


async def sign_out(served: Served, user: str, provider: str | None = None, account: str | None = None) -> None:
    async with served.backend.db.writing.begin() as session:
        await accounts.sign_out(session, user, provider, account)


async def accounts_of(served: Served, user: str) -> list[tuple[str, str]]:
    async with served.backend.db.reading() as session:
        return [(each.provider, each.account) for each in await accounts.infos(session, user)]


async def test_a_store_account_that_nobody_has_makes_a_user_and_is_that_user_from_then_on(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann, eve = await came_in(served, "ann"), await came_in(served, "eve")
    assert ann != eve
    assert await came_in(served, "ann") == ann and await came_in(served, "ann", way=SignInWay.CODE) == ann
    assert await accounts_of(served, ann) == [("fake", "ann")]
    http = await served.http((await served.new_tokens(ann)).access_token)
    assert (await http.get("/users/me")).json()["data"]["name"] == "ann's games"


async def test_every_account_that_a_user_linked_lets_them_in(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann = await came_in(served, "ann")
    await link(served, ann, "ann's second")
    await link(served, ann, "ann", "other")
    assert await accounts_of(served, ann) == [("fake", "ann"), ("fake", "ann's second"), ("other", "ann")]
    assert {await came_in(served, "ann's second"), await came_in(served, "ann", "other")} == {ann}
    assert await came_in(served, "eve", "other") != ann


async def test_an_account_that_belongs_to_another_user_is_refused_with_a_way_out(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann, eve = await came_in(served, "ann"), await came_in(served, "eve")
    with pytest.raises(PermissionDeniedError, match="belongs to another user") as caught:
        await link(served, eve, "ann")
    assert "integ logout fake" in caught.value.hint
    assert await accounts_of(served, eve) == [("fake", "eve")]
    await link(served, ann, "ann", "other")
    await sign_out(served, ann, "fake")  # the way out
    await link(served, eve, "ann")
    assert await came_in(served, "ann") == eve
    assert await came_in(served, "ann", "other") == ann


async def test_a_closed_backend_lets_in_whom_it_knows_and_nobody_new(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann = await came_in(served, "ann")
    closed = await serving(open_served, registration="closed")
    assert await came_in(closed, "ann") == ann
    with pytest.raises(PermissionDeniedError, match="no new players"):
        await came_in(closed, "eve")
    await link(closed, ann, "eve")  # whom it knows may bring further accounts
    assert await came_in(closed, "eve") == ann


async def test_whoever_signed_out_of_their_only_store_comes_back_as_themselves(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann = await came_in(served, "ann")
    await sign_out(served, ann)
    assert await came_in(served, "ann") == ann


async def test_an_account_that_was_given_away_opens_nothing_of_who_had_it(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann = await came_in(served, "ann")
    await link(served, ann, "ann's second")
    await sign_out(served, ann, "fake", "ann's second")
    assert await came_in(served, "ann's second") != ann


async def test_two_browsers_that_bring_a_new_account_at_once_make_one_user(open_served: OpenServed) -> None:
    served = await serving(open_served)
    found = await asyncio.gather(*(came_in(served, "bob", way=SignInWay.CODE) for _ in range(5)), return_exceptions=True)
    known = {each for each in found if isinstance(each, str)}
    assert len(known) == 1
    assert {await came_in(served, "bob")} == known


async def test_a_key_alone_proves_nothing_about_an_account(open_served: OpenServed) -> None:
    """Anybody can name anybody's SteamID beside a key of their own: it must neither sign in nor take the account's place."""
    served = await serving(open_served)
    eve = await came_in(served, "eve")
    with pytest.raises(PermissionDeniedError, match="does not prove"):
        await came_in(served, "ann", way=SignInWay.API_KEY)
    with pytest.raises(PermissionDeniedError, match="does not prove"):
        await link(served, eve, "ann", way=SignInWay.API_KEY, key="eve's key")
    ann = await came_in(served, "ann")
    with pytest.raises(PermissionDeniedError, match="does not prove"):
        await link(served, eve, "ann", way=SignInWay.API_KEY, key="eve's key")
    assert await accounts_of(served, ann) == [("fake", "ann")]


async def test_whoever_proved_an_account_may_give_it_a_key(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann = await came_in(served, "ann")
    await link(served, ann, "ann", way=SignInWay.API_KEY, key="ann's own key")
    assert await _secret(served, "ann") == "ann's own key"


async def test_a_sign_in_that_brings_no_secret_takes_none_away(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann = await came_in(served, "ann")
    await link(served, ann, "ann", way=SignInWay.API_KEY, key="ann's own key")
    async with served.backend.db.writing.begin() as session:  # as Steam's OpenID does where the backend has a key
        assert await users.sign_in_with(served.backend, session, "fake", SignedInAccount(Credentials("ann", ""), "Ann")) == ann
    assert await _secret(served, "ann") == "ann's own key"


async def test_a_page_of_another_browser_can_not_finish_what_this_one_began(open_served: OpenServed) -> None:
    served = await serving(open_served)
    start = SignInStart(way=SignInWay.OPENID, return_to="https://integ.example/auth/callback")
    state = (await accounts.begin(served.backend, PAGE, "fake", start)).state
    answer = SignInAnswer(way=SignInWay.OPENID, state=state, query="account=eve")
    with pytest.raises(AuthenticationError, match="not begun here"):
        await accounts.confirm(served.backend, "page/another", "fake", answer)


async def _secret(served: Served, account: str) -> str:
    async with served.backend.db.reading() as session:
        row = (await session.execute(select(Account).where(account_rows.c.account == account))).scalar_one()
        return opened(row, served.backend.vault).secret


async def test_a_user_is_shown_as_their_store_shows_them_and_known_for_a_while(open_served: OpenServed) -> None:
    served = await serving(open_served)
    ann = await came_in(served, "ann")
    assert await users.find_profile(served.backend, ann) == users.Profile("ann's games", None)
    async with served.backend.db.writing.begin() as session:
        await session.execute(user_rows.update().values(name="Somebody else"))
    assert await users.find_profile(served.backend, ann) == users.Profile("ann's games", None)  # out of the cache
    pictured = SignedInAccount(Credentials("ann", ""), "Ann", avatar_url="https://avatars.example/ann.jpg")
    async with served.backend.db.writing.begin() as session:
        await users.sign_in_with(served.backend, session, "fake", pictured)
    assert await users.find_profile(served.backend, ann) == users.Profile("Somebody else", "https://avatars.example/ann.jpg")
    http = await served.http((await served.new_tokens(ann)).access_token)
    me = (await http.get("/users/me")).json()["data"]
    assert (me["name"], me["avatar_url"]) == ("Somebody else", "https://avatars.example/ann.jpg")
    assert await users.find_profile(served.backend, "nobody") is None

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from integ_server.contract.errors import (
    AccountNotFoundError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ProviderUnavailableError,
    UsageError,
)
from integ_server.contract.types import SignInAnswer, SignInStart, SignInWay
from integ_server.models.tables import users
from integ_server.providers.base import Credentials, StoreProfile
from integ_server.services import accounts, jobs
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenPlayer, Player

LOOPBACK = "http://127.0.0.1:5000/callback"


async def _a_player(open_player: OpenPlayer, **more: Any) -> Player:
    shelf = Shelf(games={"ann": [owned("1", "Lantern Keep")], "bob": [owned("2")]})
    player: Player = await open_player({"fake": fake_store(shelf), "other": fake_store(shelf, "other")}, **more)
    return player


async def _begin(player: Player, return_to: str = LOOPBACK, user: str = "local") -> str:
    start = SignInStart(way=SignInWay.OPENID, return_to=return_to)
    return (await accounts.begin(player.backend, user, "fake", start)).state


def _answer(state: str, account: str = "ann") -> SignInAnswer:
    return SignInAnswer(way=SignInWay.OPENID, state=state, query=f"account={account}")


async def test_the_page_carries_the_state_in_the_address_to_come_back_to(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    page = await accounts.begin(player.backend, "local", "fake", SignInStart(way=SignInWay.OPENID, return_to=LOOPBACK))
    assert page.address == f"https://fake.example/sign-in?to={LOOPBACK}?state={page.state}"
    assert len(page.state) >= 40


async def test_the_page_is_rewritten_when_everything_goes_elsewhere(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player, upstream_url="http://127.0.0.1:9/")
    page = await accounts.begin(player.backend, "local", "fake", SignInStart(way=SignInWay.CODE))
    assert page.address.startswith("http://127.0.0.1:9/fake.example/sign-in")


async def test_a_state_counts_once_even_when_two_bring_it_at_the_same_time(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    state = await _begin(player)
    tries = [accounts.confirm(player.backend, "local", "fake", _answer(state)) for _ in range(5)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, AuthenticationError) for each in results) == 4


@pytest.mark.parametrize(
    ("user", "provider", "way"),
    [("somebody", "fake", SignInWay.OPENID), ("local", "other", SignInWay.OPENID), ("local", "fake", SignInWay.CODE)],
)
async def test_a_state_is_good_for_its_own_user_store_and_way_only(
    open_player: OpenPlayer, user: str, provider: str, way: SignInWay
) -> None:
    player = await _a_player(open_player)
    state = await _begin(player)
    answer = SignInAnswer(way=way, state=state, query="account=ann", code="code-ann")
    with pytest.raises(AuthenticationError, match="not begun here"):
        await accounts.confirm(player.backend, user, provider, answer)
    with pytest.raises(AuthenticationError):  # and it was used up by the attempt
        await accounts.confirm(player.backend, "local", "fake", _answer(state))


async def test_an_assertion_without_a_state_is_nobodys(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    for state in ("", "made-up", "x" * 5000):
        with pytest.raises(AuthenticationError, match="not begun here"):
            await accounts.confirm(player.backend, "local", "fake", _answer(state))


async def test_an_assertions_nonce_counts_once(open_player: OpenPlayer, monkeypatch: pytest.MonkeyPatch) -> None:
    player = await _a_player(open_player)
    monkeypatch.setattr(type(player.backend.stores["fake"]), "nonce_of", staticmethod(lambda query: "2026-n"), raising=False)
    await accounts.confirm(player.backend, "local", "fake", _answer(await _begin(player)))
    state = await _begin(player)
    with pytest.raises(AuthenticationError, match="used already"):
        await accounts.confirm(player.backend, "local", "fake", _answer(state))


@pytest.mark.parametrize(
    "return_to",
    [
        "",
        "https://evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://evil@127.0.0.1/",
        "https://integ.example.evil.example/",
        "javascript:alert(1)",
        "http://[::1",
        "http://127.0.0.1:1/#x",
        "//127.0.0.1/",
    ],
)
async def test_a_browser_is_sent_back_to_this_machine_or_this_backend_only(open_player: OpenPlayer, return_to: str) -> None:
    player = await _a_player(open_player, public_url="https://integ.example")
    with pytest.raises(UsageError):
        await _begin(player, return_to)


async def test_the_backends_own_address_and_every_loopback_are_good(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player, public_url="https://integ.example")
    for good in ("https://integ.example/auth/fake/callback", "http://localhost:1/x", "http://[::1]:8/", "http://127.0.0.1:65535/?a=b"):
        assert await _begin(player, good)


async def test_a_store_or_a_way_that_does_not_exist_is_told(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    with pytest.raises(NotFoundError):
        await accounts.begin(player.backend, "local", "epic", SignInStart(way=SignInWay.CODE))
    player.backend.stores["fake"].__class__.ways = (SignInWay.CODE,)
    with pytest.raises(UsageError):
        await accounts.begin(player.backend, "local", "fake", SignInStart(way=SignInWay.API_KEY))
    with pytest.raises(UsageError):
        await accounts.confirm(player.backend, "local", "fake", SignInAnswer(way=SignInWay.API_KEY, account="ann"))


async def test_an_answer_without_an_end_is_not_handed_to_a_store(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    with pytest.raises(UsageError, match="too long"):
        await accounts.confirm(player.backend, "local", "fake", SignInAnswer(way=SignInWay.CODE, code="x" * 20_000))


async def test_an_account_of_another_user_is_refused_until_it_is_signed_out_there(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    async with player.backend.db.writing.begin() as session:
        row = {"id": "eve", "name": "Eve", "revision": 1, "first_revision": 1, "created_at": datetime.now(UTC)}
        await session.execute(users.insert().values(**row))
    await player.sign_in("fake", "ann")
    await player.pull()
    with pytest.raises(PermissionDeniedError):
        await player.sign_in("fake", "ann", user="eve")

    await player.sign_out()
    await player.sign_in("fake", "ann", user="eve")

    eve = Player(player.backend, "eve")
    await eve.pull()
    assert [each.key for each in (await eve.everything()).releases] == ["fake:1"]
    assert (await player.everything()).releases == []


async def test_signing_in_again_is_the_same_account(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    for _ in range(2):
        await player.sign_in("fake", "ann")
    async with player.backend.db.reading() as session:
        assert [(each.provider, each.account, each.display_name) for each in await accounts.infos(session, "local")] == [
            ("fake", "ann", "ann's games")
        ]


async def test_signing_out_takes_the_games_away_and_signing_in_brings_them_back_under_the_same_title(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    await player.sign_in("fake", "ann")
    await player.sign_in("fake", "bob")
    await player.pull()
    before, since = await player.partition(), (await player.changes()).revision

    await player.sign_out("fake", "ann")

    assert [(each.key, each.removed) for each in (await player.changes(since)).releases] == [("fake:1", True)]
    async with player.backend.db.reading() as session:
        assert [each.account for each in await accounts.infos(session, "local")] == ["bob"]
    await player.sign_in("fake", "ann")
    await player.pull()
    assert await player.partition() == before


async def test_signing_out_nobody_is_told(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    with pytest.raises(AccountNotFoundError):
        await player.sign_out()
    await player.sign_in("fake", "ann")
    for provider, account in (("other", None), ("fake", "zoe"), (None, "zoe")):
        with pytest.raises(AccountNotFoundError):
            await player.sign_out(provider, account)


async def test_a_store_with_keys_says_so_until_the_backend_has_one(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": []})
    steam = fake_store(shelf, "steam")
    steam.key_page = "https://steam.example/key"  # type: ignore[attr-defined]
    without: Player = await open_player({"steam": steam})
    (told,) = accounts.provider_infos(without.backend)
    assert (told.needs_api_key, told.api_key_page) == (True, "https://steam.example/key")
    page = await accounts.begin(without.backend, "local", "steam", SignInStart(way=SignInWay.OPENID, return_to=LOOPBACK))
    with pytest.raises(AuthenticationError, match="key") as caught:
        await accounts.confirm(without.backend, "local", "steam", _answer(page.state))
    assert "https://steam.example/key" in caught.value.hint

    having: Player = await open_player({"steam": steam}, steam_api_key="0" * 32)
    assert not accounts.provider_infos(having.backend)[0].needs_api_key


async def test_signing_out_ends_a_job_that_waits_so_that_whoever_watches_it_hears(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    await player.sign_in("fake", "ann")
    (job_id,) = await player.start()
    await player.sign_out()
    async with player.backend.db.reading() as session:
        job = await jobs.get_job(session, player.user, job_id)
    assert (job.state, (job.error or {})["error"]) == ("failed", "AccountNotFoundError")
    assert await jobs.claim(player.backend, job_id) is None


async def test_a_store_profile_is_kept_and_followed_once_a_day_without_holding_up_a_sync(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    profiles: list[StoreProfile | Exception | None] = [StoreProfile("Ann\x1b[1m the Great", "https://a.example/1.jpg", "javascript:no")]
    asked: list[str] = []

    class Shows(fake_store(shelf)):  # type: ignore[misc]
        async def profile(self, login: Credentials) -> StoreProfile | None:
            asked.append(login.account)
            if isinstance(profiles[-1], Exception):
                raise profiles[-1]
            return profiles[-1]

    player: Player = await open_player({"fake": Shows})
    await player.sign_in("fake", "ann")

    async def shown() -> tuple[str, str | None, str | None]:
        async with player.backend.db.reading() as session:
            (info,) = await accounts.infos(session, player.user)
        return info.display_name, info.avatar_url, info.profile_url

    await player.pull()
    assert await shown() == ("Ann[1m the Great", "https://a.example/1.jpg", None)
    profiles.append(StoreProfile("Ann", "", "https://a.example/ann"))
    await player.pull()
    assert len(asked) == 1, "a day is not over"
    await player.backend.cache.delete("profile-read/1")
    await player.pull()
    assert await shown() == ("Ann", "https://a.example/1.jpg", "https://a.example/ann")
    profiles.append(ProviderUnavailableError("down"))
    await player.backend.cache.delete("profile-read/1")
    assert (await player.pull()).total == 1
    assert (await shown())[0] == "Ann" and len(asked) == 3

"""A sign-in by QR code as the backend keeps it: whose it is, how often the store is asked, when it ends, and what comes after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from integ_server.contract.errors import AuthenticationError, NotFoundError, ProviderUnavailableError, UsageError
from integ_server.contract.sign_in import SignInPending
from integ_server.contract.types import AccountState, SignInAnswer, SignInPage, SignInStart, SignInWay
from integ_server.models.tables import accounts as accounts_table
from integ_server.providers.base import SignedInAccount
from integ_server.providers.gog import Gog
from integ_server.providers.steam import Steam
from integ_server.sandbox.steam_auth import Knobs, Phone
from integ_server.services import access, accounts, qr_sign_in
from tests.conftest_sandbox import RunningSandbox
from tests.server.conftest import OpenPlayer, Player, player_on

Poll = Callable[[], Awaitable[SignInPending | SignedInAccount]]


@pytest.fixture
async def player(sqlite_url: str, sandbox: RunningSandbox) -> AsyncIterator[Player]:
    async with player_on(sqlite_url, {"steam": Steam, "gog": Gog}, upstream_url=sandbox.url) as made:
        yield made


def phone(sandbox: RunningSandbox) -> Phone:
    return sandbox.sandbox.state.part(Phone)


async def begun(player: Player) -> SignInPage:
    return await accounts.begin(player.backend, player.user, "steam", SignInStart(way=SignInWay.QR))


async def polled(player: Player, page: SignInPage, *, at_once: bool = True) -> SignInPending | SignedInAccount:
    """A poll that does not wait for its turn, unless *at_once* is off."""
    if at_once:
        await player.backend.cache.delete(f"sign-in-qr-turn/{page.state}")
    return await qr_sign_in.poll(player.backend, player.user, "steam", page.state)


async def sign_in(player: Player, sandbox: RunningSandbox) -> SignedInAccount:
    page = await begun(player)
    phone(sandbox).newest.stage = "approved"
    told = await polled(player, page)
    assert isinstance(told, SignedInAccount)
    async with player.backend.db.writing.begin() as session:
        await accounts.link(player.backend, session, player.user, "steam", told)
    return told


async def test_a_sign_in_goes_from_waiting_over_scanned_to_an_account(player: Player, sandbox: RunningSandbox) -> None:
    page = await begun(player)
    assert (page.way, page.address, page.poll_every_s) == (SignInWay.QR, phone(sandbox).newest.challenge, 5.0)
    assert await polled(player, page) == SignInPending(stage="waiting", address=page.address, poll_every_s=5.0)
    phone(sandbox).newest.stage = "scanned"
    assert await polled(player, page) == SignInPending(stage="scanned", address=page.address, poll_every_s=5.0)
    phone(sandbox).newest.stage = "approved"
    told = await polled(player, page)
    assert isinstance(told, SignedInAccount)
    assert told.credentials.account == sandbox.world.steam_id
    with pytest.raises(AuthenticationError, match="not begun here"):
        await polled(player, page)


async def test_a_code_that_changed_is_told_and_polled_for_from_then_on(player: Player, sandbox: RunningSandbox) -> None:
    page = await begun(player)
    sandbox.faults.on("qr.rotated", times=1)
    told = await polled(player, page)
    assert isinstance(told, SignInPending)
    assert told.address == phone(sandbox).newest.challenge != page.address
    phone(sandbox).newest.stage = "approved"
    assert isinstance(await polled(player, page), SignedInAccount)


async def test_steam_is_not_asked_faster_than_it_wants_however_many_ask_us(player: Player, sandbox: RunningSandbox) -> None:
    sandbox.sandbox.state.part(Knobs).interval_s = 1.0
    page = await begun(player)
    told = await asyncio.gather(*(polled(player, page, at_once=False) for _ in range(20)))
    assert all(isinstance(each, SignInPending) for each in told)
    assert phone(sandbox).newest.polls == 1
    await asyncio.sleep(1.0)
    await polled(player, page, at_once=False)
    assert phone(sandbox).newest.polls == 2


async def test_only_one_of_many_is_given_the_account(player: Player, sandbox: RunningSandbox) -> None:
    page = await begun(player)
    phone(sandbox).newest.stage = "approved"
    told = await asyncio.gather(*(polled(player, page, at_once=False) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(each, SignedInAccount) for each in told) == 1
    assert phone(sandbox).sessions == []


@pytest.mark.parametrize(
    ("user", "provider", "state"), [("eve", "steam", ""), ("local", "steam", "made-up"), ("local", "steam", "x" * 5000)]
)
async def test_a_state_is_good_for_its_own_user_only(player: Player, sandbox: RunningSandbox, user: str, provider: str, state: str) -> None:
    page = await begun(player)
    phone(sandbox).newest.stage = "approved"
    with pytest.raises(AuthenticationError, match="not begun here"):
        await qr_sign_in.poll(player.backend, user, provider, state or page.state)
    assert isinstance(await polled(player, page), SignedInAccount), "and nobody else's try uses it up"


async def test_after_five_minutes_it_is_over(player: Player, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    page = await begun(player)
    now = time.time()
    monkeypatch.setattr(qr_sign_in.time, "time", lambda: now + 299)
    assert isinstance(await polled(player, page), SignInPending)
    monkeypatch.setattr(qr_sign_in.time, "time", lambda: now + 301)
    asked = phone(sandbox).newest.polls
    with pytest.raises(AuthenticationError, match="five minutes"):
        await polled(player, page)
    assert phone(sandbox).newest.polls == asked


async def test_a_no_ends_it_and_steam_s_trouble_does_not(player: Player, sandbox: RunningSandbox) -> None:
    page = await begun(player)
    sandbox.faults.on("steam.down", times=1)
    with pytest.raises(ProviderUnavailableError):
        await polled(player, page)
    assert isinstance(await polled(player, page), SignInPending)
    phone(sandbox).newest.stage = "denied"
    with pytest.raises(AuthenticationError, match="phone"):
        await polled(player, page)
    with pytest.raises(AuthenticationError, match="not begun here"):
        await polled(player, page)


async def test_the_cache_holds_no_session_that_somebody_could_poll_with(player: Player, sandbox: RunningSandbox) -> None:
    page = await begun(player)
    kept = await player.backend.cache.get(f"sign-in-qr/{page.state}")
    assert kept is not None
    assert phone(sandbox).newest.request_id not in kept
    assert str(phone(sandbox).newest.client_id) not in kept


async def test_what_has_no_qr_code_says_so(player: Player) -> None:
    with pytest.raises(UsageError):
        await accounts.begin(player.backend, player.user, "gog", SignInStart(way=SignInWay.QR))
    with pytest.raises(UsageError):
        await qr_sign_in.poll(player.backend, player.user, "gog", "x")
    with pytest.raises(NotFoundError):
        await qr_sign_in.poll(player.backend, player.user, "epic", "x")
    with pytest.raises(UsageError):
        await accounts.confirm(player.backend, player.user, "steam", SignInAnswer(way=SignInWay.QR, state="x"))


async def test_the_phone_shows_whose_backend_asks(sqlite_url: str, sandbox: RunningSandbox) -> None:
    async with player_on(sqlite_url, {"steam": Steam}, upstream_url=sandbox.url, public_url="https://games.example") as player:
        await begun(player)
        assert phone(sandbox).newest.device == "Integ at games.example"


# --- and then ----------------------------------------------------------------------------------------------------------


async def expire(player: Player) -> None:
    async with player.backend.db.writing.begin() as session:
        await session.execute(update(accounts_table).values(access_expires_at=datetime.now(UTC) - timedelta(minutes=1)))


async def test_such_an_account_syncs_without_a_key_and_is_renewed_when_its_day_is_over(
    open_player: OpenPlayer, sandbox: RunningSandbox
) -> None:
    player: Player = await open_player({"steam": Steam}, upstream_url=sandbox.url)
    await sign_in(player, sandbox)
    counts = await player.pull()
    assert counts.added == counts.total > 0
    before = len(phone(sandbox).access)

    await expire(player)
    assert (await player.pull()).added == 0
    assert len(phone(sandbox).access) == before + 1
    await player.pull()
    assert len(phone(sandbox).access) == before + 1, "a token that is good is used as it is"


async def test_a_token_that_steam_refuses_early_is_renewed_once(player: Player, sandbox: RunningSandbox) -> None:
    await sign_in(player, sandbox)
    phone(sandbox).access.clear()
    assert (await player.pull()).added > 0


async def test_a_new_refresh_token_is_stored_before_it_is_used(player: Player, sandbox: RunningSandbox) -> None:
    knobs = sandbox.sandbox.state.part(Knobs)
    knobs.refresh_ttl_s, knobs.rotates_refresh = 20 * 24 * 3600, True
    first = (await sign_in(player, sandbox)).credentials.secret
    await expire(player)
    fresh = await access.usable_login(player.backend, 1)
    assert fresh.secret != first
    assert list(phone(sandbox).refresh) == [fresh.secret]
    await expire(player)
    assert (await access.usable_login(player.backend, 1)).secret in phone(sandbox).refresh


async def test_a_sign_in_that_was_ended_at_steam_is_marked_and_keeps_the_library(player: Player, sandbox: RunningSandbox) -> None:
    await sign_in(player, sandbox)
    await player.pull()
    before = await player.everything()
    await expire(player)
    sandbox.faults.on("steam.refresh_over")
    with pytest.raises(AuthenticationError):
        await player.pull()
    async with player.backend.db.reading() as session:
        assert [each.state for each in await accounts.infos(session, player.user)] == [AccountState.SIGNED_OUT]
    assert await player.everything() == before


async def test_an_account_with_a_key_is_never_renewed(player: Player, sandbox: RunningSandbox) -> None:
    await player.sign_in("steam", sandbox.world.steam_id, key=sandbox.world.steam_key)
    await player.pull()
    assert not [each for each in sandbox.requests if "IAuthenticationService" in each.path]
    async with player.backend.db.reading() as session:
        assert (await session.execute(select(accounts_table.c.renewed_since))).scalar_one() is None


async def test_a_key_after_a_code_replaces_it_and_the_other_way_round(player: Player, sandbox: RunningSandbox) -> None:
    await sign_in(player, sandbox)
    await player.sign_in("steam", sandbox.world.steam_id, key=sandbox.world.steam_own_key)
    login = await access.usable_login(player.backend, 1)
    assert (login.secret, login.access_token) == (sandbox.world.steam_own_key, "")
    await sign_in(player, sandbox)
    assert (await access.usable_login(player.backend, 1)).access_token in phone(sandbox).access

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from integ_server.contract.errors import AccountNotFoundError, AuthenticationError
from integ_server.contract.types import AccountState
from integ_server.models.tables import accounts as accounts_table
from integ_server.services import access, accounts
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenPlayer, Player, player_on


async def _a_player(open_player: OpenPlayer, shelf: Shelf) -> Player:
    player: Player = await open_player({"fake": fake_store(shelf, renews=True)})
    await player.sign_in("fake", "ann")
    return player


async def _expire(player: Player, minutes: int = -1) -> None:
    async with player.backend.db.writing.begin() as session:
        await session.execute(update(accounts_table).values(access_expires_at=datetime.now(UTC) + timedelta(minutes=minutes)))


async def test_a_token_that_is_good_is_used_as_it_is(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    assert shelf.renewals == 0


async def test_a_token_about_to_end_is_renewed_and_stored_before_it_is_used(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    await _expire(player, minutes=2)
    await player.pull()
    assert shelf.renewals == 1
    login = await access.usable_login(player.backend, 1)
    assert (login.secret, login.access_token, shelf.renewals) == ("refresh-1", "access-1", 1)


async def test_however_many_ask_at_once_the_refresh_token_is_used_once(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    await _expire(player)
    logins = await asyncio.gather(*(access.usable_login(player.backend, 1) for _ in range(8)))
    assert {each.access_token for each in logins} == {"access-1"}
    assert shelf.renewals == 1


async def test_processes_on_one_file_renew_one_after_the_other(sqlite_url: str) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    stores = {"fake": fake_store(shelf, renews=True)}
    async with player_on(sqlite_url, stores) as one, player_on(sqlite_url, stores) as two:
        await one.sign_in("fake", "ann")
        await _expire(one)
        logins = await asyncio.gather(*(access.usable_login(each.backend, 1) for each in (one, two) * 3))
        assert ({each.secret for each in logins}, shelf.renewals) == ({"refresh-1"}, 1)


async def test_a_token_the_store_refuses_early_is_renewed_once(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    shelf.access["ann"] = "another"
    assert (await player.pull()).added == 1
    assert shelf.renewals == 1


async def test_a_refresh_token_that_is_over_signs_the_account_out(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    before = await player.everything()
    await _expire(player)
    shelf.refresh["ann"] = "another"
    with pytest.raises(AuthenticationError):
        await player.pull()
    async with player.backend.db.reading() as session:
        assert (await accounts.infos(session, player.user))[0].state is AccountState.SIGNED_OUT
    assert await player.everything() == before


async def test_a_renewal_left_behind_by_a_killed_process_holds_nobody_up(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    await _expire(player)
    # Of another boot of this machine it is dead for sure; of another machine only once it has not been heard of for a while.
    since = datetime.now(UTC) - (timedelta() if player.backend.settings.is_embedded else timedelta(minutes=1))
    async with player.backend.db.writing.begin() as session:
        await session.execute(update(accounts_table).values(renewed_by="999999999 1 gone gone", renewed_since=since))
    await asyncio.wait_for(access.usable_login(player.backend, 1), 5)
    assert shelf.renewals == 1


async def test_signing_out_while_a_token_is_renewed_leaves_no_secret_behind(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    await _expire(player)
    shelf.before_renewal = player.sign_out
    await access.usable_login(player.backend, 1)
    async with player.backend.db.reading() as session:
        row = (await session.execute(select(accounts_table))).one()
    assert (row.secret, row.access_token, row.renewed_by) == (None, None, None)
    with pytest.raises(AccountNotFoundError):
        await access.usable_login(player.backend, 1)


async def test_a_new_sign_in_while_the_old_one_is_renewed_is_not_overwritten(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    await _expire(player)
    old_refresh = shelf.refresh["ann"]

    async def sign_in_anew() -> None:
        shelf.before_renewal = None
        await player.sign_in("fake", "ann")
        shelf.refresh["ann"] = old_refresh

    shelf.before_renewal = sign_in_anew
    await access.usable_login(player.backend, 1)
    assert (await access.usable_login(player.backend, 1)).access_token == "access-0"


async def test_no_secret_lies_readable_in_the_database(sqlite_url: str) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    async with player_on(sqlite_url, {"fake": fake_store(shelf, renews=True)}) as player:
        await player.sign_in("fake", "ann")
        await _expire(player)
        await player.pull()
        async with player.backend.db.writing.begin() as session:
            stored = [tuple(row) for row in await session.execute(select(accounts_table.c.secret, accounts_table.c.access_token))]
            assert all(each and each.startswith("v1.k1.") for each in stored[0])
            tables = (await session.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))).scalars().all()
            rows = [str(row) for table in tables for row in await session.execute(text(f"SELECT * FROM {table}"))]
    assert not [row for row in rows if "refresh-" in row or "access-" in row or "a key" in row]

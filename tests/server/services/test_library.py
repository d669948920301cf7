from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from integ_server.cache import open_cache
from integ_server.contract.errors import GameNotFoundError
from integ_server.contract.types import DownloadRequest, TitleDetails
from integ_server.models.tables import games
from integ_server.services import descriptions, downloads, library
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import OpenPlayer, Player, player_on
from tests.server.services.test_lists import listed


async def _a_player(open_player: OpenPlayer, *names: str, renews: bool = False) -> tuple[Player, Shelf]:
    shelf = Shelf(games={"ann": [owned(str(at), name) for at, name in enumerate(names)]})
    player: Player = await open_player({"fake": fake_store(shelf, renews=renews)})
    await player.sign_in("fake", "ann")
    await player.pull()
    return player, shelf


async def test_a_single_release_comes_with_its_details(open_player: OpenPlayer) -> None:
    player, shelf = await _a_player(open_player, "One")
    shelf.metadata["0"] = told("0", details=TitleDetails(genres=["Puzzle"]))
    await player.read_metadata()
    async with player.backend.db.reading() as session:
        found = await descriptions.get_release(player.backend, session, player.user, "fake:0")
        assert found.details is not None and found.details.genres == ["Puzzle"]
        for unknown in ("fake:9", "fake", "", "fake:\0", "a:b:c"):
            with pytest.raises(GameNotFoundError):
                await library.get_release(session, player.user, unknown)
        with pytest.raises(GameNotFoundError):
            await library.get_release(session, "somebody", "fake:0")


async def test_details_are_kept_for_everybody_until_they_are_read_anew(open_player: OpenPlayer) -> None:
    player, _shelf = await _a_player(open_player, "One")

    async def genres() -> list[str]:
        async with player.backend.db.reading() as session:
            found = (await descriptions.get_release(player.backend, session, player.user, "fake:0")).details
        return found.genres if found else []

    async def write(details: dict[str, list[str]], at: datetime) -> None:
        async with player.backend.db.writing.begin() as session:
            await session.execute(update(games).where(games.c.key == "fake:0").values(details=details, metadata_read_at=at))

    assert await genres() == []
    now = datetime.now(UTC)
    await write({"genres": ["Puzzle"]}, now)
    assert await genres() == ["Puzzle"]
    await write({"genres": ["Never told"]}, now)
    assert await genres() == ["Puzzle"], "it came out of the cache"
    await write({"genres": ["Action"]}, now + timedelta(seconds=1))
    assert await genres() == ["Action"]


async def test_without_redis_details_come_out_of_the_database(open_player: OpenPlayer) -> None:
    player, shelf = await _a_player(open_player, "One")
    shelf.metadata["0"] = told("0", details=TitleDetails(genres=["Puzzle"]))
    await player.read_metadata()
    async with open_cache("unix:///nowhere/socket") as gone, player.backend.db.reading() as session:
        backend = replace(player.backend, cache=gone)
        found = await descriptions.get_release(backend, session, player.user, "fake:0")
    assert found.details is not None and found.details.genres == ["Puzzle"]


async def test_a_removed_game_is_not_in_lists_and_not_in_the_first_answer_to_a_new_client(open_player: OpenPlayer) -> None:
    player, shelf = await _a_player(open_player, "One", "Two")
    shelf.games["ann"] = [owned("1", "Two")]
    await player.pull()
    assert [each["key"] for each in await listed(player)] == ["fake:1"]
    assert [each.key for each in (await player.changes()).releases] == ["fake:1"]
    async with player.backend.db.reading() as session:
        with pytest.raises(GameNotFoundError):
            await library.get_release(session, player.user, "fake:0")


async def test_a_client_of_another_database_is_told_to_begin_anew(sqlite_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    shelf = Shelf(games={"ann": [owned("1"), owned("2")]})
    stores = {"fake": fake_store(shelf)}
    async with player_on(sqlite_url, stores) as old:
        await old.sign_in("fake", "ann")
        await old.pull()
        known = (await old.changes()).revision
        assert not (await old.changes(known)).reset
        assert (await old.changes(known + 1)).reset, "from a future of this database that never was"
    other = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('new')}/integ.db"
    async with player_on(other, stores) as new:
        await new.sign_in("fake", "ann")
        await new.pull()
        answer = await new.changes(known)
        assert answer.reset and len(answer.releases) == 2


async def test_a_title_is_hidden_when_all_its_games_are(open_player: OpenPlayer) -> None:
    player, shelf = await _a_player(open_player, "One")
    for hidden in (True, False):
        since = (await player.changes()).revision
        shelf.games["ann"] = [owned("0", "One", hidden=hidden)]
        await player.pull()
        assert [each.hidden for each in (await player.changes(since)).titles] == [hidden]


async def test_a_plan_is_asked_with_an_account_that_owns_the_game_and_renewed_if_refused(open_player: OpenPlayer) -> None:
    player, shelf = await _a_player(open_player, "One", renews=True)
    shelf.access["ann"] = "another"
    plan = await downloads.plan(player.backend, player.user, "fake:0", DownloadRequest())
    assert (plan.key, plan.title, plan.steam_url) == ("fake:0", "One", "steam://install/0")
    assert (shelf.plans, shelf.renewals) == (["ann", "ann"], 1)
    with pytest.raises(GameNotFoundError):
        await downloads.plan(player.backend, player.user, "fake:7", DownloadRequest())

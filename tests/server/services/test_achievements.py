from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from integ_server.contract.achievements import Achievement
from integ_server.contract.errors import AuthenticationError, GameNotFoundError, PrivateProfileError, ProviderUnavailableError, UsageError
from integ_server.models.tables import game_achievements
from integ_server.services import achievements, jobs
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenPlayer, Player

LAST_YEAR = datetime.now(UTC).replace(microsecond=0) - timedelta(days=365)


def done(name: str, at: datetime | None = None) -> Achievement:
    return Achievement(id=name, name=name.title(), unlocked=True, unlocked_at=at)


def left(name: str, rarity: float | None = None) -> Achievement:
    return Achievement(id=name, name=name.title(), rarity_percent=rarity)


async def _a_player(open_player: OpenPlayer, shelf: Shelf, *accounts: str, renews: bool = False) -> Player:
    player: Player = await open_player({"fake": fake_store(shelf, reads_achievements=True, renews=renews)})
    for account in accounts:
        await player.sign_in("fake", account)
    await player.pull()
    return player


async def _age(player: Player) -> None:
    """Two hours pass."""
    async with player.backend.db.writing.begin() as session:
        await session.execute(update(game_achievements).values(read_at=datetime.now(UTC) - timedelta(hours=2)))


async def test_they_are_asked_once_an_hour_unless_the_player_wants_it_at_once(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, achievements={("ann", "1"): [left("b", 3.0), left("a", 50.0), done("c", LAST_YEAR)]})
    player = await _a_player(open_player, shelf, "ann")
    found = await achievements.read(player.backend, player.user, "fake:1")
    assert ([each.id for each in found.items], found.unlocked, found.total) == (["c", "a", "b"], 1, 3)
    shelf.achievements["ann", "1"] = [done("a"), done("b"), done("c")]
    assert (await achievements.read(player.backend, player.user, "fake:1")).unlocked == 1
    assert (await achievements.read(player.backend, player.user, "fake:1", again=True)).unlocked == 3
    await _age(player)
    await achievements.read(player.backend, player.user, "fake:1")
    assert len(shelf.achievements_asked) == 3


async def test_what_one_of_two_accounts_has_counts_and_the_earlier_moment_stands(open_player: OpenPlayer) -> None:
    later = LAST_YEAR + timedelta(days=9)
    shelf = Shelf(
        games={"ann": [owned("1")], "bob": [owned("1")]},
        achievements={("ann", "1"): [done("a", later), left("b"), left("c")], ("bob", "1"): [done("a", LAST_YEAR), done("b"), left("c")]},
    )
    player = await _a_player(open_player, shelf, "ann", "bob")
    found = await achievements.read(player.backend, player.user, "fake:1")
    assert (found.unlocked, found.total) == (2, 3)
    assert found.items[0].unlocked_at == LAST_YEAR


async def test_while_the_store_is_down_the_older_ones_are_shown_with_their_age(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, achievements={("ann", "1"): [done("a")]})
    player = await _a_player(open_player, shelf, "ann")
    shelf.achievements_fail = ProviderUnavailableError("down")
    with pytest.raises(ProviderUnavailableError):
        await achievements.read(player.backend, player.user, "fake:1")
    shelf.achievements_fail = None
    await achievements.read(player.backend, player.user, "fake:1")
    await _age(player)
    shelf.achievements_fail = ProviderUnavailableError("down")
    old = await achievements.read(player.backend, player.user, "fake:1")
    assert old.unlocked == 1 and datetime.now(UTC) - old.read_at > timedelta(hours=1)


async def test_trouble_is_told_and_strangers_games_are_not_there(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, achievements_fail=PrivateProfileError("hidden"))
    player = await _a_player(open_player, shelf, "ann")
    with pytest.raises(PrivateProfileError):
        await achievements.read(player.backend, player.user, "fake:1")
    with pytest.raises(GameNotFoundError):
        await achievements.read(player.backend, player.user, "fake:2")


async def test_a_store_without_achievements_says_so(open_player: OpenPlayer) -> None:
    player: Player = await open_player({"fake": fake_store(Shelf(games={"ann": [owned("1")]}))})
    await player.sign_in("fake", "ann")
    await player.pull()
    with pytest.raises(UsageError, match="no achievements"):
        await achievements.read(player.backend, player.user, "fake:1")


async def test_an_access_token_that_ended_is_renewed_on_the_way(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, achievements={("ann", "1"): [done("a")]})
    player = await _a_player(open_player, shelf, "ann", renews=True)
    shelf.access["ann"] = "another"
    assert (await achievements.read(player.backend, player.user, "fake:1")).unlocked == 1
    assert shelf.renewals == 1


async def _job(player: Player) -> str:
    async with player.backend.db.writing.begin() as session:
        job = await jobs.begin(
            player.backend, session, kind="achievements", subject="achievements/1", user_id=player.user, provider="fake", account_id=1
        )
    return job.id


async def test_a_job_reads_what_was_played_since_and_one_games_trouble_does_not_end_it(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1", last_played_at=LAST_YEAR), owned("2"), owned("3", last_played_at=LAST_YEAR)]})
    player = await _a_player(open_player, shelf, "ann")
    job = await player.claim(await _job(player))
    await achievements.read_played(player.backend, job)
    assert shelf.achievements_asked == [("ann", "1"), ("ann", "3")], "what was never played is left out"
    await achievements.read_played(player.backend, await player.claim(await _job(player)))
    assert len(shelf.achievements_asked) == 2, "nothing was played since"
    shelf.games["ann"] = [owned(each, last_played_at=datetime.now(UTC) + timedelta(minutes=5)) for each in "123"]
    await player.pull()
    shelf.achievements_fail = PrivateProfileError("hidden")
    await achievements.read_played(player.backend, await player.claim(await _job(player)))
    assert len(shelf.achievements_asked) == 5
    shelf.achievements_fail = AuthenticationError("no")
    with pytest.raises(AuthenticationError):
        await achievements.read_played(player.backend, await player.claim(await _job(player)))
    assert len(shelf.achievements_asked) == 6

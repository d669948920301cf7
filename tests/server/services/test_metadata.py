from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from integ_server.contract.errors import ProviderError, ProviderUnavailableError
from integ_server.contract.types import TitleDetails
from integ_server.models.tables import games
from integ_server.providers.base import GameMetadata
from integ_server.services import jobs
from integ_server.services.endings import ClaimLostError
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import OpenPlayer, Player


async def _a_player(open_player: OpenPlayer, shelf: Shelf) -> Player:
    player: Player = await open_player({"fake": fake_store(shelf)})
    await player.sign_in("fake", "ann")
    return player


def _asked(shelf: Shelf) -> list[str]:
    return sorted(each for batch in shelf.asked for each in batch)


async def test_what_nobody_asked_for_yet_is_read_in_batches_a_few_at_once(open_player: OpenPlayer) -> None:
    ids = [str(number) for number in range(10, 31)]
    shelf = Shelf(games={"ann": [owned(each) for each in ids]}, metadata={each: told(each, year=2001) for each in ids})
    player = await _a_player(open_player, shelf)
    await player.pull()
    since = (await player.changes()).revision

    assert await player.read_metadata() == 1

    assert _asked(shelf) == ids and max(len(batch) for batch in shelf.asked) == 2
    assert shelf.most_at_once == 4
    assert {each.year for each in (await player.changes(since)).titles} == {2001}
    await player.pull()
    assert await player.read_metadata() == 0


async def test_everything_that_is_told_of_a_game_reaches_the_client(open_player: OpenPlayer) -> None:
    details = TitleDetails(description="A lamp\0 in the fog.", genres=["Adventure"], cover_url="https://images.example/1.png")
    answer = told("1", year=2020, platforms=("windows", "linux", "dos"), required_proton="GE-Proton9-1", details=details)
    shelf = Shelf(games={"ann": [owned("1", "Lantern Keep")]}, metadata={"1": answer})
    player = await _a_player(open_player, shelf)
    await player.pull()
    await player.read_metadata()

    whole = await player.everything()
    title, release = whole.titles[0], whole.releases[0]
    assert (title.year, release.platforms, release.required_proton) == (2020, ["linux", "windows"], "GE-Proton9-1")
    assert title.details is not None and title.details.description == "A lamp in the fog." and title.details.genres == ["Adventure"]


async def test_a_look_up_that_failed_is_tried_again_by_the_next_sync_only(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1"), owned("2")]}, metadata={"1": told("1")})
    player = await _a_player(open_player, shelf)
    await player.pull()
    await player.read_metadata()
    assert _asked(shelf) == ["1", "2"]

    shelf.asked.clear()
    await player.pull()
    await player.read_metadata()
    assert _asked(shelf) == ["2"]


async def test_what_was_not_found_is_asked_for_again_after_a_week(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, metadata={"1": GameMetadata("1", found=False)})
    player = await _a_player(open_player, shelf)
    await player.pull()
    await player.read_metadata()
    await player.pull()
    assert await player.read_metadata() == 0

    async with player.backend.db.writing.begin() as session:
        due = (await session.execute(select(games.c.metadata_due_at))).scalar_one()
        assert timedelta(days=6, hours=23) < due - datetime.now(UTC) <= timedelta(days=7)
        await session.execute(update(games).values(metadata_due_at=datetime.now(UTC) - timedelta(seconds=1)))
    shelf.metadata["1"] = told("1", year=1999)
    await player.pull()
    await player.read_metadata()
    assert (await player.everything()).titles[0].year == 1999


async def test_a_full_sync_asks_for_everything_again_and_tells_only_what_differs(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1"), owned("2")]}, metadata={"1": told("1"), "2": told("2")})
    player = await _a_player(open_player, shelf)
    await player.pull()
    await player.read_metadata()
    since = (await player.changes()).revision
    shelf.asked.clear()
    shelf.metadata["2"] = told("2", year=2022)

    await player.pull(full=True)
    await player.read_metadata()

    assert _asked(shelf) == ["1", "2"]
    assert [each.key for each in (await player.changes(since)).releases] == ["fake:2"]


async def test_a_store_that_answers_nothing_is_left_alone_after_a_few_rounds(open_player: OpenPlayer) -> None:
    shelf = Shelf(
        games={"ann": [owned(str(number)) for number in range(100)]}, metadata_fails=ProviderUnavailableError("down", retry_after_s=7)
    )
    player = await _a_player(open_player, shelf)
    await player.pull()

    with pytest.raises(ProviderUnavailableError) as caught:
        await player.read_metadata()
    assert caught.value.retry_after_s == 7
    assert len(_asked(shelf)) == 3 * 4 * 2
    assert len((await player.everything()).releases) == 100


async def test_an_odd_answer_costs_its_own_batch_only(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, metadata_fails=ProviderError("HTML"))
    player = await _a_player(open_player, shelf)
    await player.pull()
    await player.read_metadata()
    shelf.metadata_fails = None
    shelf.metadata["1"] = told("1", year=2003)
    await player.pull()
    await player.read_metadata()
    assert (await player.everything()).titles[0].year == 2003


async def test_answers_nobody_asked_for_are_not_stored(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1", "Mine")]}, metadata={"1": told("2", title="Somebody's")})
    player = await _a_player(open_player, shelf)
    await player.pull()
    await player.read_metadata()
    assert [each.title for each in (await player.everything()).releases] == ["Mine"]


async def test_odd_facts_are_left_out(open_player: OpenPlayer) -> None:
    siblings = (("steam", "../x"), ("ps n", "1"))
    shelf = Shelf(games={"ann": [owned("1")]}, metadata={"1": told("1", year=99999, parent_id="../..", group_id="g", siblings=siblings)})
    player = await _a_player(open_player, shelf)
    await player.pull()
    await player.read_metadata()
    whole = await player.everything()
    assert (whole.titles[0].year, whole.releases[0].parent_key) == (None, None)


async def test_each_round_is_stored_by_itself_so_that_a_stopped_job_goes_on_where_it_was(open_player: OpenPlayer) -> None:
    ids = [str(number) for number in range(10, 34)]
    shelf = Shelf(games={"ann": [owned(each) for each in ids]}, metadata={each: told(each) for each in ids[:8]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    shelf.metadata |= {each: told(each) for each in ids[8:16]}
    await player.read_metadata()
    async with player.backend.db.reading() as session:
        left = (await session.execute(select(games.c.key).where(games.c.metadata_due_at.is_not(None)))).scalars().all()
    assert sorted(left) == [f"fake:{each}" for each in ids[16:]]


async def test_a_metadata_job_taken_over_by_another_process_stores_nothing_more(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, metadata={"1": told("1", year=2001)})
    player = await _a_player(open_player, shelf)
    await player.pull()
    async with player.backend.db.reading() as session:
        job_id = next(each.id for each in await jobs.current(session, player.user) if each.kind == "metadata")
    job = await player.claim(job_id)
    await jobs.hand_back(player.backend, job_id)
    from integ_server.services import metadata

    with pytest.raises(ClaimLostError):
        await metadata.read_due(player.backend, job)
    assert (await player.everything()).titles[0].year is None

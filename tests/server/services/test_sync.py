from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, func, select

from integ_server.contract.errors import (
    AccountNotFoundError,
    AuthenticationError,
    NotFoundError,
    PrivateProfileError,
    ProviderError,
    ProviderUnavailableError,
)
from integ_server.contract.types import AccountState
from integ_server.models.tables import games, library_entries, titles
from integ_server.services import accounts, jobs, sync
from integ_server.services.endings import ClaimLostError
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenPlayer, Player, player_on

PLAYED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


async def _a_player(open_player: OpenPlayer, shelf: Shelf, **more: Any) -> Player:
    player: Player = await open_player({"fake": fake_store(shelf, **more)})
    await player.sign_in("fake", "ann")
    return player


async def _state(player: Player) -> AccountState:
    async with player.backend.db.reading() as session:
        return (await accounts.infos(session, player.user))[0].state


async def test_the_first_sync_brings_everything_the_account_owns(open_player: OpenPlayer) -> None:
    shelf = Shelf(
        games={"ann": [owned("1", "Lantern Keep", playtime_min=12, last_played_at=PLAYED), owned("2", "Quiet Orbit", hidden=True)]}
    )
    player = await _a_player(open_player, shelf)

    counts = await player.pull()

    assert counts.model_dump() == {"added": 2, "changed": 0, "removed": 0, "total": 2}
    told = await player.changes()
    first, second = told.releases
    assert (first.key, first.title, first.playtime_min, first.last_played_at, first.accounts) == (
        "fake:1",
        "Lantern Keep",
        12,
        PLAYED,
        ["ann"],
    )
    assert [(each.id, each.hidden) for each in told.titles] == [("lantern-keep", False), ("quiet-orbit", True)]
    assert second.title_id == "quiet-orbit"


async def test_an_unchanged_sync_writes_no_row_of_the_library(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned(str(number), last_played_at=PLAYED, platforms=("windows", "linux")) for number in range(50)]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    before = await player.changes()
    written: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.split(maxsplit=1)[0] in {"INSERT", "UPDATE", "DELETE"}:
            written.append(statement)

    event.listen(player.backend.db.engine.sync_engine, "before_cursor_execute", note)
    counts = await player.pull()

    assert counts.model_dump() == {"added": 0, "changed": 0, "removed": 0, "total": 50}
    assert written and not [each for each in written if any(table in each for table in ("library_entries", "games", "titles", "users"))]
    assert (await player.changes()).revision == before.revision
    assert (await player.changes(before.revision)).releases == []


async def test_only_what_differs_is_told_and_the_revision_grows_once(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1"), owned("2"), owned("3")]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    since = (await player.changes()).revision
    shelf.games["ann"] = [owned("1", playtime_min=5), owned("2"), owned("4")]

    counts = await player.pull()

    assert counts.model_dump() == {"added": 1, "changed": 1, "removed": 1, "total": 3}
    told = await player.changes(since)
    assert told.revision == since + 1
    assert {each.key: (each.playtime_min, each.removed) for each in told.releases} == {
        "fake:1": (5, False),
        "fake:3": (0, True),
        "fake:4": (0, False),
    }


async def test_a_game_that_comes_back_is_added_again_with_its_old_title(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1", "Lantern Keep"), owned("2")]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    both, shelf.games["ann"] = shelf.games["ann"], [owned("2")]
    assert (await player.pull()).removed == 1
    shelf.games["ann"] = both

    counts = await player.pull()

    assert (counts.added, counts.changed) == (1, 0)
    assert await player.partition() == {"lantern-keep": ["fake:1"], "game-2": ["fake:2"]}


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (ProviderError("an HTML page"), AccountState.OK),
        (ProviderUnavailableError("down"), AccountState.OK),
        (PrivateProfileError("hidden"), AccountState.PRIVATE),
        (AuthenticationError("refused"), AccountState.SIGNED_OUT),
        (RuntimeError("a bug"), AccountState.OK),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_whatever_goes_wrong_after_half_a_list_leaves_the_library_as_it_was(
    open_player: OpenPlayer, failure: Exception, state: AccountState
) -> None:
    shelf = Shelf(games={"ann": [owned(str(number)) for number in range(10)]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    before = await player.everything()
    shelf.games["ann"] = [owned(str(number), playtime_min=9) for number in range(5, 20)]
    shelf.fails = failure

    with pytest.raises(type(failure)):
        await player.pull()

    assert await player.everything() == before
    assert await _state(player) is state


async def test_an_empty_list_never_empties_a_library(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    before = await player.everything()
    shelf.games["ann"] = []

    with pytest.raises(ProviderError, match="empty library") as caught:
        await player.pull()

    assert caught.value.hint
    assert await player.everything() == before


async def test_an_account_that_never_had_a_game_may_be_empty(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player, Shelf(games={"ann": []}))
    assert (await player.pull()).total == 0


async def test_a_private_profile_that_opens_again_syncs_and_is_ok_again(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, fails=PrivateProfileError("hidden"))
    player = await _a_player(open_player, shelf)
    with pytest.raises(PrivateProfileError):
        await player.pull()
    shelf.fails = None

    await player.pull()

    assert await _state(player) is AccountState.OK


async def test_a_refused_sign_in_is_told_and_tried_again_with_the_next_sync(open_player: OpenPlayer) -> None:
    """A store that blocks an address for a while answers like one that does not know the key: that must not cost the key."""
    shelf = Shelf(games={"ann": [owned("1")]}, fails=AuthenticationError("refused"))
    player = await _a_player(open_player, shelf)
    with pytest.raises(AuthenticationError):
        await player.pull()
    assert await _state(player) is AccountState.SIGNED_OUT

    shelf.fails = None
    assert (await player.pull()).added == 1
    assert await _state(player) is AccountState.OK


async def test_a_game_shown_twice_by_a_page_that_moved_counts_once(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1", playtime_min=7), owned("2"), owned("1", playtime_min=3, last_played_at=PLAYED)]})
    player = await _a_player(open_player, shelf)

    assert (await player.pull()).total == 2
    release = (await player.changes()).releases[0]
    assert (release.playtime_min, release.last_played_at) == (7, PLAYED)


@pytest.mark.parametrize("game_id", ["../../etc", "a/b", "", "1\n2", "x" * 65, "a:b", "ключ"])
async def test_an_id_that_could_leave_its_folder_is_no_library(open_player: OpenPlayer, game_id: str) -> None:
    player = await _a_player(open_player, Shelf(games={"ann": [owned("1"), owned(game_id, "Odd")]}))
    with pytest.raises(ProviderError, match="odd id"):
        await player.pull()
    assert (await player.changes()).releases == []


async def test_hostile_names_and_figures_are_stored_tamed(open_player: OpenPlayer) -> None:
    name = "Ro\0gue\x1b[31m \ud800\u202e Like\n" + "x" * 5000
    shelf = Shelf(games={"ann": [owned("1", name, playtime_min=2**70), owned("2", playtime_min=-5, platforms=("amiga", "linux"))]})
    player = await _a_player(open_player, shelf)
    await player.pull()

    first, second = (await player.changes()).releases
    assert first.title.startswith("Rogue[31m Like xxx") and len(first.title) <= 300
    assert first.playtime_min == 2**31 - 1
    assert (second.playtime_min, second.platforms) == (0, ["linux"])
    assert (await player.pull()).changed == 0


async def test_two_accounts_of_one_store_add_up_and_each_is_only_its_own(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1", playtime_min=10)], "bob": [owned("1", playtime_min=5), owned("2")]})
    player = await _a_player(open_player, shelf)
    await player.sign_in("fake", "bob")
    await player.pull()
    shared = (await player.changes()).releases[0]
    assert (shared.key, shared.playtime_min, shared.accounts) == ("fake:1", 15, ["ann", "bob"])

    shelf.games["ann"] = [owned("3")]
    await player.pull()
    shared = (await player.changes()).releases[0]
    assert (shared.playtime_min, shared.accounts, shared.removed) == (5, ["bob"], False)


async def test_a_renamed_game_keeps_its_title_id(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1", "Lantern Keep")]})
    player = await _a_player(open_player, shelf)
    await player.pull()
    shelf.games["ann"] = [owned("1", "Lantern Keep: Reforged")]
    await player.pull()

    told = await player.everything()
    assert [(each.id, each.title) for each in told.titles] == [("lantern-keep", "Lantern Keep: Reforged")]
    assert told.releases[0].title == "Lantern Keep: Reforged"


async def test_an_add_on_stands_under_its_parents_title_whichever_comes_first(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("9", "Soundtrack", kind="dlc", parent_id="1"), owned("1", "Lantern Keep")]})
    player = await _a_player(open_player, shelf, reads_metadata=False)
    await player.pull()
    assert await player.partition() == {"lantern-keep": ["fake:1", "fake:9"]}

    shelf.games["ann"] += [owned("8", "Map Pack", kind="dlc", parent_id="2")]
    await player.pull()
    shelf.games["ann"] += [owned("2", "Quiet Orbit")]
    await player.pull()
    assert await player.partition() == {"lantern-keep": ["fake:1", "fake:9"], "quiet-orbit": ["fake:2", "fake:8"]}
    parents = {each.key: each.parent_key for each in (await player.everything()).releases}
    assert parents["fake:8"] == "fake:2"


async def test_thousands_of_changes_come_in_parts_that_lose_nothing(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned(str(number)) for number in range(5_300)]})
    player = await _a_player(open_player, shelf)
    await player.pull()

    first = await player.changes()
    assert first.more and len(first.releases) == 2_000
    assert len((await player.everything()).releases) == 5_300
    since = (await player.everything()).revision
    shelf.games["ann"] = [replace(each, playtime_min=1) for each in shelf.games["ann"]]
    assert (await player.pull()).changed == 5_300
    seen: set[str] = set()
    while True:
        part = await player.changes(since)
        seen |= {each.key for each in part.releases}
        since = part.revision
        if not part.more:
            break
    assert len(seen) == 5_300


async def test_a_job_that_was_taken_over_stores_nothing(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    (job_id,) = await player.start()
    job = await player.claim(job_id)

    async def somebody_else_takes_it() -> None:
        await jobs.hand_back(player.backend, job_id)

    shelf.before_list = somebody_else_takes_it
    with pytest.raises(ClaimLostError):
        await sync.pull_account(player.backend, job)
    assert (await player.changes()).releases == []


async def test_signing_out_in_the_middle_of_a_sync_brings_no_game_back(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await _a_player(open_player, shelf)
    shelf.before_list = player.sign_out

    with pytest.raises(AccountNotFoundError):
        await player.pull()
    assert (await player.changes()).releases == []


async def test_a_sync_without_an_account_says_what_to_type(open_player: OpenPlayer) -> None:
    player: Player = await open_player({"fake": fake_store(Shelf(games={"ann": []})), "other": fake_store(Shelf(), "other")})
    with pytest.raises(AuthenticationError) as nobody:
        await player.start()
    assert nobody.value.hint == "integ login"
    await player.sign_in("fake", "ann")
    with pytest.raises(AuthenticationError) as other:
        await player.start("other")
    assert other.value.hint == "integ login other"
    with pytest.raises(NotFoundError):
        await player.start("epic")


async def test_two_backends_on_one_file_do_one_sync_of_an_account_between_them(sqlite_url: str) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    stores = {"fake": fake_store(shelf)}
    async with player_on(sqlite_url, stores) as one, player_on(sqlite_url, stores) as two:
        await one.sign_in("fake", "ann")
        answers = await asyncio.gather(*(each.start() for each in (one, two, one, two)))
        assert len({job_id for ids in answers for job_id in ids}) == 1
        claims = await asyncio.gather(*(jobs.claim(each.backend, answers[0][0]) for each in (one, two)))
        assert sum(claim is not None for claim in claims) == 1


async def test_no_release_or_title_is_stored_twice_when_two_accounts_sync_at_once(open_player: OpenPlayer) -> None:
    every = [owned(str(number)) for number in range(300)]
    player = await _a_player(open_player, Shelf(games={"ann": every, "bob": list(reversed(every))}))
    await player.sign_in("fake", "bob")
    claimed = [await player.claim(job_id) for job_id in await player.start()]

    counts = await asyncio.gather(*(sync.pull_account(player.backend, job) for job in claimed))

    assert [each.added for each in counts] == [300, 300]
    async with player.backend.db.reading() as session:
        for table, rows in ((games, 300), (titles, 300), (library_entries, 600)):
            assert (await session.execute(select(func.count()).select_from(table))).scalar() == rows

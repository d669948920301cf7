from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from integ_server.contract.errors import UsageError
from integ_server.contract.preferences import GameWishes
from integ_server.contract.types import ReleaseRecord
from integ_server.models.tables import games, library_entries
from integ_server.providers.base import OwnedGame
from integ_server.services import lists, merging, preferences
from integ_server.services.lists import ListQuery, owned_page
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import OpenPlayer, Player

NOW = datetime.now(UTC).replace(microsecond=0)


async def page(player: Player, *, limit: int = 50, cursor: str | None = None, **asked: Any) -> tuple[list[Any], str | None]:
    items, following = await owned_page(player.backend.db, player.user, ListQuery(**asked), limit=limit, cursor=cursor)
    return json.loads(items), following


async def listed(player: Player, *, limit: int = 50, **asked: Any) -> list[Any]:
    """All pages put together."""
    found, cursor = await page(player, limit=limit, **asked)
    while cursor is not None:
        more, cursor = await page(player, limit=limit, cursor=cursor, **asked)
        assert more, "a cursor leads somewhere"
        found += more
    return found


async def titles(player: Player, **asked: Any) -> list[str]:
    return [each["title"] for each in await listed(player, **asked)]


async def a_player(open_player: OpenPlayer, *names: str) -> tuple[Player, Shelf]:
    shelf = Shelf(games={"ann": [owned(str(at), name) for at, name in enumerate(names)]})
    player: Player = await open_player({"fake": fake_store(shelf)})
    await player.sign_in("fake", "ann")
    await player.pull()
    return player, shelf


@pytest.fixture
async def two_stores(open_player: OpenPlayer) -> Player:
    """A player with two stores, two accounts at the first of them, and games played or not."""
    first = Shelf(
        games={
            "ann": [
                owned("1", "Lantern Keep", playtime_min=30, last_played_at=NOW - timedelta(days=3), platforms=("linux", "windows")),
                owned("2", "The Quiet Orbit", playtime_min=600, last_played_at=NOW - timedelta(days=400)),
                owned("3", "Café Nordwind"),
            ],
            "bob": [owned("1", "Lantern Keep", playtime_min=45, last_played_at=NOW - timedelta(days=2), platforms=("linux", "windows"))],
        }
    )
    second = Shelf(games={"ann": [owned("1", "Lantern Keep", playtime_min=5, last_played_at=NOW - timedelta(hours=1)), OwnedGame("9", "")]})
    player: Player = await open_player({"one": fake_store(first, "one"), "two": fake_store(second, "two")})
    for store, account in (("one", "ann"), ("one", "bob"), ("two", "ann")):
        await player.sign_in(store, account)
    await player.pull()
    return player


async def test_a_row_is_what_the_changes_tell_of_the_release(two_stores: Player) -> None:
    """The database makes this JSON, and the model the other: they have to be the same, field by field."""
    expected = {each.key: each.model_dump(mode="json") for each in (await two_stores.everything()).releases}
    found = await listed(two_stores, limit=2)
    assert {each["key"]: each for each in found} == expected
    for each in found:
        assert list(each) == list(ReleaseRecord.model_fields)
        ReleaseRecord.model_validate(each, strict=False)
    both = next(each for each in found if each["key"] == "one:1")
    assert (both["accounts"], both["playtime_min"]) == (["ann", "bob"], 75)


IN_ORDER = {
    "title": ["two:9", "one:3", "one:1", "two:1", "one:2"],
    "-title": ["one:2", "two:1", "one:1", "one:3", "two:9"],
    "playtime": ["one:2", "one:1", "two:1", "two:9", "one:3"],
    "-playtime": ["two:9", "one:3", "two:1", "one:1", "one:2"],
    "last_played": ["two:1", "one:1", "one:2", "two:9", "one:3"],
    "-last-played": ["one:2", "one:1", "two:1", "two:9", "one:3"],
    "store": ["one:3", "one:1", "one:2", "two:9", "two:1"],
    "-store": ["two:1", "two:9", "one:2", "one:1", "one:3"],
}
FITTING = {
    "store:two": ["two:9", "two:1"],
    "provider:ONE cafe": ["one:3"],
    "lantern keep": ["one:1", "two:1"],
    '"n k"': ["one:1", "two:1"],
    "%": ["two:9", "one:3", "one:1", "two:1", "one:2"],
    "playtime:>1h": ["one:1", "one:2"],
    "playtime:<=75m playtime:>0": ["one:1", "two:1"],
    "playtime:=0": ["two:9", "one:3"],
    "last:<1y": ["one:1", "two:1"],
    "last:>1y": ["one:2"],
    "last:<1d": ["two:1"],
    "platform:linux": ["one:1"],
    "os:%": [],
    "store:one platform:linux playtime:>1": ["one:1"],
}


async def test_pages_of_any_length_and_order_go_through_everything_once(two_stores: Player) -> None:
    for sort, keys in IN_ORDER.items():
        for limit in (1, 2, 3, 50):
            assert [each["key"] for each in await listed(two_stores, sort=sort, limit=limit)] == keys, (sort, limit)


async def test_the_filter_narrows(two_stores: Player) -> None:
    for words, keys in FITTING.items():
        for limit in (1, 50):
            assert [each["key"] for each in await listed(two_stores, filter=words, limit=limit)] == keys, (words, limit)


async def test_the_filter_the_store_and_the_part_of_the_name_all_have_to_fit(two_stores: Player) -> None:
    assert [each["key"] for each in await listed(two_stores, provider="one", q="lantern", filter="playtime:>1")] == ["one:1"]
    assert await listed(two_stores, provider="two", filter="store:one") == []
    assert await listed(two_stores, provider="three") == []


async def test_the_filter_knows_what_the_player_decided_about_the_whole_title(two_stores: Player) -> None:
    changes = await two_stores.everything()
    keep = next(each.title_id for each in changes.releases if each.key == "two:1")
    async with two_stores.backend.db.writing.begin() as session:
        wishes = GameWishes(favourite=True, tags=["Cosy"], hidden=True, proton="GE-Proton9-1", launch_options="-w")
        await preferences.change_game(session, two_stores.user, "two:1", wishes)
    both = [each.key for each in changes.releases if each.title_id == keep]
    (own,) = await listed(two_stores, q="lantern", provider="two")
    assert (own["proton"], own["launch_options"]) == ("GE-Proton9-1", "-w")
    for words in ("favourite:yes", "hidden:yes", "tag:cosy", "favourite:yes hidden:yes tag:COSY"):
        assert sorted(each["key"] for each in await listed(two_stores, filter=words)) == sorted(both), words
        turned = words.replace("yes", "no")
        if "tag" not in words:
            assert {each["key"] for each in await listed(two_stores, filter=turned)} == {each.key for each in changes.releases} - {*both}
    assert await listed(two_stores, filter="tag:other") == []
    assert await lists_of_others(two_stores, filter="favourite:yes") == []


async def test_titles_that_the_player_merged_and_split_are_the_same_here_as_in_the_changes(two_stores: Player) -> None:
    async def told() -> dict[str, str]:
        return {each.key: each.title_id for each in (await two_stores.everything()).releases}

    async def seen() -> dict[str, str]:
        return {each["key"]: each["title_id"] for each in await listed(two_stores)}

    before = await told()
    async with two_stores.backend.db.writing.begin() as session:
        await merging.merge(session, two_stores.user, ["one:2", "one:3"])
    merged = await told()
    assert merged != before and await seen() == merged
    async with two_stores.backend.db.writing.begin() as session:
        await merging.split(session, two_stores.user, "one:1")
    assert await seen() == await told()


async def test_a_filter_that_means_nothing_here_is_wrong_usage(open_player: OpenPlayer) -> None:
    player, _ = await a_player(open_player, "One")
    for words in ("colour:red", "installed:yes", "installed:perhaps", "playtime:soon", "last:>9999999y", "last:>9999999m"):
        with pytest.raises(UsageError) as caught:
            await page(player, filter=words)
        assert caught.value.hint
    with pytest.raises(UsageError, match="order"):
        await page(player, sort="size")


async def test_pages_do_not_shift_when_what_went_by_is_gone(open_player: OpenPlayer) -> None:
    names = ["The Witness", "Alpha", "Zeta", "alpha", "Beta", "A Beta", "Ömega"]
    player, shelf = await a_player(open_player, *names)
    seen, cursor = await page(player, limit=2)
    while cursor is not None:
        shelf.games["ann"] = [each for each in shelf.games["ann"] if each.title != seen[0]["title"]]
        await player.pull()
        more, cursor = await page(player, limit=2, cursor=cursor)
        seen += more
    assert [each["title"] for each in seen] == ["Alpha", "alpha", "Beta", "A Beta", "Ömega", "The Witness", "Zeta"]


async def test_a_part_of_the_name_finds_it_whatever_its_accents(open_player: OpenPlayer) -> None:
    player, _ = await a_player(open_player, "Ōkami HD", "100% Orange", "A_B", "AxB")
    assert await titles(player, q="okami") == ["Ōkami HD"]
    assert await titles(player, q="100%") == ["100% Orange"]
    assert await titles(player, q="a_b") == ["A_B"]


def _forged(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


async def test_a_made_up_cursor_is_wrong_usage(open_player: OpenPlayer) -> None:
    player, _ = await a_player(open_player, "One")
    for cursor in ("", "x", "é", _forged(1, 2), _forged("a"), _forged("a", "b", "c"), "W" * 1500):
        with pytest.raises(UsageError):
            await page(player, cursor=cursor)


async def test_a_cursor_is_good_for_its_own_list_alone(two_stores: Player) -> None:
    asked: list[dict[str, Any]] = [{}, {"sort": "-title"}, {"sort": "store"}, {"provider": "one"}, {"q": "n"}, {"filter": "playtime:>=0"}]
    cursors = [(await page(two_stores, limit=1, **each))[1] for each in asked]
    for at, cursor in enumerate(cursors):
        for other, query in enumerate(asked):
            if at == other:
                await page(two_stores, cursor=cursor, **query)
                continue
            with pytest.raises(UsageError):
                await page(two_stores, cursor=cursor, **query)
    with pytest.raises(UsageError):
        await owned_page(two_stores.backend.db, "somebody", ListQuery(), limit=1, cursor=cursors[0])


async def test_a_cursor_with_values_of_another_kind_is_wrong_usage(two_stores: Player) -> None:
    _, cursor = await page(two_stores, limit=1, sort="playtime")
    assert cursor is not None
    mark, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for odd in (["1", *values[1:]], [True, *values[1:]], [2**63, *values[1:]], [values[0], 7, "k"], [values[0], "\0", "k"], values[:2]):
        with pytest.raises(UsageError):
            await page(two_stores, sort="playtime", cursor=_forged(mark, *odd))


async def test_games_that_are_owned_no_more_are_not_listed(two_stores: Player) -> None:
    await two_stores.sign_out("one", "ann")
    found = await listed(two_stores)
    assert [(each["key"], each["accounts"], each["playtime_min"]) for each in found if each["provider"] == "one"] == [
        ("one:1", ["bob"], 45)
    ]
    assert await lists_of_others(two_stores) == []


async def lists_of_others(player: Player, **asked: Any) -> list[Any]:
    items, _ = await owned_page(player.backend.db, "somebody", ListQuery(**asked), limit=50)
    return json.loads(items)  # type: ignore[no-any-return]


async def places(player: Player) -> list[Any]:
    """How each entry is sorted, beside how its game is."""
    query = select(library_entries.c.game_key, library_entries.c.provider, games.c.provider, library_entries.c.sort, games.c.sort)
    async with player.backend.db.reading() as session:
        return list((await session.execute(query.join(games, games.c.key == library_entries.c.game_key))).all())


def in_place(rows: list[Any]) -> bool:
    return all(row[1] == row[2] and row[3] == row[4] for row in rows)


async def test_entries_stand_where_their_games_names_belong_through_every_change(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1", "Beta"), OwnedGame("2", "")], "bob": [owned("1", "Beta"), OwnedGame("2", "")]})
    player: Player = await open_player({"fake": fake_store(shelf)})
    await player.sign_in("fake", "ann")
    await player.sign_in("fake", "bob")
    await player.pull()
    assert in_place(await places(player)) and await titles(player) == ["2", "Beta"]
    shelf.games["ann"] = [owned("1", "Zeta"), OwnedGame("2", "")]  # renamed in one account's list: both accounts' entries move
    shelf.games["bob"] = [owned("1", "Zeta"), OwnedGame("2", "")]
    await player.pull()
    assert in_place(await places(player)) and await titles(player) == ["2", "Zeta"]
    shelf.metadata["2"] = told("2", title="Zulu")  # a name from the metadata
    await player.read_metadata()
    assert in_place(await places(player)) and await titles(player) == ["Zeta", "Zulu"]
    await player.sign_out()
    await player.sign_in("fake", "ann")
    shelf.games["ann"] = [owned("1", "Alpha"), OwnedGame("2", "")]
    await player.pull()
    assert in_place(await places(player)) and await titles(player) == ["Alpha", "Zulu"]


async def test_an_entry_that_stands_wrong_is_put_right_by_the_next_sync(open_player: OpenPlayer) -> None:
    player, _ = await a_player(open_player, "Alpha", "Beta")
    async with player.backend.db.writing.begin() as session:
        await session.execute(text("UPDATE library_entries SET sort = 'zzz' WHERE game_key = 'fake:0'"))
    before = (await player.changes()).revision
    await player.pull()
    assert in_place(await places(player))
    assert (await player.changes()).revision == before


@pytest.mark.parametrize(("sort", "index"), [("title", "ix_library_entries_titles"), ("-store", "ix_library_entries_stores")])
async def test_a_page_is_read_in_the_order_of_an_index(open_player: OpenPlayer, sort: str, index: str) -> None:
    """However long the library is, only the rows of the page are read."""
    player, _ = await a_player(open_player, "One", "Two")
    dialect = player.backend.db.engine.dialect
    statement = lists._statement(dialect.name, sort, by_provider=False, goes_on=True)
    values = {"user_id": "local", "found": 3, "shown": 2, "last": 1, "after0": "a", "after1": "a", "after2": "a"}
    compiled = statement.compile(dialect=dialect)
    bound = compiled.construct_params(values)
    words = tuple(bound[name] for name in compiled.positiontup or ())
    async with player.backend.db.reading() as session:
        if dialect.name == "postgresql":  # of a table with two rows it would read all
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            await session.execute(text("SET LOCAL enable_bitmapscan = off"))
        connection = await session.connection()
        explain = "EXPLAIN" if dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = [str(row) for row in (await connection.exec_driver_sql(f"{explain} {compiled}", words)).all()]
    (at,) = [at for at, line in enumerate(plan) if index in line]
    assert not any("Sort" in line or "TEMP B-TREE" in line for line in plan[max(0, at - 2) : at + 1]), plan

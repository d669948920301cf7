from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from integ_server.contract.types import TitleDetails
from integ_server.models.tables import games, titles
from integ_server.providers.base import GameMetadata
from integ_server.services.joining import Release, join
from integ_server.services.naming import match_name
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import OpenPlayer, Player, player_on


async def _two_stores(open_player: OpenPlayer, steam: Shelf, gog: Shelf) -> Player:
    player: Player = await open_player({"steam": fake_store(steam, "steam"), "gog": fake_store(gog, "gog")})
    for slug in ("steam", "gog"):
        await player.sign_in(slug, "ann")
    return player


async def test_one_game_at_two_stores_is_one_title_by_its_group_and_keeps_the_older_id(open_player: OpenPlayer) -> None:
    steam = Shelf(games={"ann": [owned("1", "Lantern Keep")]}, metadata={"1": told("1", group_id="g1", year=2020)})
    gog = Shelf(games={"ann": [owned("2", "Lantern Keep Gold")]}, metadata={"2": told("2", group_id="g1", year=2021)})
    player = await _two_stores(open_player, steam, gog)
    await player.pull("steam")
    await player.read_metadata()
    since = (await player.changes()).revision
    await player.pull("gog")
    assert await player.partition() == {"lantern-keep": ["steam:1"], "lantern-keep-gold": ["gog:2"]}

    await player.read_metadata()

    assert await player.partition() == {"lantern-keep": ["gog:2", "steam:1"]}
    news = await player.changes(since)
    assert [(each.id, each.guessed) for each in news.titles] == [("lantern-keep", False)]
    assert {each.key for each in news.releases} == {"steam:1", "gog:2"}


async def test_a_sibling_joins_even_if_its_own_look_up_finds_nothing(open_player: OpenPlayer) -> None:
    steam = Shelf(games={"ann": [owned("1", "Keep, The")]}, metadata={"1": GameMetadata("1", found=False)})
    gog = Shelf(
        games={"ann": [owned("2", "Lantern Keep")]}, metadata={"2": told("2", group_id="g1", siblings=(("steam", "1"), ("psn", "x")))}
    )
    player = await _two_stores(open_player, steam, gog)
    await player.pull("gog")
    await player.read_metadata()

    await player.pull("steam")

    assert await player.partition() == {"lantern-keep": ["gog:2", "steam:1"]}
    await player.read_metadata()
    assert await player.partition() == {"lantern-keep": ["gog:2", "steam:1"]}


async def test_a_guess_is_marked_and_taken_back_when_more_becomes_known(open_player: OpenPlayer) -> None:
    steam = Shelf(games={"ann": [owned("1", "Prey")]}, metadata={"1": told("1", year=2017)})
    gog = Shelf(games={"ann": [owned("2", "PREY™")]}, metadata={"2": GameMetadata("2", found=False)})
    player = await _two_stores(open_player, steam, gog)
    await player.pull()
    await player.read_metadata()
    assert await player.partition() == {"prey": ["gog:2", "steam:1"]}
    guessed = (await player.everything()).titles[0]
    assert guessed.guessed

    gog.metadata["2"] = told("2", year=2006)
    await player.pull("gog", full=True)
    await player.read_metadata()

    split = await player.partition()
    assert len(split) == 2 and split["prey"] in (["gog:2"], ["steam:1"])
    assert not any(each.guessed for each in (await player.everything()).titles)


async def test_a_split_gives_the_title_to_the_release_it_was_made_for_and_a_rejoin_the_same_id_again(open_player: OpenPlayer) -> None:
    steam = Shelf(games={"ann": [owned("1", "Orbit")]}, metadata={"1": told("1", year=2010)})
    gog = Shelf(games={"ann": [owned("2", "Orbit")]}, metadata={"2": told("2", year=2010)})
    player = await _two_stores(open_player, steam, gog)
    await player.pull("steam")
    await player.read_metadata()
    await player.pull("gog")
    await player.read_metadata()
    joined = {"orbit": ["gog:2", "steam:1"]}
    assert await player.partition() == joined
    for year, expected in (
        (2011, {"orbit": ["steam:1"], "orbit-gog": ["gog:2"]}),
        (2010, joined),
        (2012, {"orbit": ["steam:1"], "orbit-gog": ["gog:2"]}),
    ):
        gog.metadata["2"] = told("2", year=year)
        await player.pull("gog", full=True)
        await player.read_metadata()
        assert await player.partition() == expected


async def test_games_of_one_name_get_ids_of_their_own_that_are_never_given_to_another(open_player: OpenPlayer) -> None:
    names = ["Prey", "Prey", "PREY", "Prey Steam", "!!!", "???"]
    steam = Shelf(games={"ann": [owned(str(at), name) for at, name in enumerate(names)]})
    player = await _two_stores(open_player, steam, Shelf(games={"ann": []}))
    await player.pull()
    first = await player.partition()
    assert first == {
        "prey": ["steam:0"],
        "prey-steam": ["steam:3"],
        "prey-steam-1": ["steam:1"],
        "prey-steam-2": ["steam:2"],
        "steam-4": ["steam:4"],
        "steam-5": ["steam:5"],
    }
    steam.games["ann"] = [owned("7", "Prey")]
    await player.pull()
    assert await player.partition() | {"prey": ["steam:0"]} == {"prey": ["steam:0"], "prey-steam-7": ["steam:7"]}


async def test_a_nameless_release_gets_its_name_with_the_metadata_and_a_proper_id(open_player: OpenPlayer) -> None:
    gog = Shelf(
        games={"ann": [owned("1", "Lantern Keep"), owned("2", " ")]},
        metadata={"1": told("1"), "2": told("2", title="Quiet Orbit", details=TitleDetails(genres=["Puzzle"]))},
    )
    gog.games["ann"][1] = gog.games["ann"][1].__class__("2", "")
    player = await _two_stores(open_player, Shelf(games={"ann": []}), gog)
    await player.pull()
    assert [each.title for each in (await player.everything()).releases] == ["Lantern Keep", "2"]
    await player.read_metadata()

    told_now = await player.everything()
    assert await player.partition() == {"lantern-keep": ["gog:1"], "quiet-orbit": ["gog:2"]}
    assert [each.details.genres for each in told_now.titles if each.details] == [["Puzzle"]]
    assert (await player.pull()).model_dump() == {"added": 0, "changed": 0, "removed": 0, "total": 2}


async def test_metadata_that_calls_a_game_an_add_on_moves_it_below_its_parent(open_player: OpenPlayer) -> None:
    gog = Shelf(
        games={"ann": [owned("1", "Lantern Keep"), owned("2", "Lantern Keep - Soundtrack")]},
        metadata={"1": told("1", group_id="g1"), "2": told("2", kind="dlc", parent_id="1", group_id="g1")},
    )
    steam = Shelf(games={"ann": [owned("5", "Lantern Keep (Old)")]}, metadata={"5": told("5", group_id="g1")})
    player = await _two_stores(open_player, steam, gog)
    await player.pull("steam")
    await player.pull("gog")
    await player.read_metadata()

    assert await player.partition() == {"lantern-keep-old": ["gog:1", "gog:2", "steam:5"]}
    kinds = {each.key: (each.kind, each.parent_key) for each in (await player.everything()).releases}
    assert kinds["gog:2"] == ("dlc", "gog:1")


facts = st.lists(
    st.tuples(
        st.sampled_from(("steam", "gog", "itch")),
        st.sampled_from(("Prey", "PREY", "Orbit", "Keep")),
        st.sampled_from((None, 2006, 2017)),
        st.sampled_from((None, None, "g1", "g2")),
        st.booleans(),
    ),
    max_size=8,
)
Fact = tuple[str, str, "int | None", "str | None", bool]


@given(facts, st.integers(0, 2**32))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_whatever_order_things_become_known_the_titles_are_the_same_and_a_second_sync_changes_nothing(
    drawn: list[Fact], seed: int
) -> None:
    rng = random.Random(seed)
    shelves = {slug: Shelf(games={"ann": []}) for slug in ("steam", "gog", "itch")}
    expected: list[Release] = []
    for at, (slug, name, year, group, is_found) in enumerate(drawn):
        shelves[slug].games["ann"].append(owned(str(at), name))
        answer = told(str(at), year=year, group_id=group) if is_found else GameMetadata(str(at), found=False)
        shelves[slug].metadata[str(at)] = answer
        expected.append(Release(f"{slug}:{at}", slug, match_name(name), answer.year, answer.group_id, asked=True))

    async def one_player() -> None:
        with tempfile.TemporaryDirectory() as folder:
            stores = {slug: fake_store(shelf, slug) for slug, shelf in shelves.items()}
            async with player_on(f"sqlite+aiosqlite:///{Path(folder)}/integ.db", stores) as player:
                await _in_some_order(player, rng, shelves)
                found = sorted(tuple(keys) for keys in (await player.partition()).values())
                assert found == sorted(each.keys for each in join(expected))
                before = (await player.partition(), (await player.changes()).revision)
                await player.pull()
                assert (await player.partition(), (await player.changes()).revision) == before
                await _check_whole(player)

    asyncio.run(one_player())


async def _in_some_order(player: Player, rng: random.Random, shelves: dict[str, Shelf]) -> None:
    """Sign in at the stores one after the other, each bringing its games in portions, with metadata read in between or not."""
    whole = {slug: list(shelf.games["ann"]) for slug, shelf in shelves.items()}
    steps: list[tuple[str, int]] = [(slug, count) for slug in whole for count in {rng.randint(0, len(whole[slug])), len(whole[slug])}]
    rng.shuffle(steps)
    known: dict[str, set[str]] = {slug: set() for slug in whole}
    seen_ids: set[str] = set()
    for slug, count in [*steps, *((slug, len(whole[slug])) for slug in whole)]:
        shelves[slug].games["ann"] = list(whole[slug][: max(count, len(known[slug]))])
        known[slug] |= {each.provider_game_id for each in shelves[slug].games["ann"]}
        rng.shuffle(shelves[slug].games["ann"])
        await player.sign_in(slug, "ann")
        await player.pull(slug)
        if rng.random() < 0.5:
            await player.read_metadata()
        async with player.backend.db.reading() as session:
            now = set((await session.execute(select(titles.c.id))).scalars())
        assert seen_ids <= now, "an id that was given out is gone"
        seen_ids = now
    for slug in whole:
        await player.pull(slug, full=True)
        await player.read_metadata()


async def _check_whole(player: Player) -> None:
    """Every release has a title that is there, and every title's face is one of its releases while it has any."""
    async with player.backend.db.reading() as session:
        rows: Sequence[tuple[str, str]] = [
            (row.key, row.title_id) for row in (await session.execute(select(games.c.key, games.c.title_id)))
        ]
        stored = {row.id: row for row in (await session.execute(select(titles)))}
    members: dict[str, set[str]] = {}
    for key, title_id in rows:
        members.setdefault(title_id, set()).add(key)
    for title_id, keys in members.items():
        assert stored[title_id].face in keys

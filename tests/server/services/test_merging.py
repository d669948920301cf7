from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from integ_server.contract.errors import AmbiguousError, GameNotFoundError, IntegError
from integ_server.contract.preferences import Arranged, GameWishes
from integ_server.contract.types import ReleaseRecord, TitleRecord
from integ_server.models.tables import titles
from integ_server.services import merging, preferences
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import OpenPlayer, Player, player_on

STORES = ("steam", "gog", "itch")


async def _a_player(open_player: OpenPlayer, **games: str) -> tuple[Player, dict[str, Shelf]]:
    """A player with a game at each store: `steam="Name"`; its id there is 1."""
    shelves = {slug: Shelf(games={"ann": [owned("1", name)]}, metadata={"1": told("1")}) for slug, name in games.items()}
    player: Player = await open_player({slug: fake_store(shelf, slug) for slug, shelf in shelves.items()})
    for slug in shelves:
        await player.sign_in(slug, "ann")
        await player.pull(slug)
        await player.read_metadata()
    return player, shelves


async def _do(player: Player, what: Callable[..., Any], *asked: Any) -> Arranged:
    async with player.backend.db.writing.begin() as session:
        done: Arranged = await what(session, player.user, *asked)
        return done


async def test_a_merge_keeps_the_first_ones_id_survives_every_sync_and_is_undone_by_its_title(open_player: OpenPlayer) -> None:
    player, shelves = await _a_player(open_player, steam="Keep", gog="Castle")
    apart = await player.partition()
    since = (await player.changes()).revision

    done = await _do(player, merging.merge, ["castle", "steam:1"])

    together = {"castle": ["gog:1", "steam:1"]}
    assert (done.changed, {each.title_id: each.keys for each in done.titles}) == (True, together)
    assert await player.partition() == together
    assert {each.key: each.title_id for each in (await player.changes(since)).releases} == {"gog:1": "castle", "steam:1": "castle"}
    shelves["steam"].metadata["1"] = told("1", year=2001, group_id="g7")
    shelves["gog"].metadata["1"] = told("1", year=2020, group_id="g8")
    for _ in range(2):
        await player.pull(full=True)
        await player.read_metadata()
        assert await player.partition() == together
    assert not (await _do(player, merging.merge, ["castle", "steam:1"])).changed

    await _do(player, merging.split, "castle")

    assert await player.partition() == apart
    assert not (await _do(player, merging.split, "castle")).changed


async def test_what_is_bought_later_and_belongs_to_a_merged_title_follows_the_merge(open_player: OpenPlayer) -> None:
    player, shelves = await _a_player(open_player, steam="Keep", gog="Castle")
    await _do(player, merging.merge, ["keep", "castle"])
    shelves["gog"].metadata |= {"1": told("1", group_id="g1"), "2": told("2", group_id="g1"), "3": told("3", kind="dlc", parent_id="1")}
    shelves["gog"].games["ann"] += [owned("2", "Castle Gold"), owned("3", "Castle - Soundtrack")]
    await player.pull(full=True)
    await player.read_metadata()
    assert await player.partition() == {"keep": ["gog:1", "gog:2", "gog:3", "steam:1"]}


async def test_a_release_that_is_split_off_gets_a_title_of_its_own_and_goes_back(open_player: OpenPlayer) -> None:
    player, shelves = await _a_player(open_player, steam="Keep", gog="Keep")
    assert await player.partition() == {"keep": ["gog:1", "steam:1"]}
    shelves["steam"].games["ann"].append(owned("5", "Keep - Music", kind="dlc", parent_id="1"))
    await player.pull("steam")

    await _do(player, merging.split, "steam:1")

    parted = {"keep": ["gog:1"], "keep-steam": ["steam:1", "steam:5"]}
    assert await player.partition() == parted
    await player.pull(full=True)
    await player.read_metadata()
    assert await player.partition() == parted
    assert {each.id: each.title for each in (await player.everything()).titles} == {"keep": "Keep", "keep-steam": "Keep"}
    assert (await _do(player, merging.unsplit, "steam:1")).changed
    assert await player.partition() == {"keep": ["gog:1", "steam:1", "steam:5"]}
    assert not (await _do(player, merging.unsplit, "steam:1")).changed
    await _do(player, merging.split, "steam:1")
    assert await player.partition() == parted, "the same id again: it never means anything else"


async def test_a_split_wins_over_a_group_that_is_told_later(open_player: OpenPlayer) -> None:
    player, shelves = await _a_player(open_player, steam="Keep", gog="Keep")
    await _do(player, merging.split, "gog:1")
    for slug in ("steam", "gog"):
        shelves[slug].metadata["1"] = told("1", group_id="g1")
    await player.pull(full=True)
    await player.read_metadata()
    assert sorted((await player.partition()).values()) == [["gog:1"], ["steam:1"]]


async def test_of_three_merged_the_one_that_gave_its_id_can_leave_with_it(open_player: OpenPlayer) -> None:
    player, _ = await _a_player(open_player, steam="Keep", gog="Castle", itch="Tower")
    await _do(player, merging.merge, ["keep", "castle", "tower"])
    await _do(player, merging.split, "steam:1")
    assert await player.partition() == {"keep": ["steam:1"], "castle": ["gog:1", "itch:1"]}


async def test_a_merge_over_a_split_goes_back_to_the_split(open_player: OpenPlayer) -> None:
    player, _ = await _a_player(open_player, steam="Keep", gog="Keep", itch="Tower")
    await _do(player, merging.split, "steam:1")
    parted = await player.partition()
    await _do(player, merging.merge, ["tower", "steam:1"])
    assert await player.partition() == {"keep": ["gog:1"], "tower": ["itch:1", "steam:1"]}
    await _do(player, merging.split, "tower")
    assert await player.partition() == parted


async def test_a_title_that_the_stores_joined_asks_which_release_is_meant(open_player: OpenPlayer) -> None:
    player, _ = await _a_player(open_player, steam="Keep", gog="Keep")
    with pytest.raises(AmbiguousError) as caught:
        await _do(player, merging.split, "keep")
    assert [each["key"] for each in (caught.value.data or {})["candidates"]] == ["gog:1", "steam:1"]
    assert caught.value.hint == "integ split gog:1"
    for nobody in ("steam:7", "nothing", "x\0"):
        with pytest.raises(GameNotFoundError):
            await _do(player, merging.merge, ["keep", nobody])


async def test_a_guess_that_the_player_confirmed_is_none(open_player: OpenPlayer) -> None:
    player, _ = await _a_player(open_player, steam="Keep", gog="Keep")
    assert (await player.everything()).titles[0].guessed
    since = (await player.changes()).revision
    await _do(player, merging.merge, ["steam:1", "gog:1"])
    assert [each.guessed for each in (await player.changes(since)).titles] == [False]


async def test_what_was_decided_goes_with_the_release(open_player: OpenPlayer) -> None:
    player, _ = await _a_player(open_player, steam="Keep", gog="Castle")
    async with player.backend.db.writing.begin() as session:
        await preferences.change_game(session, player.user, "castle", GameWishes(favourite=True, tags=["stone"], notes="walls"))
    since = (await player.changes()).revision
    await _do(player, merging.merge, ["keep", "castle"])
    (title,) = (await player.changes(since)).titles
    assert (title.id, title.favourite, title.tags, title.notes) == ("keep", True, ["stone"], "walls")
    await _do(player, merging.split, "gog:1")
    known = {each.id: (each.favourite, each.tags) for each in (await player.everything()).titles}
    assert known == {"keep": (False, []), "castle": (True, ["stone"])}


# --- whatever happens, in whatever order ---------------------------------------------------------------------------

steps = st.lists(st.tuples(st.sampled_from(("pull", "told", "merge", "split", "unsplit", "wish")), st.integers(0, 2**20)), max_size=14)


@given(steps, st.integers(0, 2**32))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_syncs_merges_splits_and_undos_every_release_is_in_one_title_and_every_device_knows_it(
    drawn: list[tuple[str, int]], seed: int
) -> None:
    rng = random.Random(seed)
    shelves = {slug: Shelf(games={"ann": []}) for slug in STORES}

    async def one_player() -> None:
        with tempfile.TemporaryDirectory() as folder:
            stores = {slug: fake_store(shelf, slug) for slug, shelf in shelves.items()}
            async with player_on(f"sqlite+aiosqlite:///{Path(folder)}/integ.db", stores) as player:
                device = _Device(player)
                for slug in STORES:
                    await player.sign_in(slug, "ann")
                for what, number in [("pull", rng.randint(0, 99)), *drawn]:
                    await _step(player, shelves, what, random.Random(number))
                    await device.check(often=rng.random() < 0.7)
                await device.check(often=True)

    asyncio.run(one_player())


async def _step(player: Player, shelves: dict[str, Shelf], what: str, rng: random.Random) -> None:
    keys = sorted(each.key for each in (await player.everything()).releases)
    if what in {"pull", "told"}:
        slug = rng.choice(STORES)
        if what == "pull":
            ids = rng.sample(range(5), rng.randint(1, 5))
            shelves[slug].games["ann"] = [_game(each) for each in ids]
        for each in range(5):
            kind = {"kind": "dlc", "parent_id": "0"} if each == 4 else {"group_id": rng.choice((None, None, "g1", "g2"))}
            shelves[slug].metadata[str(each)] = told(str(each), year=rng.choice((None, 2006)), **kind)
        await player.pull(slug, full=what == "told")
        await player.read_metadata()
    elif len(keys) > 1 and what == "merge":
        await _do(player, merging.merge, rng.sample(keys, rng.randint(2, min(4, len(keys)))))
    elif keys and what in {"split", "unsplit"}:
        game = rng.choice([*keys, *(await player.partition())])
        before = await player.partition()
        try:
            await _do(player, getattr(merging, what), game)
        except AmbiguousError:
            assert await player.partition() == before
            return
        if what == "split" and game in keys and (game.partition(":")[2] != "4"):
            (mates,) = [mates for mates in (await player.partition()).values() if game in mates]
            (were,) = [mates for mates in before.values() if game in mates]
            assert len(_games(were)) == 1 or len(_games(mates)) < len(_games(were))
    elif keys:
        async with player.backend.db.writing.begin() as session:
            wishes = GameWishes(favourite=rng.random() < 0.5, tags=[rng.choice("abc")], hidden=rng.choice((None, True, False)))
            await preferences.change_game(session, player.user, rng.choice(keys), wishes)


def _games(keys: list[str]) -> list[str]:
    return [key for key in keys if not key.endswith(":4")]


def _game(number: int) -> Any:
    more = {"kind": "dlc", "parent_id": "0"} if number == 4 else {}
    return owned(str(number), ("Prey", "PREY", "Orbit", "Keep", "Keep - Music")[number], **more)


class _Device:
    """What a client that follows the feed knows, held against what one knows that begins anew."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._revision = 0
        self._titles: dict[str, TitleRecord] = {}
        self._releases: dict[str, ReleaseRecord] = {}
        self._ids: dict[str, str] = {}

    async def check(self, *, often: bool) -> None:
        if not often:
            return
        news = await self._player.changes(self._revision)
        assert not news.more
        self._revision = news.revision
        self._titles |= {each.id: each for each in news.titles}
        for each in news.releases:
            self._releases[each.key] = each
        known = {key: each for key, each in self._releases.items() if not each.removed}
        whole = await self._player.everything()
        assert known == {each.key: each for each in whole.releases}
        fresh = {each.id: each for each in whole.titles}
        assert {each.title_id for each in known.values()} == fresh.keys(), "every release is in a title that is told of"
        assert {title_id: self._titles[title_id] for title_id in fresh} == fresh
        async with self._player.backend.db.reading() as session:
            ids = {row.id: row.founder for row in await session.execute(select(titles.c.id, titles.c.founder))}
        assert self._ids.items() <= ids.items(), "an id that was given out means something else, or is gone"
        self._ids = ids


async def test_merging_and_splitting_at_once_leaves_every_release_in_one_title(open_player: OpenPlayer) -> None:
    player, _ = await _a_player(open_player, steam="Keep", gog="Castle", itch="Tower")
    asked = [
        _do(player, merging.merge, ["keep", "castle"]),
        _do(player, merging.merge, ["castle", "tower"]),
        _do(player, merging.split, "steam:1"),
        player.pull(full=True),
    ]
    for result in await asyncio.gather(*asked, return_exceptions=True):
        assert not isinstance(result, BaseException) or isinstance(result, IntegError), result
    device = _Device(player)
    await device.check(often=True)
    assert sorted(key for keys in (await player.partition()).values() for key in keys) == ["gog:1", "itch:1", "steam:1"]

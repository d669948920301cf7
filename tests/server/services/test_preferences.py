from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from integ_server.contract.errors import GameNotFoundError, UsageError
from integ_server.contract.preferences import GamePreferences, GameWishes, UserWishes
from integ_server.contract.types import UserPreferences
from integ_server.services import preferences
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import OpenPlayer, Player

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def _a_player(open_player: OpenPlayer) -> tuple[Player, Shelf, Shelf]:
    """Lantern Keep at both stores, joined by its group, and Orbit at Steam."""
    steam = Shelf(games={"ann": [owned("1", "Lantern Keep"), owned("9", "Orbit")]}, metadata={"1": told("1", group_id="g1")})
    gog = Shelf(games={"ann": [owned("2", "Lantern Keep Gold")]}, metadata={"2": told("2", group_id="g1")})
    player: Player = await open_player({"steam": fake_store(steam, "steam"), "gog": fake_store(gog, "gog")})
    for slug in ("steam", "gog"):
        await player.sign_in(slug, "ann")
        await player.pull(slug)
        await player.read_metadata()
    assert await player.partition() == {"lantern-keep": ["gog:2", "steam:1"], "orbit": ["steam:9"]}
    return player, steam, gog


async def _change(player: Player, game: str, **wishes: Any) -> GamePreferences:
    async with player.backend.db.writing.begin() as session:
        return await preferences.change_game(session, player.user, game, GameWishes(**wishes))


async def _change_user(player: Player, **wishes: Any) -> UserPreferences:
    async with player.backend.db.writing.begin() as session:
        return await preferences.change_user(session, player.user, UserWishes(**wishes))


async def test_what_is_left_out_stays_and_the_feed_tells_of_what_changed(open_player: OpenPlayer) -> None:
    player, _, _ = await _a_player(open_player)
    since = (await player.changes()).revision
    await _change(player, "steam:1", favourite=True, tags=["Night", "harbour"])
    answer = await _change(player, "gog:2", notes="Seven lamps.\r\nTake\x1b[31m care.", add_tags=["NIGHT", "fog"], remove_tags=["Harbour"])
    assert (answer.title_id, answer.favourite, answer.tags, answer.notes) == (
        "lantern-keep",
        True,
        ["fog", "Night"],
        "Seven lamps.\nTake[31m care.",
    )
    news = await player.changes(since)
    assert [(each.id, each.favourite, each.tags, each.notes) for each in news.titles] == [
        ("lantern-keep", True, ["fog", "Night"], "Seven lamps.\nTake[31m care.")
    ]


async def test_a_wish_that_changes_nothing_is_told_to_no_device(open_player: OpenPlayer) -> None:
    player, _, _ = await _a_player(open_player)
    await _change(player, "orbit", favourite=True, tags=["a"], proton="GE-Proton9-27", notes="n", hidden=False)
    await _change_user(player, language="de")
    before = (await player.changes()).revision
    await _change(player, "orbit", favourite=True, add_tags=["A"], proton="GE-Proton9-27", notes="n", hidden=False)
    await _change_user(player, language="de")
    assert (await player.changes()).revision == before


async def test_hidden_is_the_players_word_until_it_is_taken_back(open_player: OpenPlayer) -> None:
    player, steam, _ = await _a_player(open_player)
    steam.games["ann"][1] = owned("9", "Orbit", hidden=True)
    await player.pull("steam")

    async def is_hidden() -> bool:
        return {each.id: each.hidden for each in (await player.everything()).titles}["orbit"]

    assert await is_hidden()
    for word, shown in ((False, False), (True, True), (None, True)):
        assert (await _change(player, "orbit", hidden=word)).hidden == word
        await player.pull("steam")
        assert await is_hidden() == shown


async def test_proton_and_launch_options_belong_to_the_release_or_to_all_of_a_title_that_is_named(open_player: OpenPlayer) -> None:
    player, _, _ = await _a_player(open_player)
    await _change(player, "gog:2", proton="GE-Proton9-27", launch_options=" -windowed\n --name 'two words' ")
    known = {each.key: (each.proton, each.launch_options) for each in (await player.everything()).releases}
    assert known == {"gog:2": ("GE-Proton9-27", "-windowed  --name 'two words'"), "steam:1": (None, None), "steam:9": (None, None)}
    answer = await _change(player, "lantern-keep", proton="GE-Proton8-26", launch_options=None)
    assert [(each.key, each.proton, each.launch_options) for each in answer.releases] == [
        ("gog:2", "GE-Proton8-26", None),
        ("steam:1", "GE-Proton8-26", None),
    ]


async def test_what_was_decided_outlives_the_game_and_is_there_when_it_comes_back(open_player: OpenPlayer) -> None:
    player, steam, _ = await _a_player(open_player)
    await _change(player, "steam:9", favourite=True, notes="later")
    games = steam.games["ann"]
    steam.games["ann"] = games[:1]
    await player.pull("steam")
    gone = await player.changes()
    assert [(each.key, each.notes) for each in gone.loose or []] == [("steam:9", "later")]
    steam.games["ann"] = games
    await player.pull("steam")
    back = await player.everything()
    assert {each.id: (each.favourite, each.notes) for each in back.titles}["orbit"] == (True, "later")
    assert (await player.changes()).loose == []


async def test_a_game_that_no_store_told_of_is_organised_by_its_key(open_player: OpenPlayer) -> None:
    player, _, _ = await _a_player(open_player)
    since = (await player.changes()).revision
    assert (await _change(player, "own:my-thing", favourite=True, hidden=True, proton="GE-Proton9-27")).title_id == ""
    told_now = await player.changes(since)
    assert told_now.loose is not None and [each.model_dump() for each in told_now.loose] == [
        {
            "key": "own:my-thing",
            "favourite": True,
            "hidden": True,
            "tags": [],
            "notes": "",
            "proton": "GE-Proton9-27",
            "launch_options": None,
        }
    ]
    for nobody in ("nothing-here", "a:b:c", "", "x\0y"):
        with pytest.raises(GameNotFoundError):
            await _change(player, nobody, favourite=True)


async def test_there_is_an_end_to_games_that_no_store_knows(open_player: OpenPlayer, monkeypatch: pytest.MonkeyPatch) -> None:
    player, _, _ = await _a_player(open_player)
    monkeypatch.setattr(preferences, "MOST_LOOSE", 2)
    await _change(player, "own:1", favourite=True)
    await _change(player, "own:2", favourite=True)
    with pytest.raises(UsageError, match="too many"):
        await _change(player, "own:3", favourite=True)
    await _change(player, "own:1", notes="still taken")
    await _change(player, "orbit", favourite=True)


async def test_of_joined_titles_one_favourite_all_tags_and_the_newest_words_count(open_player: OpenPlayer) -> None:
    steam = Shelf(games={"ann": [owned("1", "Keep")]}, metadata={"1": told("1", group_id="g1")})
    gog = Shelf(games={"ann": [owned("2", "Other Keep")]}, metadata={"2": told("2")})
    player: Player = await open_player({"steam": fake_store(steam, "steam"), "gog": fake_store(gog, "gog")})
    for slug in ("steam", "gog"):
        await player.sign_in(slug, "ann")
    await player.pull()
    await player.read_metadata()
    await _change(player, "keep", favourite=True, tags=["a"], notes="old", hidden=True)
    async with player.backend.db.writing.begin() as session:
        table = preferences.game_preferences
        await session.execute(table.update().values(notes_at=LONG_AGO, hidden_at=LONG_AGO))
    await _change(player, "other-keep", tags=["A", "b"], notes="new", hidden=False)

    gog.metadata["2"] = told("2", group_id="g1")
    await player.pull("gog", full=True)
    await player.read_metadata()

    (title,) = [each for each in (await player.everything()).titles if each.id in await player.partition()]
    assert (title.favourite, title.tags, title.notes, title.hidden) == (True, ["A", "b"], "new", False)
    await _change(player, title.id, favourite=False)
    (title,) = [each for each in (await player.everything()).titles if each.id in await player.partition()]
    assert (title.favourite, title.notes) == (False, "new")


@pytest.mark.parametrize(
    "wishes",
    [
        {"favorite": True},
        {"favourite": None},
        {"tags": [""]},
        {"tags": ["x" * 61]},
        {"tags": [str(at) for at in range(51)]},
        {"notes": "x" * 10_001},
        {"proton": "../../etc"},
        {"proton": "\x1b[31m"},
        {"launch_options": "x" * 2_001},
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(wishes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GameWishes(**wishes)


async def test_what_only_the_content_tells_wrong_is_refused(open_player: OpenPlayer) -> None:
    player, _, _ = await _a_player(open_player)
    for wishes, command in (({"tags": ["\x1b\u202e"]}, "integ tag GAME TAG"), ({"launch_options": "-name 'open"}, "integ apply FILE")):
        with pytest.raises(UsageError) as caught:
            await _change(player, "orbit", **wishes)
        assert command in caught.value.hint
    await _change(player, "orbit", tags=[str(at) for at in range(50)])
    with pytest.raises(UsageError, match="50 tags") as caught:
        await _change(player, "orbit", add_tags=["one more"])
    assert caught.value.hint == "integ tag GAME TAG --off"


async def test_the_users_own_preferences_reach_every_device(open_player: OpenPlayer) -> None:
    player, _, _ = await _a_player(open_player)
    since = (await player.changes()).revision
    assert (await player.changes(since)).preferences is None
    await _change_user(player, default_proton="GE-Proton9-27", platform="linux", language="de-DE")
    wanted = await _change_user(player, platform=None)
    assert (await player.changes(since)).preferences == wanted == UserPreferences(default_proton="GE-Proton9-27", language="de-DE")
    for wrong in ({"colour": "red"}, {"platform": "mac"}, {"language": "d e"}, {"default_proton": "x" * 81}):
        with pytest.raises(ValidationError):
            UserWishes(**wrong)


async def test_two_users_decide_apart(open_player: OpenPlayer) -> None:
    player, _, _ = await _a_player(open_player)
    async with player.backend.db.writing.begin() as session:
        row = (await session.execute(preferences.users.select())).one()._asdict()
        await session.execute(preferences.users.insert().values({**row, "id": "bob"}))
    bob = Player(player.backend)
    bob.user = "bob"
    await _change(player, "lantern-keep", favourite=True)
    assert (await bob.changes()).titles == []
    with pytest.raises(GameNotFoundError):
        await _change(bob, "lantern-keep", favourite=True)
    assert (await _change(bob, "steam:1", notes="not mine")).title_id == ""
    assert {each.id: each.notes for each in (await player.everything()).titles}["lantern-keep"] == ""

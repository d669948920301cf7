from __future__ import annotations

import subprocess
import sys

import pytest

from integ_server.sandbox.world import PLAYED_SOMETIME, WORLD_NOW, World, WorldName, make_world
from integ_server.sandbox.world_made import made_titles
from integ_server.sandbox.world_small import small_titles

WORLDS: tuple[WorldName, ...] = ("small", "demo", "large")


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    return make_world(request.param)


def test_no_two_titles_apps_or_products_share_a_name_of_theirs(world: World) -> None:
    for kind, ids in (
        ("slug", [title.slug for title in world.titles]),
        ("appid", [title.steam.appid for title in world.titles if title.steam]),
        ("product", [title.gog.id for title in world.titles if title.gog]),
    ):
        assert len(ids) == len(set(ids)), kind


def test_every_moment_lies_before_the_worlds_own_today(world: World) -> None:
    for app in world.owned_steam:
        assert app.last_played in (0, PLAYED_SOMETIME) or 1_000_000_000 < app.last_played <= WORLD_NOW
        assert app.deck_min <= app.linux_min <= app.playtime_min
        assert app.playtime_2weeks_min <= app.playtime_min
    for product in world.owned_gog:
        assert product.owned_since is None or product.owned_since <= WORLD_NOW


def test_a_release_that_gamesdb_knows_has_a_game_there_and_the_other_way_round(world: World) -> None:
    for title in world.titles:
        for release in (title.steam, title.gog):
            if release is not None and release.gamesdb == "ok" and not (title.steam is release and title.steam.kind == "dlc"):
                assert title.gamesdb_id, title.slug
        if title.gamesdb_id:
            assert title in world.gamesdb[title.gamesdb_id]


def test_every_dlc_is_named_by_its_parent(world: World) -> None:
    for title in world.titles:
        if title.gog is not None and title.gog.type == "dlc":
            assert title.gog.parent_id is not None
            parent = world.gog_products[title.gog.parent_id].gog
            assert parent is not None and title.gog.id in parent.dlc_ids


def test_the_large_world_has_the_announced_size() -> None:
    world = make_world("large")
    assert (len(world.owned_steam), len(world.owned_gog)) == (5_000, 2_700)


def test_the_demo_has_300_titles_40_of_them_on_both_stores_beside_their_dlc() -> None:
    world = make_world("demo")
    titles = [title for title in world.titles if title.gog is None or title.gog.type == "game"]
    assert len(titles) == 300
    assert sum(title.steam is not None and title.gog is not None for title in titles) == 40
    assert any(not title.title.isascii() for title in titles)
    assert all(title.description and title.genres and title.developer for title in titles)


def test_the_small_world_holds_every_odd_case_that_a_library_can_hold() -> None:
    world = make_world("small")
    apps, products = world.owned_steam, [title.gog for title in world.titles if title.gog]
    years = {(title.title, title.year) for title in world.titles}
    assert any(title.steam and title.gog and title.gamesdb_id for title in world.titles)
    assert [title.gamesdb_id for title in world.titles if title.title == "Quiet Orbit"] == ["", ""]
    assert len({year for name, year in years if name == "Quiet Orbit"}) == 1
    assert len({year for name, year in years if name == "Saltmarsh Signal"}) == 2
    assert {"game", "tool", "demo"} <= {app.kind for app in apps}
    assert any(app.last_played == PLAYED_SOMETIME for app in apps)
    assert any(app.delisted for app in apps) and any(app.unvetted for app in apps) and any(app.free for app in apps)
    assert any("™" in app.name for app in apps) and any("é" in app.name for app in apps) and any("灯" in app.name for app in apps)
    assert {"game", "dlc", "pack"} == {product.type for product in products}
    assert any(product.type == "dlc" and product.owned for product in products)
    assert any(product.type == "dlc" and not product.owned for product in products)
    assert any(product.delisted for product in products) and any(product.hidden for product in products)
    assert {"ok", 404, 502} == {product.gamesdb for product in products}


@pytest.mark.parametrize("name", ["small", "demo"])
def test_there_is_a_game_to_install_for_linux_and_one_for_windows(name: WorldName) -> None:
    world = make_world(name)
    assert "linux" in world.with_content("native-game").os
    assert world.with_content("windows-game").os == ("windows",)
    with pytest.raises(LookupError):
        world.with_content("nothing-of-the-kind")


def test_a_seed_decides_everything_also_in_another_process_with_another_hash_order() -> None:
    ask = (
        "import hashlib; from integ_server.sandbox.world import make_world;"
        "worlds = [make_world(name, 3) for name in ('small', 'demo')];"
        "print(hashlib.sha256(repr([(w, w.titles, w.steam_key) for w in worlds]).encode()).hexdigest())"
    )
    told = {subprocess.check_output([sys.executable, "-c", ask], env={"PYTHONHASHSEED": seed}, text=True) for seed in ("1", "2")}
    assert len(told) == 1
    assert made_titles("demo", 3) == made_titles("demo", 3) != made_titles("demo", 4)
    assert small_titles(3) != small_titles(4)
    assert make_world("small", 3).steam_key != make_world("small", 4).steam_key


def test_a_world_shows_no_key_when_it_is_printed() -> None:
    world = make_world("small")
    assert world.steam_key not in repr(world) and world.steam_own_key not in repr(world)


def test_the_identities_look_like_the_stores_own() -> None:
    world = make_world("small")
    assert world.steam_id.startswith("76561") and len(world.steam_id) == 17
    assert len(world.steam_key) == 32 and int(world.steam_key, 16)
    assert world.gog_user_id.isdigit() and len(world.gog_user_id) == 17


def test_an_unknown_world_is_refused() -> None:
    with pytest.raises(ValueError, match="huge"):
        make_world("huge")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["demo", "large"])
def test_nobody_played_a_game_before_it_was_out(name: WorldName) -> None:
    from datetime import UTC, date, datetime

    for title in make_world(name).titles:
        released = date(title.year, title.month, title.day)
        if title.steam is not None and title.steam.last_played > PLAYED_SOMETIME:
            assert datetime.fromtimestamp(title.steam.last_played, UTC).date() >= released

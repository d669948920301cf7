"""The world of the tests: every odd case that a library can hold, once, and nothing by chance but pictures' names."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from integ_server.sandbox.world import PLAYED_SOMETIME, WORLD_NOW, GogProduct, SteamApp, WorldTitle

DAY = 86_400


def small_titles(seed: int) -> tuple[WorldTitle, ...]:
    luck = Random(f"small {seed}")

    def picture() -> str:
        return f"{luck.getrandbits(160):040x}"

    return (
        *installable_titles(),
        WorldTitle(  # on both stores, joined by GamesDB although the stores spell it differently
            slug="tin-harbour",
            title="Tin Harbour",
            year=2021,
            month=5,
            day=6,
            developer="Quay Works",
            publisher="Pier Nine",
            genres=("Adventure", "Simulation"),
            description="Run a small port & its gossip. Every ship that leaves comes back with a story, most of them true.",
            gamesdb_id="51100000000000301",
            steam=SteamApp(
                appid=90_000_010,
                name="Tin Harbour™",
                platforms=("windows", "linux"),
                playtime_min=754,
                playtime_2weeks_min=31,
                linux_min=654,
                deck_min=212,
                last_played=WORLD_NOW - 3 * DAY,
                icon=picture(),
                asset_folder=picture(),
                descriptors=(2, 5),
                deck_category=3,
                achievements=14,
                review_percent=91,
            ),
            gog=GogProduct(
                id=1_900_000_301,
                title="Tin Harbour - Definitive Edition",
                slug="tin_harbour",
                os=("windows", "linux"),
                tags=("Cozy",),
                owned_since=WORLD_NOW - 900 * DAY,
                playtime_min=40,
            ),
        ),
        WorldTitle(  # a Steam DLC: the store knows it, the library never lists it
            slug="tin-harbour-storm-season",
            title="Tin Harbour: Storm Season",
            year=2022,
            developer="Quay Works",
            publisher="Pier Nine",
            genres=("Adventure",),
            steam=SteamApp(appid=90_000_011, name="Tin Harbour: Storm Season", kind="dlc", parent_appid=90_000_010, icon=""),
        ),
        WorldTitle(
            slug="tin-harbour-demo",
            title="Tin Harbour Demo",
            year=2020,
            developer="Quay Works",
            publisher="Pier Nine",
            steam=SteamApp(appid=90_000_012, name="Tin Harbour Demo", kind="demo", parent_appid=90_000_010, playtime_min=25, gamesdb=404),
        ),
        # One name, one year, two stores, and GamesDB knows neither: a fair guess.
        *_apart("Quiet Orbit", ("quiet-orbit", 2019, 90_000_020), ("quiet-orbit-gog", 2019, 1_900_000_401), picture()),
        # One name, but eighteen years apart: not the same game.
        *_apart("Saltmarsh Signal", ("saltmarsh-signal", 2016, 90_000_030), ("saltmarsh-signal-1998", 1998, 1_900_000_402), picture()),
        *_only_gog(),
        *_only_steam(picture),
    )


def installable_titles() -> tuple[WorldTitle, ...]:
    """The games that can really be installed and started."""
    keep = "Quay Works"
    return (
        WorldTitle(
            slug="lantern-keep",
            title="Lantern Keep",
            year=2023,
            month=11,
            day=14,
            developer=keep,
            publisher=keep,
            genres=("Adventure", "Indie"),
            description="Keep the light & the sea will keep you. A lighthouse, one long winter, and forty lanterns to look after.",
            gamesdb_id="51100000000000101",
            gog=GogProduct(
                id=1_900_000_101,
                title="Lantern Keep",
                slug="lantern_keep",
                os=("windows", "linux"),
                dlc_ids=(1_900_000_102, 1_900_000_103),
                owned_since=WORLD_NOW - 300 * DAY,
                playtime_min=95,
                last_played=WORLD_NOW - 40 * DAY,
                content="native-game",
                languages=("en-US", "de-DE"),
            ),
        ),
        WorldTitle(
            slug="lantern-keep-the-long-winter",
            title="Lantern Keep: The Long Winter",
            year=2024,
            developer=keep,
            publisher=keep,
            genres=("Adventure",),
            gamesdb_id="51100000000000102",
            gog=GogProduct(
                id=1_900_000_102,
                title="Lantern Keep: The Long Winter",
                slug="lantern_keep_the_long_winter",
                type="dlc",
                parent_id=1_900_000_101,
                os=("windows", "linux"),
                owned_since=WORLD_NOW - 200 * DAY,
                content="native-game-dlc",
            ),
        ),
        WorldTitle(
            slug="lantern-keep-songbook",
            title="Lantern Keep: Songbook",
            year=2024,
            developer=keep,
            publisher=keep,
            gamesdb_id="51100000000000103",
            gog=GogProduct(
                id=1_900_000_103,
                title="Lantern Keep: Songbook",
                slug="lantern_keep_songbook",
                type="dlc",
                owned=False,
                parent_id=1_900_000_101,
                os=("windows", "linux"),
            ),
        ),
        WorldTitle(
            slug="brasswater-drift",
            title="Brasswater Drift",
            year=2020,
            month=2,
            day=29,
            developer="Nine Valves",
            publisher="Pier Nine",
            genres=("Racing", "Indie"),
            description="Steam-driven barges, narrow canals, no brakes.",
            gamesdb_id="51100000000000201",
            gog=GogProduct(
                id=1_900_000_201,
                title="Brasswater Drift",
                slug="brasswater_drift",
                dlc_ids=(1_900_000_202,),
                works_on_broken=True,
                owned_since=WORLD_NOW - 500 * DAY,
                content="windows-game",
                languages=("en-US", "de-DE", "fr-FR"),
            ),
        ),
        WorldTitle(
            slug="brasswater-drift-night-canals",
            title="Brasswater Drift - Night Canals",
            year=2021,
            developer="Nine Valves",
            publisher="Pier Nine",
            gamesdb_id="51100000000000202",
            gog=GogProduct(
                id=1_900_000_202,
                title="Brasswater Drift - Night Canals",
                slug="brasswater_drift_night_canals",
                type="dlc",
                parent_id=1_900_000_201,
                owned_since=WORLD_NOW - 500 * DAY,
                content="windows-game-dlc",
            ),
        ),
    )


def _apart(name: str, steam: tuple[str, int, int], gog: tuple[str, int, int], icon: str) -> tuple[WorldTitle, WorldTitle]:
    """The same name at both stores, as two titles that GamesDB does not know."""
    slug, year, appid = steam
    gog_slug, gog_year, product = gog
    return (
        WorldTitle(
            slug=slug,
            title=name,
            year=year,
            developer="Hushed Vale",
            publisher="Hushed Vale",
            genres=("Strategy",),
            description=f"{name} asks for patience, and repays it.",
            steam=SteamApp(appid=appid, name=name, platforms=("windows", "mac", "linux"), gamesdb=404, icon=icon, achievements=-1),
        ),
        WorldTitle(
            slug=gog_slug,
            title=name,
            year=gog_year,
            developer="Hushed Vale",
            publisher="Hushed Vale",
            genres=("Strategy",),
            description=f"{name} asks for patience, and repays it.",
            gog=GogProduct(id=product, title=name, slug=name.lower().replace(" ", "_"), gamesdb=404, owned_since=WORLD_NOW - 700 * DAY),
        ),
    )


def _only_gog() -> tuple[WorldTitle, ...]:
    return (
        WorldTitle(
            slug="orchard-of-glass",
            title="Orchard of Glass",
            year=2009,
            developer="Kiln & Daughters",
            publisher="Kiln & Daughters",
            genres=("Puzzle",),
            gamesdb_id="51100000000000501",
            gog=GogProduct(id=1_900_000_501, title="Orchard of Glass", slug="orchard_of_glass", delisted=True, owned_since=None),
        ),
        WorldTitle(
            slug="paper-ferry",
            title="Paper Ferry",
            year=2014,
            developer="Small Tide",
            publisher="Small Tide",
            genres=("Casual",),
            gamesdb_id="51100000000000502",
            gog=GogProduct(
                id=1_900_000_502,
                title="Paper Ferry",
                slug="paper_ferry",
                hidden=True,
                tags=("Cozy", "Done"),
                owned_since=WORLD_NOW - 1500 * DAY,
            ),
        ),
        WorldTitle(
            slug="tin-harbour-goodies",
            title="Tin Harbour Goodies Collection",
            year=2021,
            gog=GogProduct(
                id=1_900_000_503, title="Tin Harbour Goodies Collection", slug="tin_harbour_goodies", type="pack", os=(), gamesdb=404
            ),
        ),
        WorldTitle(
            slug="copper-almanac",
            title="Copper Almanac",
            year=2018,
            developer="Kiln & Daughters",
            publisher="Pier Nine",
            genres=("Role-playing",),
            description="A year of weather, written by hand.",
            gamesdb_id="51100000000000504",
            gog=GogProduct(id=1_900_000_504, title="Copper Almanac", slug="copper_almanac", gamesdb=502, owned_since=WORLD_NOW - 60 * DAY),
        ),
    )


def _only_steam(picture: Callable[[], str]) -> tuple[WorldTitle, ...]:
    def one(slug: str, appid: int, name: str, year: int, *, known: bool = True, **facts: Any) -> WorldTitle:
        return WorldTitle(
            slug=slug,
            title=name,
            year=year,
            developer="Thistle Post",
            publisher="Thistle Post",
            genres=("Indie",),
            description=f"{name}: a small game with a large heart.",
            gamesdb_id=f"511000000{appid}" if known else "",
            steam=SteamApp(appid=appid, name=name, icon=picture(), **facts),
        )

    return (
        one("moth-kettle", 90_000_040, "Moth & Kettle", 2012, playtime_min=300, last_played=PLAYED_SOMETIME),
        one(
            "cafe-perdu", 90_000_050, "Café Perdu: L'Été Éternel", 2017, playtime_min=61, last_played=WORLD_NOW - 800 * DAY, deck_category=2
        ),
        one(
            "island-of-lamp-keepers",
            90_000_060,
            "灯守りの島",
            2022,
            playtime_min=12,
            last_played=WORLD_NOW - 9 * DAY,
            playtime_2weeks_min=12,
        ),
        one("grossenwahn", 90_000_070, "Größenwahn® GmbH", 2015),
        one("ferrous-reverie", 90_000_080, "Ferrous Reverie", 2011, delisted=True, playtime_min=1_440, last_played=WORLD_NOW - 2_000 * DAY),
        one("sprocket-duel", 90_000_090, "Sprocket Duel", 2024, known=False, gamesdb=404, unvetted=True),
        one(
            "gull-parade", 90_000_100, "Gull Parade", 2018, free=True, playtime_min=5, disconnected_min=3, last_played=WORLD_NOW - 100 * DAY
        ),
        one("pebble-editor", 90_000_110, "Pebble Editor", 2016, known=False, gamesdb=404, kind="tool", playtime_min=2),
    )

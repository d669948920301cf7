"""What the make-believe player owns. Built from a seed alone, so two runs anywhere tell the same story."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

WorldName = Literal["small", "demo", "large", "crowd"]
GamesDb = Literal["ok", 404, 502]
"""How GamesDB answers for a release: it knows it, it does not, or it fails on this id for weeks."""

WORLD_NOW = 1_795_305_600
"""2026-11-22T00:00:00Z: every time in a world lies before it, and "two weeks ago" counts from it."""

PLAYED_SOMETIME = 86_400
"""What Steam writes for "played, at a time nobody knows any more"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteamApp:
    """One Steam app. Its name may differ from the title's, as it does between real stores."""

    appid: int
    name: str
    kind: Literal["game", "dlc", "demo", "tool"] = "game"
    owned: bool = True
    """In the player's library. DLC are never in Steam's list, owned or not."""
    parent_appid: int | None = None
    platforms: tuple[str, ...] = ("windows",)
    """Of `windows`, `mac`, `linux`."""
    playtime_min: int = 0
    playtime_2weeks_min: int = 0
    linux_min: int = 0
    """Part of `playtime_min`; the rest was on Windows."""
    deck_min: int = 0
    """Part of `linux_min`."""
    disconnected_min: int = 0
    last_played: int = 0
    """Unix seconds; 0 never, `PLAYED_SOMETIME` unknown."""
    free: bool = False
    """Free to play: listed only when the caller asks for played free games."""
    free_sub: bool = False
    """From the free subscription: listed only when the caller asks for that."""
    unvetted: bool = False
    """Limited profile features: hidden unless the caller sends `skip_unvetted_apps=false`."""
    delisted: bool = False
    """Owned, but the store has no page any more."""
    gamesdb: GamesDb = "ok"
    icon: str = ""
    """40 hex digits, or empty: no icon."""
    asset_folder: str = ""
    """40 hex digits: newer apps keep their pictures below it; empty: at the old, guessable place."""
    descriptors: tuple[int, ...] = ()
    """Content descriptor ids."""
    deck_category: int = 0
    """0 unknown, 1 unsupported, 2 playable, 3 verified."""
    achievements: int = 0
    """How many there are; -1: stats, but no achievements; 0: no stats at all."""
    review_percent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GogProduct:
    """One GOG product. A DLC is a title of its own with `type="dlc"` and a parent."""

    id: int
    title: str
    slug: str
    """GOG's own spelling, with underscores."""
    type: Literal["game", "dlc", "pack"] = "game"
    owned: bool = True
    parent_id: int | None = None
    dlc_ids: tuple[int, ...] = ()
    os: tuple[str, ...] = ("windows",)
    """Of `windows`, `osx`, `linux`, as GOG writes them."""
    hidden: bool = False
    tags: tuple[str, ...] = ()
    delisted: bool = False
    """api.gog.com answers 404 although it is owned."""
    gamesdb: GamesDb = "ok"
    works_on_broken: bool = False
    """The account list says that it runs nowhere."""
    owned_since: int | None = None
    playtime_min: int = 0
    last_played: int = 0
    content: str | None = None
    """Name of the recipe behind its downloads; None: nothing to download."""
    languages: tuple[str, ...] = ("en-US",)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldTitle:
    """One game as its maker sees it, with its releases at the stores."""

    slug: str
    """Unique in its world."""
    title: str
    year: int
    month: int = 6
    day: int = 15
    developer: str = ""
    publisher: str = ""
    genres: tuple[str, ...] = ()
    description: str = ""
    """Plain text; the stores' answers wrap and escape it as each of them does."""
    gamesdb_id: str = ""
    """GamesDB's game id; empty: GamesDB has never heard of it."""
    steam: SteamApp | None = None
    gog: GogProduct | None = None

    @property
    def release_date(self) -> str:
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"


@dataclass(frozen=True)
class World:
    """The player, and everything that the stores know about the player."""

    name: WorldName
    seed: int
    titles: tuple[WorldTitle, ...] = field(repr=False)
    steam_id: str
    """64-bit id as text."""
    steam_key: str = field(repr=False)
    """A Web API key that the sandbox's Steam takes; it belongs to the backend's owner, not to the player."""
    steam_own_key: str = field(repr=False)
    """The player's own key, which sees the library even when the profile is private."""
    vanity: str
    persona: str
    gog_user_id: str
    """Galaxy user id: digits."""
    gog_username: str
    gog_email: str = ""
    libraries: Mapping[str, tuple[SteamApp, ...]] = field(default_factory=dict, repr=False)
    """Further players, by SteamID64, and what Steam lists for each; their profiles are public."""

    @cached_property
    def steam_apps(self) -> dict[int, WorldTitle]:
        """The title behind each appid, owned or not."""
        return {title.steam.appid: title for title in self.titles if title.steam is not None}

    @cached_property
    def gog_products(self) -> dict[int, WorldTitle]:
        """The title behind each product id, owned or not."""
        return {title.gog.id: title for title in self.titles if title.gog is not None}

    @cached_property
    def gamesdb(self) -> dict[str, tuple[WorldTitle, ...]]:
        """The titles of each GamesDB game id."""
        found: defaultdict[str, list[WorldTitle]] = defaultdict(list)
        for title in self.titles:
            if title.gamesdb_id:
                found[title.gamesdb_id].append(title)
        return {game: tuple(titles) for game, titles in found.items()}

    @cached_property
    def owned_steam(self) -> tuple[SteamApp, ...]:
        """What Steam lists when it is asked for everything."""
        return tuple(title.steam for title in self.titles if title.steam is not None and title.steam.owned and title.steam.kind != "dlc")

    @cached_property
    def owned_gog(self) -> tuple[GogProduct, ...]:
        """Every owned product: games, DLC, packs, delisted and hidden ones."""
        return tuple(title.gog for title in self.titles if title.gog is not None and title.gog.owned)

    def with_content(self, recipe: str) -> GogProduct:
        """
        The one product whose downloads come from *recipe*.

        Raises:
            LookupError: No product of this world does.
        """
        for title in self.titles:
            if title.gog is not None and title.gog.content == recipe:
                return title.gog
        raise LookupError(f"nothing in the {self.name} world has the content {recipe!r}")


@lru_cache(maxsize=8)
def make_world(name: WorldName = "small", seed: int = 7) -> World:
    """
    Build a world: `small` for tests (every odd case once), `demo` to look at (300 titles), `large` to measure with (7,700 releases),
    `crowd` for many at once (200 further players with 500 of 2,000 games each).

    Raises:
        ValueError: There is no world of that name.
    """
    if name == "small":
        from integ_server.sandbox.world_small import small_titles

        return _world(name, seed, small_titles(seed))
    if name in ("demo", "large"):
        from integ_server.sandbox.world_made import made_titles

        return _world(name, seed, made_titles(name, seed))
    if name == "crowd":
        from integ_server.sandbox.world_made import made_libraries, made_titles

        titles = made_titles(name, seed)
        return replace(_world(name, seed, titles), libraries=made_libraries(titles, seed))
    raise ValueError(f"there is no world called {name!r}: small, demo, large and crowd are")


def _world(name: WorldName, seed: int, titles: tuple[WorldTitle, ...]) -> World:
    from random import Random

    luck = Random(f"identity {seed}")
    return World(
        name=name,
        seed=seed,
        titles=titles,
        steam_id=str(76_561_197_960_265_728 + luck.randrange(40_000_000, 90_000_000)),
        steam_key=f"{luck.getrandbits(128):032X}",
        steam_own_key=f"{luck.getrandbits(128):032X}",
        vanity="robin-of-the-keep",
        persona="Robin",
        gog_user_id=str(48_000_000_000_000_000 + luck.randrange(10**15)),
        gog_username="robin_keeper",
        gog_email="robin@example.org",
    )

"""Worlds made by chance from a seed: one to look at, one to measure with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import count
from random import Random

from integ_server.sandbox.world import PLAYED_SOMETIME, WORLD_NOW, GogProduct, SteamApp, WorldName, WorldTitle
from integ_server.sandbox.world_names import (
    ACCENTED,
    ADJECTIVES,
    DLC_NAMES,
    EDITIONS,
    ENDINGS,
    FREE_SOFTWARE,
    GENRES,
    MIDDLES,
    NOUNS,
    OPENINGS,
    PLACES,
    STUDIOS,
    TAGS,
    THINGS,
)
from integ_server.sandbox.world_small import installable_titles

DAY = 86_400
_TODAY = date(2026, 11, 22)
_FIRST_RECORDS = date(2009, 3, 1)
"""Steam has times of play since about then."""
_COUNTS = {"demo": (170, 82, 40), "large": (4_000, 1_700, 1_000), "crowd": (2_000, 0, 0)}
"""Titles on Steam alone, on GOG alone, on both; what can be installed and the free ones come on top in the demo."""


def made_titles(name: WorldName, seed: int) -> tuple[WorldTitle, ...]:
    """All titles of a world, no two with one slug; the demo begins with the games that can really be installed."""
    luck = Random(f"{name} {seed}")
    maker = _Maker(luck)
    steam_only, gog_only, both = _COUNTS[name]
    titles: list[WorldTitle] = []
    if name == "demo":
        titles += installable_titles()
        titles += [maker.free(*facts) for facts in FREE_SOFTWARE]
    stores = ["steam"] * steam_only + ["gog"] * gog_only + ["both"] * both
    luck.shuffle(stores)
    for at, where in enumerate(stores):
        titles.append(maker.title(where, name=ACCENTED[at // 9] if name == "demo" and at % 9 == 4 and at // 9 < len(ACCENTED) else None))
    if name == "demo":
        titles += [dlc for title in titles[-60:] if (dlc := maker.dlc_of(title)) is not None]
    parents = {title.gog.parent_id for title in titles if title.gog is not None and title.gog.parent_id}
    return tuple(_with_dlc(title, titles) if title.gog is not None and title.gog.id in parents else title for title in titles)


PLAYERS, GAMES_EACH = 200, 500
_FIRST_PLAYER = 76_561_198_100_000_000


def made_libraries(titles: tuple[WorldTitle, ...], seed: int) -> dict[str, tuple[SteamApp, ...]]:
    """What each player of a crowd owns, with minutes of their own."""
    apps = [title.steam for title in titles if title.steam is not None]
    libraries: dict[str, tuple[SteamApp, ...]] = {}
    for number in range(PLAYERS):
        luck = Random(f"player {seed} {number}")
        chosen = sorted(luck.sample(apps, GAMES_EACH), key=lambda app: app.appid)
        own = (replace(app, playtime_min=luck.randrange(5_000), playtime_2weeks_min=0, linux_min=0, deck_min=0) for app in chosen)
        libraries[str(_FIRST_PLAYER + number)] = tuple(own)
    return libraries


def _with_dlc(title: WorldTitle, titles: list[WorldTitle]) -> WorldTitle:
    assert title.gog is not None
    ids = tuple(one.gog.id for one in titles if one.gog is not None and one.gog.parent_id == title.gog.id)
    return replace(title, gog=replace(title.gog, dlc_ids=ids))


def slug_of(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


class _Maker:
    def __init__(self, luck: Random) -> None:
        self._luck = luck
        self._slugs: set[str] = set()
        self._names = self._invented()
        self._appids = count(91_000_000, 10)
        self._products = count(1_910_000_001, 3)
        self._gamesdb = count(51_200_000_000_000_001, 7)

    def _invented(self) -> Iterator[str]:
        """Names, none twice."""
        luck, used = self._luck, set[str]()
        while True:
            adjective, noun, place = luck.choice(ADJECTIVES), luck.choice(NOUNS), luck.choice(PLACES)
            name = luck.choice((
                f"{adjective} {noun}",
                f"The {adjective} {noun}",
                f"{noun} of {place}",
                f"{place}: {adjective} {noun}",
                f"{adjective} {noun} {luck.choice(('II', 'III', '2'))}",
                f"{place} Nights: The {noun}",
            ))  # fmt: skip
            if name not in used:
                used.add(name)
                yield name

    def _slug(self, name: str) -> str:
        wanted = slug_of(name) or "untitled"
        slug = next(text for at in count(1) if (text := wanted if at == 1 else f"{wanted}-{at}") not in self._slugs)
        self._slugs.add(slug)
        return slug

    def title(self, where: str, *, name: str | None = None) -> WorldTitle:
        luck = self._luck
        name = name or next(self._names)
        year = luck.choice((*range(1998, 2014, 3), *range(2012, 2027), *range(2016, 2027)))
        developer = luck.choice(STUDIOS)
        known = luck.random() < 0.95 or where == "both"
        slug = self._slug(name)
        systems = ("windows", "linux") if luck.random() < 0.35 else ("windows",)
        released = date(year, luck.randrange(1, 13 if year < 2026 else 11), luck.randrange(1, 29))
        noun, place = luck.choice(THINGS), luck.choice(PLACES)
        return WorldTitle(
            slug=slug,
            title=name,
            year=year,
            month=released.month,
            day=released.day,
            developer=developer,
            publisher=developer if luck.random() < 0.6 else luck.choice(STUDIOS),
            genres=tuple(sorted({luck.choice(GENRES), luck.choice(GENRES)})),
            description=f"{luck.choice(OPENINGS).format(noun=noun, place=place)} {luck.choice(MIDDLES)} {luck.choice(ENDINGS)}",
            gamesdb_id=str(next(self._gamesdb)) if known else "",
            steam=self._steam(name, released, systems, known=known) if where != "gog" else None,
            gog=self._gog(name, slug, released, systems, known=known, second=where == "both") if where != "steam" else None,
        )

    def _steam(self, name: str, released: date, systems: tuple[str, ...], *, known: bool) -> SteamApp:
        luck = self._luck
        minutes, last_played = self._played(released)
        linux = int(minutes * luck.random()) if "linux" in systems else 0
        return SteamApp(
            appid=next(self._appids),
            name=f"{name}™" if luck.random() < 0.04 else name,
            platforms=systems,
            playtime_min=minutes,
            playtime_2weeks_min=min(minutes, luck.randrange(10, 400)) if last_played > WORLD_NOW - 14 * DAY else 0,
            linux_min=linux,
            deck_min=linux // 3,
            last_played=last_played,
            unvetted=luck.random() < 0.02,
            delisted=luck.random() < 0.015,
            gamesdb="ok" if known else 404,
            icon=f"{luck.getrandbits(160):040x}",
            asset_folder=f"{luck.getrandbits(160):040x}" if released.year >= 2024 else "",
            deck_category=luck.choice((0, 1, 2, 2, 3, 3)),
            achievements=luck.choice((0, 0, 8, 12, 20, 31)),
            review_percent=luck.randrange(55, 99),
        )

    def _gog(self, name: str, slug: str, released: date, systems: tuple[str, ...], *, known: bool, second: bool) -> GogProduct:
        luck = self._luck
        minutes, last_played = self._played(released) if luck.random() < 0.4 else (0, 0)
        return GogProduct(
            id=next(self._products),
            title=name + luck.choice(EDITIONS) if second and luck.random() < 0.2 else name,
            slug=slug.replace("-", "_"),
            os=systems,
            hidden=luck.random() < 0.02,
            tags=(luck.choice(TAGS),) if luck.random() < 0.15 else (),
            delisted=luck.random() < 0.015,
            gamesdb="ok" if known else 404,
            works_on_broken=luck.random() < 0.1,
            owned_since=WORLD_NOW - luck.randrange(1, 4_000) * DAY if luck.random() < 0.95 else None,
            playtime_min=minutes,
            last_played=last_played,
        )

    def _played(self, released: date) -> tuple[int, int]:
        """Minutes and the last time: half of a library was never started, a few games took everything."""
        luck = self._luck
        if luck.random() < 0.5:
            return 0, 0
        minutes = int(luck.lognormvariate(5, 1.6)) + 1
        days_out = (_TODAY - max(released, _FIRST_RECORDS)).days - 1
        days_ago = min(int(luck.lognormvariate(5.5, 1.3)), days_out)
        return min(minutes, 300_000), PLAYED_SOMETIME if luck.random() < 0.02 else WORLD_NOW - days_ago * DAY - luck.randrange(DAY)

    def free(self, name: str, year: int, genre: str, developer: str, description: str) -> WorldTitle:
        minutes, last_played = self._played(date(year, 6, 15))
        app = SteamApp(
            appid=next(self._appids),
            name=name,
            platforms=("windows", "mac", "linux"),
            playtime_min=minutes,
            linux_min=minutes,
            last_played=last_played,
            free=True,
            icon=f"{self._luck.getrandbits(160):040x}",
            deck_category=3,
            review_percent=93,
        )
        return WorldTitle(
            slug=self._slug(name),
            title=name,
            year=year,
            developer=developer,
            publisher=developer,
            genres=(genre,),
            description=description,
            gamesdb_id=str(next(self._gamesdb)),
            steam=app,
        )

    def dlc_of(self, title: WorldTitle) -> WorldTitle | None:
        """A DLC for every fourth game on GOG, mostly owned."""
        base, luck = title.gog, self._luck
        if base is None or base.type != "game" or luck.random() < 0.5:
            return None
        name = f"{title.title}: {luck.choice(DLC_NAMES)}"
        slug = self._slug(name)
        product = GogProduct(
            id=next(self._products),
            title=name,
            slug=slug.replace("-", "_"),
            type="dlc",
            owned=luck.random() < 0.8,
            parent_id=base.id,
            os=base.os,
            owned_since=base.owned_since,
        )
        return WorldTitle(
            slug=slug,
            title=name,
            year=min(2026, title.year + 1),
            developer=title.developer,
            publisher=title.publisher,
            genres=title.genres,
            description=f"More of {title.title}.",
            gamesdb_id=str(next(self._gamesdb)),
            gog=product,
        )

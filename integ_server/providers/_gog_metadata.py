"""What GamesDB and GOG's own product pages say of games, put together."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal
from urllib.parse import quote, urlsplit

import httpx

from integ_server.contract.errors import IntegError, ProviderError, RateLimitedError
from integ_server.contract.types import TitleDetails
from integ_server.providers._gog_models import PRODUCT_ID, Art, Card, Cards, DbRelease, Game, localised, platforms_of
from integ_server.providers._http import all_of, ask
from integ_server.providers._text import plain_line, plain_text
from integ_server.providers.base import GameMetadata

STORE = "GOG"
API = "https://api.gog.com"
GAMESDB = "https://gamesdb.gog.com"
BATCH = 50
"""More ids at once are answered with 400."""
_AT_ONCE = 4
_MOST_SIBLINGS = 100
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_REQUIRED = re.compile(r"/v2/games/([1-9][0-9]{0,19})\b")
_IMAGE_HOSTS = (".gog.com", ".gog-statics.com")


@dataclass(slots=True)
class _Read:
    """What one batch of ids brought."""

    known: dict[str, DbRelease | None] = field(default_factory=dict)
    """By id; None: GamesDB has nothing. An id that is missing could not be asked."""
    cards: dict[str, Card] | None = None
    """None: they could not be asked."""
    games: dict[str, Game | None] = field(default_factory=dict)


class GogMetadata:
    """Reads one batch of ids at a time."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def read(self, ids: Sequence[str]) -> list[GameMetadata]:
        """
        At most `BATCH` ids. What failed for now is left out; when everything failed, that failure is raised.

        Raises:
            RateLimitedError: GOG asks for a pause.
            ProviderUnavailableError: It answers nothing at all.
        """
        asked = [each for each in dict.fromkeys(ids) if PRODUCT_ID.match(each)]
        found = [GameMetadata(each, found=False) for each in dict.fromkeys(ids) if not PRODUCT_ID.match(each)]
        if not asked:
            return found
        read = _Read()
        failures = [failed for failed in await all_of(*(self._release(each, read) for each in asked)) if failed]
        if len(failures) == len(asked):
            raise failures[0]
        read.cards = await self._cards(asked)
        parents = _parents(read)
        orphans = [each for each in asked if _kind(read.known.get(each), (read.cards or {}).get(each)) == "dlc" and each not in parents]
        await all_of(*(self._game(each, read) for each in [*orphans, *_without_platform(read, orphans)]))
        for each in asked:
            put_together = _put_together(each, read, parents)
            if put_together is not None:
                found.append(put_together)
        return found

    async def _release(self, product_id: str, read: _Read) -> ProviderError | None:
        """Ask GamesDB about one id; what it is down for is returned, so that it costs this id and no other."""
        async with self._places:
            try:
                address = f"{GAMESDB}/platforms/gog/external_releases/{quote(product_id)}"
                # for some ids it fails for weeks on end (Heroic #5797): the next sync asks again, this one does not wait
                answer = await ask(self._http, STORE, address, retries="unsent")
                read.known[product_id] = None if answer.status == 404 else answer.model(DbRelease)
            except RateLimitedError:
                raise
            except ProviderError as error:
                return error
            except IntegError as error:  # GamesDB needs no sign-in, so a 401 or 403 says nothing about the player's
                return ProviderError(error.message)
        return None

    async def _cards(self, ids: Sequence[str]) -> dict[str, Card] | None:
        params: dict[str, str | int] = {"ids": ",".join(ids), "expand": "downloads,description", "locale": "en-US"}
        try:
            answer = await ask(self._http, STORE, f"{API}/products", params=params)
            return {card.id: card for card in answer.model(Cards).root}
        except RateLimitedError:
            raise
        except IntegError:
            return None

    async def _game(self, product_id: str, read: _Read) -> None:
        async with self._places:
            try:
                answer = await ask(self._http, STORE, f"{API}/v2/games/{quote(product_id)}", params={"locale": "en-US"})
                read.games[product_id] = None if answer.status == 404 else answer.model(Game)
            except RateLimitedError:
                raise
            except IntegError:
                return  # asked again with the next batch that holds it


def _parents(read: _Read) -> dict[str, str]:
    """DLC to base game, as far as the base stands in the same batch."""
    found: dict[str, str] = {}
    for base, release in read.known.items():
        found.update((dlc.external_id, base) for dlc in (release.dlcs if release else []) if dlc.platform_id in {"gog", ""})
    for base, card in (read.cards or {}).items():
        found.update((dlc.id, base) for dlc in card.dlcs.products)
    return found


def _without_platform(read: _Read, besides: Sequence[str]) -> list[str]:
    return [
        each
        for each in read.known
        if each not in besides and (each in (read.cards or {}) or read.known[each]) and not _platforms(each, read)
    ]


def _platforms(product_id: str, read: _Read) -> tuple[str, ...]:
    """Installers are the surest sign; then GamesDB; then the store page."""
    card, release, game = (read.cards or {}).get(product_id), read.known.get(product_id), read.games.get(product_id)
    sources = (
        card.systems if card else set(),
        {system.slug for system in release.supported_operating_systems} if release else set(),
        {each.operatingSystem.name for each in game.parts.supportedOperatingSystems} if game else set(),
    )
    return next((platforms for source in sources if (platforms := platforms_of(source))), ())


def _kind(release: DbRelease | None, card: Card | None) -> Literal["game", "dlc", "tool"]:
    """A spam or pack entry is a `tool`: owned, but nothing to show among the games."""
    type_ = (release.type or release.game.type) if release else ""
    if type_ == "dlc" or (card is not None and card.game_type == "dlc"):
        return "dlc"
    if type_ == "spam" or (release is not None and release.game.visible_in_library is False):
        return "tool"
    return "tool" if release is None and card is not None and card.game_type == "pack" else "game"


def _put_together(product_id: str, read: _Read, parents: dict[str, str]) -> GameMetadata | None:
    """The one answer for an id; None when too little could be asked to tell."""
    if product_id not in read.known:
        return None
    release, card = read.known[product_id], (read.cards or {}).get(product_id)
    if release is None and card is None:
        return None if read.cards is None else GameMetadata(product_id, found=False)
    kind = _kind(release, card)
    parent = parents.get(product_id)
    if kind == "dlc" and parent is None:
        if product_id not in read.games:
            return None
        parent = _required_by(read.games[product_id])
    game = release.game if release else None
    released = _day(game.first_release_date if game else None) or _day(release.first_release_date if release else None)
    at_gog = _day(card.release_date if card else None)
    return GameMetadata(
        product_id,
        found=True,
        title=plain_line(localised(game.title) if game else "")
        or plain_line(localised(release.title) if release else "")
        or (card.title if card else ""),
        kind=kind,
        parent_id=parent if kind == "dlc" else None,
        group_id=f"gamesdb:{release.game_id}" if release and release.game_id else None,
        siblings=_siblings(product_id, release),
        year=(released or at_gog).year if released or at_gog else None,  # type: ignore[union-attr]
        platforms=_platforms(product_id, read),
        details=_details(release, card, released or at_gog),
    )


def _required_by(game: Game | None) -> str | None:
    found = (_REQUIRED.search(link.href) for link in (game.links.requiresGames if game else []))
    return next((each[1] for each in found if each), None)


def _siblings(product_id: str, release: DbRelease | None) -> tuple[tuple[str, str], ...]:
    pairs = ((each.platform_id, each.external_id) for each in (release.game.releases if release else []))
    unlike = dict.fromkeys(pair for pair in pairs if pair[0] and pair[1] and pair != ("gog", product_id))
    return tuple(unlike)[:_MOST_SIBLINGS]


def _day(text: str | None) -> date | None:
    """The day in one of GOG's three ways to write dates; its pseudo dates for "unknown" (1970, 1991 and 2000-12-31) are none."""
    found = _DATE.match(text or "")
    try:
        day = date(*(int(part) for part in found.groups())) if found else None
    except ValueError:
        return None
    return None if day is None or day.year < 1971 or (day.year, day.month) == (1991, 12) or day == date(2000, 12, 31) else day


def _details(release: DbRelease | None, card: Card | None, released: date | None) -> TitleDetails:
    game = release.game if release else None
    summary = (localised(game.summary) if game else "") or (localised(release.summary) if release else "")
    page = card.links.get("product_card", "") if card else ""
    return TitleDetails(
        description=plain_text(summary) or plain_text((card.description.lead or card.description.full) if card else ""),
        genres=[name for each in (game.genres if game else []) if (name := plain_line(localised(each.name)))],
        developers=[each.name for each in (game.developers if game else []) if each.name],
        publishers=[each.name for each in (game.publishers if game else []) if each.name],
        release_date=released.isoformat() if released else None,
        cover_url=_cover(game.vertical_cover if game else None)
        or _picture(card.images.get("logo2x") or card.images.get("logo", "") if card else ""),
        links={"store": page} if page.startswith("https://www.gog.com/") else {},
    )


def _cover(art: Art | None) -> str | None:
    return _picture(art.url_format.replace("{formatter}", "_glx_vertical_cover").replace("{ext}", "jpg")) if art else None


def _picture(address: str) -> str | None:
    """The address with its scheme, if it is one of GOG's own image hosts'."""
    url = f"https:{address}" if address.startswith("//") else address
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    return url if parts.scheme == "https" and host.endswith(_IMAGE_HOSTS) and len(url) < 500 and "{" not in url else None

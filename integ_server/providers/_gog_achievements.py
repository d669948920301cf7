"""What a player achieved in one game at GOG."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import httpx
from pydantic import BeforeValidator

from integ_server.contract.achievements import Achievement
from integ_server.contract.errors import ProviderError
from integ_server.providers._gog_models import GogModel, Id, Text, as_list
from integ_server.providers._http import ask
from integ_server.providers._text import Line
from integ_server.providers.base import Credentials

GAMEPLAY = "https://gameplay.gog.com"
_MOST_PAGES = 20


def _moment(value: Any) -> datetime | None:
    """GOG writes offsets without a colon, which only this form of reading takes."""
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z") if isinstance(value, str) else None
    except ValueError:
        return None


def _percent(value: Any) -> float | None:
    return round(float(value), 1) if isinstance(value, int | float) and 0 <= value <= 100 else None


class _Item(GogModel):
    achievement_id: Id
    achievement_key: Text = ""
    visible: bool = True
    name: Line = ""
    description: Line = ""
    image_url_unlocked: Text = ""
    image_url_locked: Text = ""
    rarity: Annotated[float | None, BeforeValidator(_percent)] = None
    date_unlocked: Annotated[datetime | None, BeforeValidator(_moment)] = None


class _Page(GogModel):
    items: Annotated[list[_Item], BeforeValidator(as_list)] = []
    next_page_token: Text = ""


async def read_achievements(http: httpx.AsyncClient, login: Credentials, product_id: str) -> list[Achievement]:
    """
    The game's achievements with what the account has of them; empty for a game without any.

    Raises:
        AuthenticationError: GOG wants a fresh access token.
        ProviderError: GOG answered oddly, is down, or asks for a pause.
    """
    found: list[Achievement] = []
    token = ""
    for _ in range(_MOST_PAGES):
        params: dict[str, str | int] = {"page_token": token} if token else {}
        address = f"{GAMEPLAY}/clients/{product_id}/users/{login.account}/achievements"
        answer = await ask(http, "GOG", address, params=params, bearer=login.access_token)
        if answer.status == 404:  # some games without achievements answer so, others with an empty list
            return found
        page = answer.model(_Page)
        found.extend(_achievement(each) for each in page.items)
        if not page.next_page_token or page.next_page_token == token:
            return found
        token = page.next_page_token
    raise ProviderError("GOG sent achievements without an end", hint="try again later")


def _achievement(item: _Item) -> Achievement:
    got = item.date_unlocked is not None
    icon = item.image_url_unlocked if got else item.image_url_locked
    return Achievement(
        id=(item.achievement_key or item.achievement_id)[:200],
        name=item.name or item.achievement_key[:200],
        description=item.description,
        unlocked=got,
        unlocked_at=item.date_unlocked,
        hidden=not item.visible,
        rarity_percent=item.rarity,
        icon_url=icon if icon.startswith("https://") and len(icon) < 500 else None,
    )

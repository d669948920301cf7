"""What crosses the wire about achievements."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from integ_server.contract.types import Wire


class Achievement(Wire):
    id: str
    """The store's name of it; the same at every account."""
    name: str
    description: str = ""
    """Empty for a hidden one that is not unlocked."""
    unlocked: bool = False
    unlocked_at: datetime | None = None
    """None with `unlocked`: the store forgot when."""
    hidden: bool = False
    rarity_percent: float | None = Field(default=None, ge=0, le=100)
    """Of the game's players who have it, as far as the store tells."""
    icon_url: str | None = None


class AchievementList(Wire):
    """Answer of `GET /games/{key}/achievements`: unlocked ones first, the newest at the front, then the most common."""

    key: str
    title: str
    unlocked: int
    total: int
    read_at: datetime
    """When the store told so."""
    items: list[Achievement] = []

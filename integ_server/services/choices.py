"""
Which title a release belongs to for one player: where they merged or split it, else where its neighbours were merged to, else
where the stores and GamesDB have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.models.tables import accounts, games, library_entries, title_choices
from integ_server.services.rows import select_where_in

ADD_ONS = ("dlc", "tool")


@dataclass(frozen=True, slots=True)
class Choice:
    title_id: str
    split_id: str | None
    made_at: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stores and GamesDB have a release."""

    key: str
    title_id: str
    kind: str
    parent_key: str | None


@dataclass(slots=True)
class Choices:
    """All the choices of a player, and what follows from them."""

    of: dict[str, Choice] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    """Of the chosen releases that the backend knows."""
    followed: dict[str, str] = field(default_factory=dict)
    """Title as the stores have it, to the title that its releases without a choice are in."""

    def __post_init__(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Find out anew what is followed. A release that was split off leads nobody; of several the newest merge does."""
        leads = [
            (choice.made_at, key)
            for key, choice in self.of.items()
            if choice.split_id is None and (place := self.places.get(key)) is not None and place.kind not in ADD_ONS
        ]
        self.followed = {self.places[key].title_id: self.of[key].title_id for _, key in sorted(leads)}

    def title_of(self, key: str, title_id: str, kind: str, parent_key: str | None) -> str:
        """The title of a release that the stores have at *title_id*; an add-on is where its game is."""
        if kind in ADD_ONS:
            parent = self.places.get(parent_key or "")
            key = parent.key if parent is not None and parent.kind not in ADD_ONS else ""
        chosen = self.of.get(key)
        return chosen.title_id if chosen is not None else self.followed.get(title_id, title_id)

    def base(self, place: Place) -> str:
        """Where a release is without any merge."""
        chosen = self.of.get(place.key)
        return chosen.split_id if chosen is not None and chosen.split_id is not None else place.title_id


async def read(session: AsyncSession, user_id: str) -> Choices:
    columns = (title_choices.c.game_key, title_choices.c.title_id, title_choices.c.split_id, title_choices.c.made_at)
    place = (games.c.title_id.label("place"), games.c.kind, games.c.parent_key)
    query = select(*columns, *place).join(games, games.c.key == title_choices.c.game_key, isouter=True)
    found = Choices()
    for row in (await session.execute(query.where(title_choices.c.user_id == user_id))).all():
        found.of[row.game_key] = Choice(row.title_id, row.split_id, int(row.made_at.timestamp()))
        if row.place is not None:
            found.places[row.game_key] = Place(row.game_key, row.place, row.kind, row.parent_key)
    found.settle()
    return found


async def members(session: AsyncSession, user_id: str, choices: Choices, title_ids: Iterable[str]) -> list[tuple[str, Any]]:
    """
    Every library entry of the player whose release is in one of *title_ids* for them, as (title id, row), by account.

    A row has the entry's columns, the account's name (`account`) and the release's `kind`.
    """
    wanted = set(title_ids)
    facts = (accounts.c.account, games.c.title_id, games.c.kind, games.c.parent_key)
    joined = library_entries.join(accounts, accounts.c.id == library_entries.c.account_id)
    query = select(library_entries, *facts).select_from(joined.join(games, games.c.key == library_entries.c.game_key))
    query = query.where(library_entries.c.user_id == user_id)
    leading = wanted | {at for at, title_id in choices.followed.items() if title_id in wanted}
    chosen = {key for key, choice in choices.of.items() if choice.title_id in wanted}
    rows = await select_where_in(session, query, games.c.title_id, leading)
    rows += await select_where_in(session, query, games.c.key, chosen)
    rows += await select_where_in(session, query, games.c.parent_key, chosen)
    found = {(row.account_id, row.game_key): row for row in rows}
    placed = ((choices.title_of(row.game_key, row.title_id, row.kind, row.parent_key), row) for _, row in sorted(found.items()))
    return [(title_id, row) for title_id, row in placed if title_id in wanted]


async def places(session: AsyncSession, user_id: str) -> dict[str, Place]:
    """Where the stores have every release that the player owns or owned."""
    query = select(games.c.key, games.c.title_id, games.c.kind, games.c.parent_key)
    mine = select(library_entries.c.game_key).where(library_entries.c.game_key == games.c.key, library_entries.c.user_id == user_id)
    return {row.key: Place(*row) for row in (await session.execute(query.where(mine.exists()))).all()}


def view(choices: Choices, known: Mapping[str, Place]) -> dict[str, str]:
    """Release key to title id."""
    return {key: choices.title_of(key, place.title_id, place.kind, place.parent_key) for key, place in known.items()}

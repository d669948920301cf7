"""What a player decided about games and for all devices, as it is read: the releases of a title speak together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.types import LoosePreferences, UserPreferences
from integ_server.models.tables import game_preferences, library_entries, users
from integ_server.services.rows import select_where_in


@dataclass(frozen=True, slots=True)
class Together:
    """What is decided about a title."""

    favourite: bool = False
    hidden: bool | None = None
    tags: list[str] = field(default_factory=list)
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """What no title and no release carries; None: not asked for."""

    user: UserPreferences | None = None
    loose: list[LoosePreferences] | None = None


NOTHING = Beside()


async def of(session: AsyncSession, user_id: str, keys: Iterable[str]) -> dict[str, Any]:
    """The rows of *keys*, by key; most releases have none."""
    mine = select(game_preferences).where(game_preferences.c.user_id == user_id)
    return {row.game_key: row for row in await select_where_in(session, mine, game_preferences.c.game_key, keys)}


def spoken_for(entries: Sequence[Any]) -> list[str]:
    """The releases whose rows speak for the title that *entries* are of: its games, or whatever it has without any."""
    games = {each.game_key for each in entries if each.kind == "game"}
    return sorted(games or {each.game_key for each in entries})


def together(decided: Mapping[str, Any], entries: Sequence[Any]) -> Together:
    """Favourite when one of them is, every tag once, and of `hidden` and notes the newest decision."""
    return together_of([decided[key] for key in spoken_for(entries) if key in decided]) if decided else Together()


def together_of(rows: Sequence[Any]) -> Together:
    hidden = max((row for row in rows if row.hidden_at is not None), key=lambda row: row.hidden_at, default=None)
    notes = max((row for row in rows if row.notes_at is not None), key=lambda row: row.notes_at, default=None)
    return Together(
        favourite=any(row.favourite for row in rows),
        hidden=hidden.hidden if hidden is not None else None,
        tags=joined_tags(*(row.tags for row in rows)),
        notes=notes.notes if notes is not None else "",
    )


def joined_tags(*lists: Collection[str]) -> list[str]:
    """All tags in order; two that differ in case only are one, as it was written first."""
    found: dict[str, str] = {}
    for tags in lists:
        for tag in tags:
            found.setdefault(tag.casefold(), tag)
    return [found[each] for each in sorted(found)]


async def user_preferences(session: AsyncSession, user_id: str) -> UserPreferences:
    stored = (await session.execute(select(users.c.preferences).where(users.c.id == user_id))).scalar_one()
    return UserPreferences.model_validate(stored)


async def beside(session: AsyncSession, user_id: str) -> Beside:
    """The user's own preferences, and those about games that no store told of."""
    rows = (await session.execute(loose_rows(user_id))).all()
    return Beside(await user_preferences(session, user_id), [_loose(row) for row in rows])


def loose_rows(user_id: str) -> Select[Any]:
    """The rows about games that no account of the user has now."""
    entries = select(library_entries.c.game_key).where(library_entries.c.game_key == game_preferences.c.game_key)
    owned = entries.where(library_entries.c.user_id == user_id, library_entries.c.removed_at.is_(None)).exists()
    return select(game_preferences).where(game_preferences.c.user_id == user_id, ~owned).order_by(game_preferences.c.game_key)


def _loose(row: Any) -> LoosePreferences:
    return LoosePreferences(
        key=row.game_key,
        favourite=row.favourite,
        hidden=bool(row.hidden),
        tags=row.tags,
        notes=row.notes,
        proton=row.proton,
        launch_options=row.launch_options,
    )

"""Changing what a player decided: about a title, about a release, and for all devices."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import GameNotFoundError, UsageError
from integ_server.contract.preferences import MOST_TAGS, GamePreferences, GameWishes, ReleaseWishes, UserWishes
from integ_server.contract.text import clean_lines, clean_name, clean_options
from integ_server.contract.types import UserPreferences
from integ_server.models.tables import game_preferences, games, users
from integ_server.services import choices, decisions, events, library
from integ_server.services.naming import is_key
from integ_server.services.rows import insert_rows, select_where_in, update_rows

MOST_LOOSE = 5_000
"""Games that no account has; no disk holds as many."""
_COLUMNS = ("favourite", "hidden", "hidden_at", "tags", "notes", "notes_at", "proton", "launch_options")


@dataclass(frozen=True, slots=True)
class _Meant:
    """What a name means in a library."""

    title_id: str
    entries: list[Any]
    """Of the whole title."""
    releases: list[str]
    """That `proton` and `launch_options` are about."""


async def user_preferences(session: AsyncSession, user_id: str) -> UserPreferences:
    return await decisions.user_preferences(session, user_id)


async def change_user(session: AsyncSession, user_id: str, wishes: UserWishes) -> UserPreferences:
    """Change the fields that *wishes* names."""
    await _alone(session, user_id)
    known = await decisions.user_preferences(session, user_id)
    wanted = known.model_copy(update={name: getattr(wishes, name) for name in wishes.model_fields_set})
    if wanted != known:
        stored = wanted.model_dump(mode="json", exclude_none=True)
        await session.execute(update(users).where(users.c.id == user_id).values(preferences=stored))
        await library.next_revisions(session, user_id, 1)
        events.preferences_changed(session, user_id)
    return wanted


async def game_preferences_of(session: AsyncSession, user_id: str, game: str) -> GamePreferences:
    """
    Raises:
        GameNotFoundError: *game* is neither in this library nor a key.
    """
    meant = await _meant(session, user_id, game)
    decided = await decisions.of(session, user_id, {*decisions.spoken_for(meant.entries), *meant.releases})
    return _answer(meant, decided)


async def change_game(session: AsyncSession, user_id: str, game: str, wishes: GameWishes) -> GamePreferences:
    """
    Change what *wishes* names about *game*, a release's key or a title's id.

    A key that no store told of is taken too: the game may lie on a device's disk alone.

    Raises:
        GameNotFoundError: *game* is neither in this library nor a key.
        UsageError: A wish makes no sense.
    """
    await _alone(session, user_id)
    meant = await _meant(session, user_id, game)
    spoken_for = decisions.spoken_for(meant.entries) or meant.releases
    decided = await decisions.of(session, user_id, {*spoken_for, *meant.releases})
    if not meant.entries and not decided:
        await _refuse_too_many(session, user_id)
    now = datetime.now(UTC).replace(microsecond=0)
    title_facts, release_facts = _title_facts(wishes, _together(decided, meant), now), _release_facts(wishes)
    after = {
        key: _facts(decided.get(key)) | (title_facts if key in spoken_for else {}) | (release_facts if key in meant.releases else {})
        for key in {*spoken_for, *meant.releases}
    }
    differing = sorted(key for key, facts in after.items() if _without_times(facts) != _without_times(_facts(decided.get(key))))
    if differing:
        rows = [{"user_id": user_id, "game_key": key, **after[key], "updated_at": now} for key in differing]
        await insert_rows(session, game_preferences, [row for row in rows if row["game_key"] not in decided])
        await update_rows(session, game_preferences, ("user_id", "game_key"), [row for row in rows if row["game_key"] in decided])
        if meant.entries:
            await library.touch_own(session, user_id, differing)
        else:
            await library.next_revisions(session, user_id, 1)
        events.preferences_changed(session, user_id, differing)
        decided = await decisions.of(session, user_id, after)
    return _answer(meant, decided)


async def _alone(session: AsyncSession, user_id: str) -> None:
    """One change of a player at a time."""
    await session.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())


async def _meant(session: AsyncSession, user_id: str, game: str) -> _Meant:
    chosen = await choices.read(session, user_id)
    query = select(games.c.key, games.c.title_id, games.c.kind, games.c.parent_key)
    release = next(iter(await select_where_in(session, query, games.c.key, [game] if is_key(game) else [])), None)
    title_id = chosen.title_of(*release) if release is not None else game
    entries = [row for _, row in await choices.members(session, user_id, chosen, {title_id})] if "\0" not in game else []
    keys = {each.game_key for each in entries}
    if release is not None and game in keys:
        return _Meant(title_id, entries, [game])
    if release is None and keys:
        return _Meant(title_id, entries, decisions.spoken_for(entries))
    if is_key(game):
        return _Meant("", [], [game])
    raise GameNotFoundError(f"there is no game {game[:80]!r} in this library", hint="integ search TEXT")


async def _refuse_too_many(session: AsyncSession, user_id: str) -> None:
    if (await session.execute(decisions.loose_rows(user_id).offset(MOST_LOOSE - 1).limit(1))).first() is not None:
        raise UsageError("these are too many games that no store knows", hint="integ list --all")


def _title_facts(wishes: GameWishes, known: decisions.Together, now: datetime) -> dict[str, Any]:
    given = wishes.model_fields_set
    facts: dict[str, Any] = {}
    if "favourite" in given:
        facts["favourite"] = wishes.favourite
    if "hidden" in given:
        facts |= {"hidden": wishes.hidden, "hidden_at": now}
    if "notes" in given:
        facts |= {"notes": clean_lines(wishes.notes), "notes_at": now}
    if given & {"tags", "add_tags", "remove_tags"}:
        gone = {_tag(each).casefold() for each in wishes.remove_tags}
        kept = [each for each in ([_tag(tag) for tag in wishes.tags] if "tags" in given else known.tags) if each.casefold() not in gone]
        facts["tags"] = decisions.joined_tags(kept, [_tag(each) for each in wishes.add_tags])
        if len(facts["tags"]) > MOST_TAGS:
            raise UsageError(f"a game takes {MOST_TAGS} tags at most", hint="integ tag GAME TAG --off")
    return facts


def _release_facts(wishes: GameWishes) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if "proton" in wishes.model_fields_set:
        facts["proton"] = wishes.proton
    if "launch_options" in wishes.model_fields_set:
        options = clean_options(wishes.launch_options or "")
        try:
            shlex.split(options)
        except ValueError as error:
            told = f"the launch options can't be read: {str(error).lower()}"
            raise UsageError(told, hint="close every quote, then integ apply FILE") from error
        facts["launch_options"] = options or None
    return facts


def _tag(text: str) -> str:
    tag = clean_name(text)
    if not tag:
        raise UsageError("a tag needs a character that can be seen", hint="integ tag GAME TAG")
    return tag


def _facts(row: Any) -> dict[str, Any]:
    if row is None:
        return dict.fromkeys(_COLUMNS) | {"favourite": False, "tags": [], "notes": ""}
    return {name: getattr(row, name) for name in _COLUMNS}


def _without_times(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What was decided the same way again is no new decision."""
    return {name: value for name, value in facts.items() if not name.endswith("_at")}


def _together(decided: Mapping[str, Any], meant: _Meant) -> decisions.Together:
    return decisions.together_of([decided[key] for key in decisions.spoken_for(meant.entries) or meant.releases if key in decided])


def _answer(meant: _Meant, decided: Mapping[str, Any]) -> GamePreferences:
    releases = [
        ReleaseWishes(key=key, proton=row.proton if row else None, launch_options=row.launch_options if row else None)
        for key in meant.releases
        for row in [decided.get(key)]
    ]
    return GamePreferences(title_id=meant.title_id, releases=releases, **asdict(_together(decided, meant)))

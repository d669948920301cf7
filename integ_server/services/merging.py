"""Merge and split, as one player wants it: kept by release, so that it survives every sync and whatever the stores say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import AmbiguousError, GameNotFoundError
from integ_server.contract.preferences import Arranged, Arrangement
from integ_server.models.tables import title_choices, titles, users
from integ_server.services import choices, library
from integ_server.services.choices import ADD_ONS, Choice, Choices, Place
from integ_server.services.rows import among, insert_rows, select_where_in, update_rows
from integ_server.services.titles import apart, lock


@dataclass(slots=True)
class _Shelf:
    """The player's releases before a change; the change is made to `after`, and to `wanted`, which says where each is to be."""

    known: dict[str, Place]
    before: Choices
    seen: dict[str, str]
    after: Choices
    wanted: dict[str, str]

    def games_in(self, title_id: str) -> list[str]:
        return sorted(key for key, at in self.seen.items() if at == title_id and self.known[key].kind not in ADD_ONS)

    def base(self, key: str) -> str:
        return self.before.base(self.known[key])


async def merge(session: AsyncSession, user_id: str, wanted: Collection[str]) -> Arranged:
    """
    Make one title of all that *wanted* names, by key or title id: the first one's. Whatever joins one of them later is in it too.

    Raises:
        GameNotFoundError: One of them is not in this library.
    """
    shelf = await _open(session, user_id)
    title_ids = [_title(shelf, each) for each in wanted]
    now = _now()
    for key in [key for title_id in dict.fromkeys(title_ids) for key in shelf.games_in(title_id)]:
        was = shelf.before.of.get(key)
        if was is None or was.title_id != title_ids[0] or shelf.seen[key] != title_ids[0]:
            shelf.after.of[key] = Choice(title_ids[0], was.split_id if was else None, now)
        shelf.wanted[key] = title_ids[0]
    return await _store(session, user_id, shelf, {title_ids[0]})


async def split(session: AsyncSession, user_id: str, game: str) -> Arranged:
    """
    Take the release *game* out of its title; named by its title's id, undo the merges that made the title.

    Raises:
        GameNotFoundError: It is not in this library.
        AmbiguousError: A title was named that no merge made; `data["candidates"]` are its releases.
    """
    shelf = await _open(session, user_id)
    title_id = _title(shelf, game)
    inside = shelf.games_in(title_id)
    if len(inside) < 2:
        return await _store(session, user_id, shelf, {title_id})
    if game not in inside:
        apart_again = {key: base for key in inside if (base := shelf.base(key)) != title_id}
        if not apart_again:
            listed = [{"key": each, "title": each} for each in inside]
            raise AmbiguousError("which of its releases?", hint=f"integ split {inside[0]}", data={"candidates": listed})
        _send(shelf, apart_again)
    else:
        await _part(session, shelf, game, title_id, inside)
    return await _store(session, user_id, shelf, {title_id, *(shelf.wanted[key] for key in inside)})


async def unsplit(session: AsyncSession, user_id: str, game: str) -> Arranged:
    """
    Put what was split off, and is named by its key or its title's id, back to where the stores have it.

    Raises:
        GameNotFoundError: It is not in this library.
    """
    shelf = await _open(session, user_id)
    title_id = _title(shelf, game)
    inside = shelf.games_in(title_id)
    back = [key for key in ([game] if game in inside else inside) if (was := shelf.before.of.get(key)) is not None and was.split_id]
    for key in back:
        was = shelf.before.of[key]
        if was.title_id == was.split_id:
            del shelf.after.of[key]
        else:
            shelf.after.of[key] = replace(was, split_id=None)
    shelf.after.settle()
    seen = choices.view(shelf.after, shelf.known)
    shelf.wanted |= {key: seen[key] for key in back}
    return await _store(session, user_id, shelf, {title_id, *(shelf.wanted[key] for key in back)})


async def _part(session: AsyncSession, shelf: _Shelf, game: str, title_id: str, inside: list[str]) -> None:
    """Let *game* leave, or the others, whichever undoes a merge; else it gets a title of its own."""
    base, others = shelf.base(game), [key for key in inside if key != game]
    if base != title_id and _is_free_for(shelf, base, {base}):
        _send(shelf, {game: base})
        return
    bases = {key: shelf.base(key) for key in others}
    if base == title_id and title_id not in bases.values():
        free = [each for each in await _by_age(session, set(bases.values())) if _is_free_for(shelf, each, set(bases.values()))]
        if free:
            _send(shelf, dict.fromkeys(others, free[0]))
            return
    own = await apart(session, game, set(shelf.seen.values()))
    shelf.after.of[game] = Choice(own, own, _now())
    shelf.wanted[game] = own


def _is_free_for(shelf: _Shelf, title_id: str, bases: Collection[str]) -> bool:
    return all(shelf.base(key) in bases for key in shelf.games_in(title_id))


def _send(shelf: _Shelf, to: Mapping[str, str]) -> None:
    """Take back the merges of the releases in *to*; what does not come to be where it is wanted by that is put there."""
    for key, title_id in to.items():
        was = shelf.after.of.pop(key, None)
        if was is not None and was.split_id is not None:
            shelf.after.of[key] = replace(was, title_id=was.split_id)
        shelf.wanted[key] = title_id


async def _by_age(session: AsyncSession, title_ids: set[str]) -> list[str]:
    rows = await select_where_in(session, select(titles.c.id, titles.c.seniority), titles.c.id, title_ids)
    return [row.id for row in sorted(rows, key=lambda each: (each.seniority, each.id))]


async def _open(session: AsyncSession, user_id: str) -> _Shelf:
    await lock(session)  # no title moves meanwhile; taken first, as a sync does
    await session.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())  # one change of a player at a time
    known, before = await choices.places(session, user_id), await choices.read(session, user_id)
    seen = choices.view(before, known)
    places = before.places | {key: place for key, place in known.items() if place.kind not in ADD_ONS}
    return _Shelf(known, before, seen, Choices(dict(before.of), places), dict(seen))


def _title(shelf: _Shelf, game: str) -> str:
    if game in shelf.seen:
        return shelf.seen[game]
    if game in shelf.seen.values():
        return game
    raise GameNotFoundError(f"there is no game {game[:80]!r} in this library", hint="integ search TEXT")


async def _store(session: AsyncSession, user_id: str, shelf: _Shelf, asked: set[str]) -> Arranged:
    """Write the choices that put every game where it is wanted, and tell of those that moved."""
    now = _now()
    while True:
        shelf.after.settle()
        seen = choices.view(shelf.after, shelf.known)
        astray = [key for key, place in shelf.known.items() if place.kind not in ADD_ONS and seen[key] != shelf.wanted[key]]
        if not astray:
            break
        for key in astray:  # by itself it would follow a neighbour that this change has moved, or let go
            was = shelf.after.of.get(key)
            shelf.after.of[key] = Choice(shelf.wanted[key], was.split_id if was else None, now)
    changed = await _write(session, user_id, shelf.before.of, shelf.after.of)
    moved = {at for key in seen if seen[key] != shelf.seen[key] for at in (seen[key], shelf.seen[key])}
    if changed:
        moved |= asked  # that its releases belong together is no guess any more
    await library.touch_own(session, user_id, [key for key in seen if moved & {seen[key], shelf.seen[key]}])
    inside: defaultdict[str, list[str]] = defaultdict(list)
    for key, title_id in seen.items():
        if title_id in asked and shelf.known[key].kind not in ADD_ONS:
            inside[title_id].append(key)
    return Arranged(changed=changed, titles=[Arrangement(title_id=each, keys=sorted(keys)) for each, keys in sorted(inside.items())])


async def _write(session: AsyncSession, user_id: str, before: Mapping[str, Choice], after: Mapping[str, Choice]) -> bool:
    gone = sorted(before.keys() - after.keys())
    differing = sorted(key for key, choice in after.items() if before.get(key) != choice)
    if gone:
        await session.execute(
            delete(title_choices).where(title_choices.c.user_id == user_id, among(session, title_choices.c.game_key, gone))
        )

    def row(key: str) -> dict[str, Any]:
        made_at = datetime.fromtimestamp(after[key].made_at, UTC)
        return {"title_id": after[key].title_id, "split_id": after[key].split_id, "made_at": made_at, "user_id": user_id, "game_key": key}

    await insert_rows(session, title_choices, [row(key) for key in differing if key not in before])
    await update_rows(session, title_choices, ("user_id", "game_key"), [row(key) for key in differing if key in before])
    return bool(gone or differing)


def _now() -> int:
    return int(datetime.now(UTC).timestamp())

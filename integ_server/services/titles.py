"""Titles: made for new releases, joined and parted again as more becomes known. An id that was given out is never changed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.models.tables import games, group_members, titles
from integ_server.services.joining import Joined, Release, join
from integ_server.services.naming import match_name, slug_of, sort_name
from integ_server.services.rows import insert_rows, select_where_in, update_rows

_POSTGRES_LOCK = 0x7469746C65  # "title"
_ADD_ONS = ("dlc", "tool")


@dataclass(frozen=True, slots=True)
class NewRelease:
    key: str
    name: str
    sort: str
    match_name: str
    kind: str
    parent_key: str | None


@dataclass(slots=True)
class _Known:
    """A release as it stands in the table."""

    key: str
    provider: str
    name: str
    sort: str
    match_name: str
    kind: str
    parent_key: str | None
    year: int | None
    group_id: str | None
    is_asked: bool
    has_details: bool
    title_id: str


async def lock(session: AsyncSession) -> bool:
    """
    One writer of titles at a time; SQLite's writing transactions are that already. True when others may have written between the
    transaction's beginning and now.
    """
    if session.get_bind().dialect.name != "postgresql":
        return False
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    return True


async def found(session: AsyncSession, new: Sequence[NewRelease]) -> dict[str, str]:
    """Make titles for releases that are about to be stored: release key to title id. An add-on goes to its parent's title."""
    parents = {each.parent_key for each in new if each.parent_key and each.kind in _ADD_ONS}
    stored = select(games.c.key, games.c.title_id)
    given: dict[str, str] = {row.key: row.title_id for row in await select_where_in(session, stored, games.c.key, parents)}
    bases = given.keys() | {each.key for each in new if each.kind not in _ADD_ONS}
    of_new: dict[str, str] = {}
    own = [each for each in new if each.kind not in _ADD_ONS or each.parent_key not in bases]
    slugs = await _free_slugs(session, [(each.key, each.match_name) for each in own])
    now = time.time_ns() // 1000
    rows = [
        {
            "id": slugs[each.key],
            "founder": each.key,
            "face": each.key,
            "name": each.name,
            "sort": each.sort,
            "guessed": False,
            "seniority": now,
        }
        for each in own
    ]
    await insert_rows(session, titles, rows)
    for each in own:
        of_new[each.key] = slugs[each.key]
    for each in new:
        if each.key not in of_new and each.parent_key:
            of_new[each.key] = given.get(each.parent_key) or of_new[each.parent_key]
    return of_new


async def rejoin(session: AsyncSession, keys: Iterable[str]) -> set[str]:
    """
    Join and part the titles of *keys* and of everything that is tied to them, by what the tables say now.

    Returns the keys of all releases that a client has to hear of: their title changed, or what it is called.
    """
    known = await _tied(session, set(keys))
    if not known:
        return set()
    groups = await _groups(session, known.values())
    releases = [
        Release(each.key, each.provider, each.match_name, each.year, groups.get(each.key), each.is_asked)
        for each in known.values()
        if each.kind not in _ADD_ONS
    ]
    chosen, touched = await _assign(session, join(releases), known)
    chosen |= await _of_add_ons(session, known, chosen)
    moved = {key: title_id for key, title_id in chosen.items() if known[key].title_id != title_id}
    if moved:
        await _move(session, moved)
        touched |= set(moved)
        # What was at the old title, or is at the new one, is looked at anew by its owners too: its `hidden` may differ, and a
        # release without a choice of its own follows its neighbours to where a player put those.
        changed = {known[key].title_id for key in moved} | set(moved.values())
        touched |= {each.key for each in known.values() if each.title_id in changed or chosen.get(each.key) in changed}
    return touched


async def _tied(session: AsyncSession, keys: set[str]) -> dict[str, _Known]:
    """The releases of *keys* and, again and again, those that share a name, a group, a title or a parent with one of them."""
    columns = (
        games.c.key,
        games.c.provider,
        games.c.name,
        games.c.sort,
        games.c.match_name,
        games.c.kind,
        games.c.parent_key,
        games.c.year,
    )
    more = (games.c.group_id, games.c.metadata_read_at.is_not(None), games.c.details.is_not(None), games.c.title_id)
    query = select(*columns, *more)
    known: dict[str, _Known] = {}
    seen_names: set[str] = {""}
    seen_groups: set[str] = set()
    seen_titles: set[str] = set()
    rows = await select_where_in(session, query, games.c.key, keys)
    while True:
        fresh = [_Known(*row) for row in rows if row[0] not in known]
        if not fresh:
            return known
        known |= {each.key: each for each in fresh}
        names = {each.match_name for each in fresh if each.kind not in _ADD_ONS} - seen_names
        own_groups = {each.group_id for each in fresh if each.group_id}
        told = await select_where_in(session, select(group_members.c.group_id), group_members.c.key, [each.key for each in fresh])
        groups = (own_groups | {row[0] for row in told}) - seen_groups
        title_ids = {each.title_id for each in fresh} - seen_titles
        seen_names |= names
        seen_groups |= groups
        seen_titles |= title_ids
        rows = await select_where_in(session, query, games.c.match_name, names)
        rows += await select_where_in(session, query, games.c.group_id, groups)
        rows += await select_where_in(session, query, games.c.title_id, title_ids)
        members = select(group_members.c.key)
        in_groups = [row[0] for row in await select_where_in(session, members, group_members.c.group_id, groups)]
        rows += await select_where_in(session, query, games.c.key, in_groups)
        rows += await select_where_in(session, query, games.c.parent_key, [each.key for each in fresh])
        parents = [each.parent_key for each in fresh if each.parent_key and each.parent_key not in known]
        rows += await select_where_in(session, query, games.c.key, parents)


async def _groups(session: AsyncSession, known: Iterable[_Known]) -> dict[str, str]:
    """The group of each release: its own look-up's, else the one that another member's look-up named, if it is only one."""
    result = {each.key: each.group_id for each in known if each.group_id}
    without = [each.key for each in known if not each.group_id]
    told: defaultdict[str, set[str]] = defaultdict(set)
    for key, group_id in await select_where_in(
        session, select(group_members.c.key, group_members.c.group_id), group_members.c.key, without
    ):
        told[key].add(group_id)
    return result | {key: next(iter(each)) for key, each in told.items() if len(each) == 1}


async def _assign(session: AsyncSession, parts: list[Joined], known: Mapping[str, _Known]) -> tuple[dict[str, str], set[str]]:
    """Which title each part gets, stored titles brought up to date; release key to title id, and the keys to be told of."""
    keys = [key for part in parts for key in part.keys]
    query = select(titles)
    rows = await select_where_in(session, query, titles.c.id, {known[key].title_id for key in keys})
    rows += await select_where_in(session, query, titles.c.founder, keys)
    stored = {row.id: row for row in rows}
    faces = {
        part: min((known[key] for key in part.keys), key=lambda each: (not each.has_details, each.provider, each.key)) for part in parts
    }
    # A release without a name got a stand-in for an id; nobody has to live with that once the name is known.
    lasting = {
        title_id: row
        for title_id, row in stored.items()
        if row.name or not any(faces[part].name for part in parts if row.founder in part.keys)
    }
    claimed = _claims(parts, known, lasting)
    missing = [part for part in parts if part not in claimed]
    slugs = await _free_slugs(session, [(faces[part].key, faces[part].match_name) for part in missing])
    chosen: dict[str, str] = {}
    touched: set[str] = set()
    now = time.time_ns() // 1000
    new_rows: list[dict[str, Any]] = []
    changed_rows: list[dict[str, Any]] = []
    for part in parts:
        face = faces[part]
        facts = {
            "face": face.key,
            "name": face.name,
            "sort": face.sort,
            "year": _year(part, face, known),
            "group_id": part.group,
            "guessed": part.guessed,
        }
        title_id = claimed.get(part)
        if title_id is None:
            title_id = slugs[face.key]
            new_rows.append({"id": title_id, "founder": face.key, "seniority": now, **facts})
        elif any(getattr(stored[title_id], name) != value for name, value in facts.items()):
            changed_rows.append({"id": title_id, **facts})
            touched |= set(part.keys)
        chosen |= dict.fromkeys(part.keys, title_id)
    await insert_rows(session, titles, new_rows)
    await update_rows(session, titles, ("id",), changed_rows)
    return chosen, touched


def _year(part: Joined, face: _Known, known: Mapping[str, _Known]) -> int | None:
    return face.year if face.year is not None else min((year for key in part.keys if (year := known[key].year) is not None), default=None)


def _claims(parts: Sequence[Joined], known: Mapping[str, _Known], stored: Mapping[str, Any]) -> dict[Joined, str]:
    """
    The stored title that each part keeps: the oldest of those its releases have; a title that is split stays with its founder.

    A part that has none of its own left gets one back that was made for one of its releases, if nobody uses that.
    """
    wanted: defaultdict[str, list[Joined]] = defaultdict(list)
    for part in parts:
        for title_id in {known[key].title_id for key in part.keys} & stored.keys():
            wanted[title_id].append(part)
    holders = {title_id: next((each for each in by if stored[title_id].founder in each.keys), by[0]) for title_id, by in wanted.items()}
    held: defaultdict[Joined, list[str]] = defaultdict(list)
    for title_id, part in holders.items():
        held[part].append(title_id)

    def age(title_id: str) -> tuple[int, str]:
        return stored[title_id].seniority, title_id

    claimed = {part: min(ids, key=age) for part, ids in held.items()}
    for part in parts:
        if part in claimed:
            continue
        spare = [title_id for title_id, row in stored.items() if row.founder in part.keys and title_id not in holders]
        if spare:
            claimed[part] = min(spare, key=age)
    return claimed


async def _of_add_ons(session: AsyncSession, known: Mapping[str, _Known], chosen: Mapping[str, str]) -> dict[str, str]:
    """An add-on follows its parent; without one it has a title of its own."""
    result: dict[str, str] = {}
    orphans: list[_Known] = []
    for each in known.values():
        if each.kind not in _ADD_ONS:
            continue
        parent = known.get(each.parent_key or "")
        if parent is not None and parent.kind not in _ADD_ONS:
            result[each.key] = chosen[parent.key]
        else:
            orphans.append(each)
    if not orphans:
        return result
    query = select(titles.c.id, titles.c.founder)
    founded = {founder: title_id for title_id, founder in await select_where_in(session, query, titles.c.founder, [o.key for o in orphans])}
    used = set(chosen.values())
    homeless = [each for each in orphans if founded.get(each.key) is None or founded[each.key] in used]
    slugs = await _free_slugs(session, [(each.key, each.match_name) for each in homeless])
    now = time.time_ns() // 1000
    rows = [
        {
            "id": slugs[each.key],
            "founder": each.key,
            "face": each.key,
            "name": each.name,
            "sort": each.sort,
            "guessed": False,
            "seniority": now,
        }
        for each in homeless
    ]
    await insert_rows(session, titles, rows)
    return result | {each.key: slugs.get(each.key) or founded[each.key] for each in orphans}


async def _move(session: AsyncSession, moved: Mapping[str, str]) -> None:
    await update_rows(session, games, ("key",), [{"key": key, "title_id": title_id} for key, title_id in sorted(moved.items())])


async def _free_slugs(session: AsyncSession, wanted: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A slug for each (release key, name), used by no title, now or ever: the name's, with the store, with the store's id."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    left = sorted(wanted)
    for spelling in (_by_name, _by_store, _by_key):
        offers = {key: offer for key, name in left if (offer := spelling(key, name))}
        taken |= {row[0] for row in await select_where_in(session, select(titles.c.id), titles.c.id, set(offers.values()))}
        for key, offer in offers.items():
            if offer not in taken:
                taken.add(offer)
                result[key] = offer
        left = [each for each in left if each[0] not in result]
        if not left:
            return result
    number = 1
    for key, name in left:  # somebody named a game like another one's fall-back
        while key not in result:
            number += 1
            offer = f"{_by_key(key, name)}-{number}"
            if offer not in taken and not (await session.execute(select(exists().where(titles.c.id == offer)))).scalar():
                taken.add(offer)
                result[key] = offer
    return result


def _by_name(key: str, name: str) -> str:
    return slug_of(name)


def _by_store(key: str, name: str) -> str:
    return f"{slug_of(name)}-{key.partition(':')[0]}" if slug_of(name) else ""


def _by_key(key: str, name: str) -> str:
    return f"{slug_of(name)}-{key.replace(':', '-')}".strip("-")


async def apart(session: AsyncSession, key: str, taken: Collection[str]) -> str:
    """The id of a title for the release *key* alone: one that was made for it and that nobody is in, else a new one; none of *taken*."""
    used = select(games.c.key).where(games.c.title_id == titles.c.id).exists()
    spare = select(titles.c.id).where(titles.c.founder == key, ~used).order_by(titles.c.seniority, titles.c.id)
    for row in (await session.execute(spare)).all():
        if row.id not in taken:
            return str(row.id)
    game = (await session.execute(select(games).where(games.c.key == key))).one()
    (title_id,) = (await _free_slugs(session, [(key, game.match_name)])).values()
    facts = {"id": title_id, "founder": key, "face": key, "name": game.name, "sort": game.sort, "year": game.year}
    await insert_rows(session, titles, [{**facts, "guessed": False, "seniority": time.time_ns() // 1000}])
    return title_id


async def needing_rejoin(session: AsyncSession, keys: Iterable[str]) -> set[str]:
    """Those of *keys*, just stored, that may belong to a title which is there already."""
    wanted = list(keys)
    grouped = await select_where_in(session, select(group_members.c.key), group_members.c.key, wanted)
    asked = await select_where_in(session, select(games.c.key).where(games.c.metadata_read_at.is_not(None)), games.c.key, wanted)
    parents = await select_where_in(session, select(games.c.parent_key), games.c.parent_key, wanted)
    tied = select(games.c.key).where(or_(games.c.kind.in_(_ADD_ONS), games.c.group_id.is_not(None)))
    return {row[0] for part in (grouped, asked, parents, await select_where_in(session, tied, games.c.key, wanted)) for row in part}


def names_of(name: str) -> dict[str, str]:
    """The columns that follow from a release's name."""
    matched = match_name(name)
    return {"name": name, "sort": sort_name(name, matched), "match_name": matched}

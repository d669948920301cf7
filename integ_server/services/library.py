"""What a user owns: read by page and by change, and marked as changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import GameNotFoundError, NotSignedInError
from integ_server.contract.types import Changes, ReleaseRecord, TitleDetails, TitleRecord, UserInfo
from integ_server.db import Database
from integ_server.models.tables import games, library_entries, titles, users
from integ_server.services import choices, decisions, events
from integ_server.services.naming import is_key
from integ_server.services.rows import among, in_parts, insert_or_skip, select_where_in

A_REVISION_HOLDS = 1_000
"""More entries than this that change at once get several revisions, so that a client can be told of them in parts."""
AN_ANSWER_HOLDS = 2_000


async def revision(session: AsyncSession, user_id: str) -> int:
    found: int = (await session.execute(select(users.c.revision).where(users.c.id == user_id))).scalar_one()
    return found


async def user_info(session: AsyncSession, user_id: str) -> UserInfo:
    """
    Raises:
        NotSignedInError: There is no such user any more.
    """
    columns = users.c.id, users.c.name, users.c.avatar_url, users.c.revision
    row = (await session.execute(select(*columns).where(users.c.id == user_id))).one_or_none()
    if row is None:
        raise NotSignedInError("this user was deleted a moment ago")
    return UserInfo(id=row.id, name=row.name, avatar_url=row.avatar_url, revision=row.revision)


async def next_revisions(session: AsyncSession, user_id: str, changes: int) -> int:
    """Take the revisions for *changes* entries, the user's row locked until the commit; the first of them."""
    steps = -(-changes // A_REVISION_HOLDS)
    bump = update(users).where(users.c.id == user_id).values(revision=users.c.revision + steps).returning(users.c.revision)
    last: int = (await session.execute(bump)).scalar_one()
    events.library_changed(session, user_id, last)
    return last - steps + 1


async def touch(session: AsyncSession, keys: Iterable[str], *, user_id: str = "", told: Collection[str] = ()) -> None:
    """
    Tell everybody who owns, or owned, one of the releases *keys* that something about it changed; *user_id* hears of *told*
    already.
    """
    owners = select(library_entries.c.user_id, library_entries.c.game_key).distinct()
    by_user: defaultdict[str, list[str]] = defaultdict(list)
    for owner, key in await select_where_in(session, owners, library_entries.c.game_key, set(keys)):
        if owner != user_id or key not in told:
            by_user[owner].append(key)
    for owner in sorted(by_user):  # always in the same order, so that two transactions can't wait for each other
        await touch_own(session, owner, by_user[owner])


async def touch_own(session: AsyncSession, user_id: str, keys: Collection[str]) -> None:
    """Tell the devices of one user that something about the releases *keys*, which they own or owned, changed."""
    if not keys:
        return
    first = await next_revisions(session, user_id, len(keys))
    for step, part in enumerate(in_parts(sorted(keys), A_REVISION_HOLDS)):
        mine = (library_entries.c.user_id == user_id, among(session, library_entries.c.game_key, part))
        await session.execute(update(library_entries).where(*mine).values(revision=first + step))


async def changes(session: AsyncSession, user_id: str, since: int) -> Changes:
    """Everything that changed after revision *since*, cut between two revisions once it is long; 0 is everything there is."""
    now_at, began_at = (await session.execute(select(users.c.revision, users.c.first_revision).where(users.c.id == user_id))).one()
    reset = since != 0 and not began_at <= since <= now_at
    if reset:
        since = 0
    mine = [library_entries.c.user_id == user_id, library_entries.c.revision > since]
    if since == 0:  # whoever knows nothing has nothing to forget
        mine.append(library_entries.c.removed_at.is_(None))
    query = select(library_entries.c.game_key, library_entries.c.revision).where(*mine).order_by(library_entries.c.revision)
    rows = (await session.execute(query.limit(AN_ANSWER_HOLDS + A_REVISION_HOLDS))).all()
    upto, more = now_at, False
    if len(rows) > AN_ANSWER_HOLDS:
        upto = rows[AN_ANSWER_HOLDS - 1].revision
        # A revision is never cut in two: its rest may lie behind the limit.
        rest = query.where(library_entries.c.revision == upto)
        rows = [row for row in rows if row.revision < upto] + list((await session.execute(rest)).all())
        more = upto < now_at
    found = await records(session, user_id, [row.game_key for row in rows])
    decided = await decisions.beside(session, user_id) if since < now_at and not more else decisions.NOTHING
    return Changes(
        revision=upto,
        more=more,
        reset=reset,
        titles=found.titles,
        releases=found.releases,
        preferences=decided.user,
        loose=decided.loose,
    )


async def get_release(session: AsyncSession, user_id: str, key: str) -> ReleaseRecord:
    """
    Raises:
        GameNotFoundError: The user does not own it.
    """
    found = await records(session, user_id, [key] if is_key(key) else [])
    if not found.releases or found.releases[0].removed:
        raise GameNotFoundError(f"there is no game {key[:80]!r} in this library", hint="integ search TEXT")
    return found.releases[0]


async def records(session: AsyncSession, user_id: str, keys: Sequence[str]) -> Changes:
    """The releases *keys* and their titles as the user has them, in no revision in particular."""
    columns = [column for column in games.c if column.name != "details"]
    rows = await select_where_in(session, select(*columns), games.c.key, keys)
    chosen = await choices.read(session, user_id)
    placed = {row.key: chosen.title_of(row.key, row.title_id, row.kind, row.parent_key) for row in rows}
    title_ids = set(placed.values())
    title_rows = await select_where_in(session, select(titles), titles.c.id, title_ids)
    facts = select(games.c.key, games.c.name, games.c.details)
    faces = {row.key: row for row in await select_where_in(session, facts, games.c.key, {row.face for row in title_rows})}
    owned: defaultdict[str, list[Any]] = defaultdict(list)
    by_title: defaultdict[str, list[Any]] = defaultdict(list)
    for title_id, row in await choices.members(session, user_id, chosen, title_ids):
        owned[row.game_key].append(row)
        by_title[title_id].append(row)
    decided = await decisions.of(session, user_id, owned)
    return Changes(
        revision=0,
        titles=[
            _title(
                row, faces.get(row.face), by_title[row.id], decided, is_chosen=any(each.game_key in chosen.of for each in by_title[row.id])
            )
            for row in sorted(title_rows, key=lambda each: str(each.id))
        ],
        releases=[
            _release(row, placed[row.key], owned[row.key], decided.get(row.key))
            for row in sorted(rows, key=lambda each: str(each.key))
            if row.key in owned
        ],
    )


def _title(row: Any, face: Any, entries: Sequence[Any], decided: Mapping[str, Any], *, is_chosen: bool) -> TitleRecord:
    """A title as its releases at the user's make it: hidden when all of its games are, unless they decided otherwise."""
    wanted = decisions.together(decided, entries)
    games_here = [each for each in entries if each.removed_at is None and each.kind == "game"]
    concealed = bool(games_here) and all(each.hidden for each in games_here)
    return TitleRecord(
        id=row.id,
        title=(face.name if face else "") or row.name or row.face.partition(":")[2],
        year=row.year,
        favourite=wanted.favourite,
        hidden=concealed if wanted.hidden is None else wanted.hidden,
        tags=wanted.tags,
        notes=wanted.notes,
        guessed=row.guessed and not is_chosen,
        details=_details(face.details) if face else None,
    )


def _release(row: Any, title_id: str, entries: Sequence[Any], decided: Any) -> ReleaseRecord:
    """One release over all accounts of the user: minutes are added up, the last moment is the latest."""
    present = [each for each in entries if each.removed_at is None]
    return ReleaseRecord(
        key=row.key,
        provider=row.provider,
        provider_game_id=row.provider_game_id,
        title_id=title_id,
        title=row.name or row.provider_game_id,
        kind=cast(Literal["game", "dlc", "tool"], row.kind),
        parent_key=row.parent_key,
        accounts=[each.account for each in present],
        platforms=row.platforms,
        playtime_min=sum(each.playtime_min for each in present or entries),
        last_played_at=max((each.last_played_at for each in present or entries if each.last_played_at), default=None),
        required_proton=row.required_proton,
        proton=decided.proton if decided else None,
        launch_options=decided.launch_options if decided else None,
        removed=not present,
    )


def _details(stored: Any) -> TitleDetails | None:
    return TitleDetails.model_validate(stored) if stored else None


async def ensure_local_user(db: Database, user_id: str) -> None:
    """The one user of an embedded backend, made at the first start."""
    async with db.reading() as session:
        if (await session.execute(select(users.c.id).where(users.c.id == user_id))).first():
            return
    now = datetime.now(UTC)
    began = int(now.timestamp() * 1000)
    row = {"id": user_id, "name": user_id, "revision": began, "first_revision": began, "created_at": now}
    async with db.writing.begin() as session:
        await session.execute(insert_or_skip(session, users), row)

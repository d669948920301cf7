"""
Everything the backend has of one user: taken along, and deleted.

Which tables that are follows from the foreign keys: whatever points at the user, or at something that is the user's. So a new table is
exported and deleted without anybody thinking of it. Games and titles are everybody's and stay.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy import ColumnElement, CursorResult, Table, delete, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import utc_now_text
from integ_server.contract.user_data import UserDeleted
from integ_server.models.tables import accounts, games, metadata, title_choices, users
from integ_server.services.backend import Backend

WITHHELD: dict[str, set[str]] = {
    "accounts": {"secret", "access_token", "renewed_by", "renewed_since"},
    "sessions": {"refresh_hash", "previous_hash"},
    "api_tokens": {"token_hash"},
    "webhooks": {"secret"},
    "jobs": {"owner", "heartbeat_at"},
}
"""What opens something, and which process of ours was at work: the player has no use for it, and a thief would."""
_ROWS_AT_ONCE = 1_000


def _tables_of_users() -> list[Table]:
    """The users' own tables, each after those it points at."""
    found: list[Table] = []
    for table in metadata.sorted_tables:
        if table is users or any(key.column.table is users or key.column.table in found for key in table.foreign_keys):
            found.append(table)
    return found


TABLES = _tables_of_users()


async def export(backend: Backend, user_id: str) -> AsyncIterator[bytes]:
    """
    The envelope with every row that is the user's, in pieces. Each is read in a moment of its own, so that a slow client holds no
    connection to the database, and no library is too large for the memory.
    """
    yield b'{"status":"ok","timestamp":' + to_json(utc_now_text()) + b',"data":{'
    for number, table in enumerate(TABLES):
        yield (b"," if number else b"") + to_json(table.name) + b":["
        separator = b""
        async for rows in _pages(backend, table, user_id):
            yield separator + b",".join(to_json(row) for row in rows)
            separator = b","
        yield b"]"
    yield b"}}"


async def forget(backend: Backend, session: AsyncSession, user_id: str) -> UserDeleted:
    """
    Delete every row that is the user's, in one transaction; the user of an embedded backend begins anew.

    Work that runs for the user finds its job gone when it wants to store something, and stores nothing.
    """
    # In the order in which a sync locks them, which is let come to its end: what it adds goes too.
    mine = select(accounts.c.id).where(accounts.c.user_id == user_id).order_by(accounts.c.id)
    await session.execute(mine.with_for_update())
    await session.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
    counts: dict[str, int] = {}
    for table in reversed(TABLES):
        if table is users and backend.settings.is_embedded:
            await _begin_anew(session, user_id)
            continue
        gone = await session.execute(delete(table).where(_is_of(table, user_id)).execution_options(synchronize_session=False))
        assert isinstance(gone, CursorResult)
        counts[table.name] = gone.rowcount
    await backend.events.forget(user_id)
    return UserDeleted(rows={name: count for name, count in counts.items() if count})


async def _begin_anew(session: AsyncSession, user_id: str) -> None:
    """A client tells by the first revision that what it knows is void."""
    last = (await session.execute(select(users.c.revision).where(users.c.id == user_id))).scalar_one()
    now = datetime.now(UTC)
    began = max(int(now.timestamp() * 1000), last + 1)
    fresh = {"revision": began, "first_revision": began, "preferences": {}, "avatar_url": None, "created_at": now}
    await session.execute(update(users).where(users.c.id == user_id).values(**fresh))


async def _pages(backend: Backend, table: Table, user_id: str) -> AsyncIterator[Sequence[dict[str, Any]]]:
    keys = list(table.primary_key.columns)
    columns = [column for column in table.c if column.name not in WITHHELD.get(table.name, set())]
    query = select(*columns)
    if "game_key" in table.c:
        query = query.outerjoin(games, games.c.key == table.c.game_key).add_columns(games.c.name.label("game"))
    if table is title_choices:  # a merge is told from what is together anyway by where the stores have it
        query = query.add_columns(games.c.title_id.label("stores_title_id"))
    query = query.where(_is_of(table, user_id)).order_by(*keys).limit(_ROWS_AT_ONCE)
    last: tuple[Any, ...] | None = None
    while True:
        async with backend.db.reading() as session:
            part = query if last is None else query.where(tuple_(*keys) > tuple_(*last))
            rows = [dict(row) for row in (await session.execute(part)).mappings()]
        if rows:
            last = tuple(rows[-1][column.name] for column in keys)
            yield rows
        if len(rows) < _ROWS_AT_ONCE:
            return


def _is_of(table: Table, user_id: str) -> ColumnElement[bool]:
    """That a row of *table* is the user's, by whichever of its foreign keys says so."""
    if table is users:
        return users.c.id == user_id
    said: list[ColumnElement[bool]] = []
    for key in table.foreign_keys:
        if key.column.table is users:
            said.append(key.parent == user_id)
        elif key.column.table in TABLES:
            said.append(key.parent.in_(select(key.column).where(_is_of(key.column.table, user_id))))
    return or_(*said)

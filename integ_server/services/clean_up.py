"""
What nobody needs any more is removed, a bounded batch a transaction, so that no table grows for ever and no request waits for it.

How long what is kept: see `KEPT`. A client that was away for longer than tombstones are kept reads its library anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, and_, case, delete, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.models.job import ClaimedJob
from integ_server.models.tables import accounts, api_tokens, game_achievements, jobs, library_entries, sessions, users, webhook_deliveries
from integ_server.services import jobs as job_service
from integ_server.services import proton_mirror
from integ_server.services.backend import Backend

BATCH = 1_000
KEPT = {
    "jobs": timedelta(days=7),
    "earlier jobs": timedelta(days=1),
    "sessions": timedelta(days=30),
    "tokens": timedelta(days=90),
    "deliveries": timedelta(days=30),
    "tombstones": timedelta(days=90),
}
"""After its end; of an account's or a store's jobs those before the newest one go earlier."""


async def clean_up(backend: Backend, job: ClaimedJob) -> None:
    """
    Do a `clean-up` job that this process has claimed.

    Raises:
        ClaimLostError: Another process took the job over.
    """
    removed = 0
    for name, sweep in _SWEEPS.items():
        while True:
            async with backend.db.writing.begin() as session:
                found = await sweep(session, datetime.now(UTC))
            removed += found
            await job_service.tell(backend, job.id, name, removed)
            if found < BATCH:
                break
    await proton_mirror.prune(backend)
    await backend.endings.done(job.id)


async def _old_jobs(session: AsyncSession, now: datetime) -> int:
    newer = jobs.alias("newer")
    has_newer = select(newer.c.id).where(newer.c.subject == jobs.c.subject, newer.c.finished_at > jobs.c.finished_at).exists()
    is_earlier = and_(jobs.c.finished_at < now - KEPT["earlier jobs"], has_newer)
    return await _delete(session, jobs, or_(jobs.c.finished_at < now - KEPT["jobs"], is_earlier))


async def _old_sessions(session: AsyncSession, now: datetime) -> int:
    long_ago = now - KEPT["sessions"]
    return await _delete(session, sessions, or_(sessions.c.expires_at < long_ago, sessions.c.revoked_at < long_ago))


async def _old_tokens(session: AsyncSession, now: datetime) -> int:
    long_ago = now - KEPT["tokens"]
    return await _delete(session, api_tokens, or_(api_tokens.c.expires_at < long_ago, api_tokens.c.revoked_at < long_ago))


async def _old_deliveries(session: AsyncSession, now: datetime) -> int:
    return await _delete(session, webhook_deliveries, webhook_deliveries.c.finished_at < now - KEPT["deliveries"])


async def _old_tombstones(session: AsyncSession, now: datetime) -> int:
    """Whoever has not heard of these by now is told to forget everything: its user's history begins after them."""
    key = library_entries.c.account_id, library_entries.c.game_key
    query = select(*key, library_entries.c.user_id, library_entries.c.revision).where(
        library_entries.c.removed_at < now - KEPT["tombstones"]
    )
    rows = (await session.execute(query.limit(BATCH).with_for_update(skip_locked=True))).all()
    latest: dict[str, int] = {}
    for row in rows:
        latest[row.user_id] = max(latest.get(row.user_id, 0), row.revision)
    for user_id, revision in sorted(latest.items()):
        later = case((users.c.first_revision < revision, revision), else_=users.c.first_revision)
        await session.execute(update(users).where(users.c.id == user_id).values(first_revision=later))
    if rows:
        await session.execute(delete(library_entries).where(tuple_(*key).in_([(row.account_id, row.game_key) for row in rows])))
    return len(rows)


async def _old_accounts(session: AsyncSession, now: datetime) -> int:
    """Signed-out accounts that nothing points at any more."""
    pointing = [select(table.c.account_id).where(table.c.account_id == accounts.c.id).exists() for table in (library_entries, jobs)]
    query = select(accounts.c.id).where(accounts.c.removed_at < now - KEPT["tombstones"], *(~each for each in pointing)).limit(BATCH)
    ids = list((await session.execute(query)).scalars())
    if ids:
        await session.execute(delete(game_achievements).where(game_achievements.c.account_id.in_(ids)))
        await session.execute(delete(accounts).where(accounts.c.id.in_(ids)))
    return len(ids)


async def _delete(session: AsyncSession, table: Table, is_old: Any) -> int:
    found = await session.execute(delete(table).where(table.c.id.in_(select(table.c.id).where(is_old).limit(BATCH))).returning(table.c.id))
    return len(found.all())


_SWEEPS: dict[str, Callable[[AsyncSession, datetime], Awaitable[int]]] = {
    "jobs": _old_jobs,
    "sessions": _old_sessions,
    "tokens": _old_tokens,
    "deliveries": _old_deliveries,
    "tombstones": _old_tombstones,
    "accounts": _old_accounts,
}

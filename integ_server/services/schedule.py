"""
Work that comes back: what is due is begun by one of any number of workers, and none of it is begun twice or forgotten.

Whoever moves a task's next time forward has it; the move and the jobs that come of it are one transaction. A worker that dies in it
leaves the task due, and the next one begins it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, func, or_, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.types import AccountState
from integ_server.models.account import Account
from integ_server.models.tables import accounts, games, jobs, periodic_tasks
from integ_server.providers.base import ReadsAchievements, ReadsMetadata
from integ_server.services import achievements, proton_catalogue
from integ_server.services import jobs as job_service
from integ_server.services.backend import Backend
from integ_server.services.queues import Queue
from integ_server.services.rows import insert_or_skip

SYNCS_AT_ONCE = 200
"""Begun in one go; the rest is due a minute later, so that neither the line nor a transaction grows with the number of players."""
LOOKED_THROUGH_AT_ONCE = 100
"""Accounts whose play is looked at in one go, for the same reason."""
FIRST_AFTER = timedelta(minutes=5)
TRIED_AGAIN_AFTER = timedelta(hours=1)
"""An account whose background sync failed."""
_SCATTER = 0.2
"""Of the time between two syncs: libraries that were linked in one evening are not read in one minute for ever."""
_SPREAD = 7_919
_log = logging.getLogger("integ.schedule")

Begin = Callable[[Backend, AsyncSession, datetime], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Task:
    every: timedelta
    begin: Begin
    """Begins jobs inside the transaction that moves the task forward; it talks to nobody outside."""


async def begin_due(backend: Backend) -> list[str]:
    """Begin every task that is due and that no other worker is just beginning; their names."""
    now = datetime.now(UTC)
    async with backend.db.reading() as session:
        query = select(periodic_tasks.c.name).where(periodic_tasks.c.due_at <= now, periodic_tasks.c.name.in_(list(TASKS)))
        due = list((await session.execute(query)).scalars())
    begun: list[str] = []
    for name in due:
        task = TASKS[name]
        async with backend.db.writing.begin() as session:
            wait = task.every * (0.95 + random.random() / 10)
            still_due = periodic_tasks.c.name == name, periodic_tasks.c.due_at <= now
            free = select(periodic_tasks.c.name).where(*still_due).with_for_update(skip_locked=True)
            if (await session.execute(free)).first() is None:
                continue
            await session.execute(update(periodic_tasks).where(*still_due).values(due_at=now + wait, begun_at=now))
            await task.begin(backend, session, now)
        begun.append(name)
    return begun


async def ensure_tasks(backend: Backend) -> None:
    """Write down the tasks that are not known yet; their first time is soon, and not the same for all."""
    now = datetime.now(UTC)
    rows = [
        {"name": name, "due_at": now + min(task.every, FIRST_AFTER) * (1 + random.random()), "etag": ""} for name, task in TASKS.items()
    ]
    async with backend.db.writing.begin() as session:
        for row in rows:
            await session.execute(insert_or_skip(session, periodic_tasks), row)


async def _sync_due_accounts(backend: Backend, session: AsyncSession, now: datetime) -> None:
    """Those that were not synced for `sync_every_h`, give or take, unless it failed a short while ago or their sign-in is over."""
    if not backend.settings.sync_every_h:
        return
    every_s = int(backend.settings.sync_every_h * 3600)
    scatter_s = max(1, int(every_s * _SCATTER))
    synced_at = type_coerce(func.coalesce(accounts.c.last_sync_at, accounts.c.created_at), BigInteger)
    due_at = synced_at + every_s - scatter_s // 2 + (accounts.c.id * _SPREAD) % scatter_s
    is_recent = or_(jobs.c.finished_at.is_(None), jobs.c.finished_at > now - TRIED_AGAIN_AFTER)
    tried = select(jobs.c.id).where(
        jobs.c.user_id == accounts.c.user_id, jobs.c.account_id == accounts.c.id, jobs.c.kind == "sync", is_recent
    )
    query = select(Account).where(
        accounts.c.removed_at.is_(None),
        accounts.c.state != AccountState.SIGNED_OUT,
        due_at <= int(now.timestamp()),
        ~tried.exists(),
    )
    for account in (await session.execute(query.order_by(synced_at).limit(SYNCS_AT_ONCE))).scalars():
        await _begin_for(backend, session, account, "sync", Queue.SOON)


async def _read_due_metadata(backend: Backend, session: AsyncSession, now: datetime) -> None:
    """A job for each store that has releases nobody told of yet; they belong to no player."""
    for slug, store in sorted(backend.stores.items()):
        if not isinstance(store, ReadsMetadata):
            continue
        due = select(games.c.key).where(games.c.provider == slug, games.c.metadata_due_at <= now).limit(1)
        if (await session.execute(due)).first() is not None:
            await job_service.begin(backend, session, kind="metadata", subject=f"metadata/{slug}", user_id=None, provider=slug)


async def _read_due_achievements(backend: Backend, session: AsyncSession, now: datetime) -> None:
    """
    Of accounts that were synced since they were last looked at, `achievements_every_h` ago or longer, those that show play which was not
    read yet. A look counts whether it finds something or not: a library is not searched every few minutes for ever.
    """
    every_s = int(backend.settings.achievements_every_h * 3600)
    slugs = sorted(slug for slug, store in backend.stores.items() if isinstance(store, ReadsAchievements))
    if not every_s or not slugs:
        return
    looked_at = type_coerce(func.coalesce(accounts.c.achievements_at, 0), BigInteger)
    query = select(Account).where(
        accounts.c.removed_at.is_(None),
        accounts.c.state == AccountState.OK,
        accounts.c.provider.in_(slugs),
        looked_at <= int(now.timestamp()) - every_s,
        type_coerce(accounts.c.last_sync_at, BigInteger) >= looked_at,
    )
    due = query.order_by(looked_at, accounts.c.id).limit(LOOKED_THROUGH_AT_ONCE).with_for_update(skip_locked=True)
    for account in (await session.execute(due)).scalars().all():
        assert account.id is not None
        account.achievements_at = now
        if await achievements.is_any_due(session, account.id):
            await _begin_for(backend, session, account, "achievements", Queue.LATER)


async def _begin_for(backend: Backend, session: AsyncSession, account: Account, kind: str, queue: Queue) -> None:
    await job_service.begin(
        backend,
        session,
        kind=kind,
        subject=f"{kind}/{account.id}",
        user_id=account.user_id,
        provider=account.provider,
        account_id=account.id,
        account=account.account,
        queue=queue,
    )


async def _read_proton_feed(backend: Backend, session: AsyncSession, now: datetime) -> None:
    await job_service.begin(backend, session, kind="proton-feed", subject=proton_catalogue.FEED_SUBJECT, user_id=None)


async def _clean_up(backend: Backend, session: AsyncSession, now: datetime) -> None:
    await job_service.begin(backend, session, kind="clean-up", subject="clean-up", user_id=None)


TASKS = {
    "sync": Task(timedelta(minutes=1), _sync_due_accounts),
    "metadata": Task(timedelta(minutes=15), _read_due_metadata),
    "achievements": Task(timedelta(minutes=10), _read_due_achievements),
    "proton-feed": Task(timedelta(hours=1), _read_proton_feed),
    "clean-up": Task(timedelta(hours=6), _clean_up),
}

"""Jobs: who may do one, who does, and what became of it. Every step is one row, so that a killed process leaves nothing half done."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import IntegError, JobNotFoundError, to_envelope
from integ_server.contract.types import JobInfo, JobKind, JobState, SyncCounts
from integ_server.db import after_commit
from integ_server.models.job import Job
from integ_server.models.tables import jobs
from integ_server.services import events, owner
from integ_server.services.backend import Backend
from integ_server.services.rows import insert_or_skip

MOST_ATTEMPTS = 20
"""A job that was begun so often without an end has killed its worker, or will not come to one."""
KEPT_FOR = timedelta(days=7)
_UNFINISHED = ("queued", "running")


class ClaimLostError(Exception):
    """Another process took the job over; what this one did must not be stored."""


async def begin(
    backend: Backend,
    session: AsyncSession,
    *,
    kind: str,
    subject: str,
    user_id: str | None,
    provider: str,
    account_id: int | None = None,
    account: str = "",
    full: bool = False,
    later: bool = False,
) -> Job:
    """
    The unfinished job about *subject*: a new one, one that a dead process left behind, or the one that is being done already.

    Workers hear of it after the commit, unless it is done elsewhere, or *later* leaves it to a process of its own.
    """
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "kind": kind,
        "subject": subject,
        "user_id": user_id,
        "provider": provider,
        "account_id": account_id,
        "account": account,
        "full": full,
        "state": "queued",
        "stage": "",
        "done": 0,
        "attempts": 0,
        "owner": None if later or not backend.settings.is_embedded else owner.this_process(),
        "heartbeat_at": now,
        "created_at": now,
    }
    inserted = await session.execute(insert_or_skip(session, jobs), values)
    query = select(Job).where(jobs.c.subject == subject, jobs.c.state.in_(_UNFINISHED)).with_for_update()
    job = (await session.execute(query)).scalar_one()
    is_new = _count(inserted) == 1
    if full and not job.full:
        job.full = True
    if is_new or not _is_held(backend, job):
        if not is_new:
            job.state, job.owner, job.attempts, job.heartbeat_at = "queued", values["owner"], 0, now
            job.started_at = None
        if not later:
            after_commit(session, lambda: backend.send(kind, job.id, 0.0))
        events.job_changed(session, job.id)
    await session.flush()
    return job


async def take_up(backend: Backend) -> list[str]:
    """Make the jobs of dead processes this one's, and tell the workers; the ids of those that were taken."""
    if not await _orphans(backend):
        return []
    taken: list[Job] = []
    async with backend.db.writing.begin() as session:
        for job in (await session.execute(_unfinished().with_for_update(skip_locked=True))).scalars():
            if _is_held(backend, job):
                continue
            if job.attempts >= MOST_ATTEMPTS:
                error = IntegError("this job was begun many times and never came to an end", hint="integ sync")
                job.state, job.error, job.finished_at = "failed", to_envelope(error), datetime.now(UTC)
                events.job_changed(session, job.id)
                continue
            job.state, job.heartbeat_at = "queued", datetime.now(UTC)
            job.owner = owner.this_process() if backend.settings.is_embedded else None
            taken.append(job)
        await session.flush()
    for job in taken:
        backend.send(job.kind, job.id, 0.0)
    return [job.id for job in taken]


async def unfinished(backend: Backend) -> int:
    async with backend.db.reading() as session:
        return len((await session.execute(_unfinished())).scalars().all())


async def claim(backend: Backend, job_id: str) -> Job | None:
    """The job, which is this process's from now on; None when it is done, gone, or somebody else's."""
    now, me = datetime.now(UTC), owner.this_process()
    async with backend.db.writing.begin() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or job.state != "queued" or (job.owner not in {None, me} and _is_held(backend, job)):
            return None
        job.state, job.owner, job.heartbeat_at, job.attempts = "running", me, now, job.attempts + 1
        job.started_at = job.started_at or now
        job.stage, job.done, job.total = "", 0, None
        await session.flush()
        events.job_changed(session, job.id)
        return job


async def tell(backend: Backend, job_id: str, stage: str, done: int = 0, total: int | None = None) -> None:
    """Write down how far the job is."""
    async with backend.db.writing.begin() as session:
        await session.execute(_mine(job_id).values(stage=stage, done=done, total=total, heartbeat_at=datetime.now(UTC)))
        events.job_changed(session, job_id)


async def beat(backend: Backend) -> None:
    """Show that this process lives, for those that can't see its pid."""
    async with backend.db.writing.begin() as session:
        held = (jobs.c.owner == owner.this_process(), jobs.c.state.in_(_UNFINISHED))
        await session.execute(update(jobs).where(*held).values(heartbeat_at=datetime.now(UTC)))


async def hold(session: AsyncSession, job_id: str, stage: str) -> None:
    """
    Make sure, inside the transaction that stores the job's work, that the job is still this process's.

    Raises:
        ClaimLostError: It is not.
    """
    if _count(await session.execute(_mine(job_id).values(stage=stage))) != 1:
        raise ClaimLostError


async def finish(session: AsyncSession, job_id: str, counts: SyncCounts | None = None) -> None:
    """
    Raises:
        ClaimLostError: Another process took the job over.
    """
    values = {
        "state": "done",
        "stage": "",
        "counts": counts.model_dump() if counts else None,
        "error": None,
        "finished_at": datetime.now(UTC),
    }
    if _count(await session.execute(_mine(job_id).values(**values))) != 1:
        raise ClaimLostError
    events.job_changed(session, job_id)
    cutoff = datetime.now(UTC) - KEPT_FOR
    await session.execute(jobs.delete().where(jobs.c.finished_at < cutoff))


async def fail(backend: Backend, job_id: str, error: IntegError) -> None:
    async with backend.db.writing.begin() as session:
        await session.execute(_mine(job_id).values(state="failed", stage="", error=to_envelope(error), finished_at=datetime.now(UTC)))
        events.job_changed(session, job_id)


async def put_off(backend: Backend, job_id: str, stage: str) -> None:
    """Back to waiting, but still this process's: it has set itself a time to go on."""
    async with backend.db.writing.begin() as session:
        await session.execute(_mine(job_id).values(state="queued", stage=stage))
        events.job_changed(session, job_id)


async def hand_back(backend: Backend, job_id: str) -> None:
    """This process ends: whoever comes next may do the job, and this beginning does not count."""
    async with backend.db.writing.begin() as session:
        await session.execute(_mine(job_id).values(state="queued", stage="", owner=None, attempts=jobs.c.attempts - 1))
        events.job_changed(session, job_id)


async def hand_back_all(backend: Backend) -> None:
    """Let go of everything that is queued for this process."""
    async with backend.db.writing.begin() as session:
        held = (jobs.c.owner == owner.this_process(), jobs.c.state.in_(_UNFINISHED))
        await session.execute(update(jobs).where(*held).values(state="queued", stage="", owner=None))


async def get_job(session: AsyncSession, user_id: str, job_id: str) -> JobInfo:
    """
    Raises:
        JobNotFoundError: The user has no such job.
    """
    job = await session.get(Job, job_id) if job_id.isalnum() else None
    if job is None or job.user_id not in {user_id, None}:  # the backend's own work is nobody's secret
        raise JobNotFoundError(f"there is no job {job_id[:64]!r}", hint="integ status")
    return info(job)


async def current(session: AsyncSession, user_id: str) -> list[JobInfo]:
    """Those that are not finished yet, and the newest finished one of each account, oldest first."""
    query = select(Job).where(jobs.c.user_id == user_id).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(200)
    shown: list[Job] = []
    seen: set[str] = set()
    for job in (await session.execute(query)).scalars():
        if job.state in _UNFINISHED:
            shown.append(job)
        elif job.kind == "sync" and job.subject not in seen:
            seen.add(job.subject)
            shown.append(job)
    return [info(job) for job in reversed(shown)]


def info(job: Job) -> JobInfo:
    return JobInfo(
        id=job.id,
        kind=JobKind(job.kind),
        provider=job.provider,
        account=job.account,
        state=JobState(job.state),
        stage=job.stage,
        done=job.done,
        total=job.total,
        counts=SyncCounts.model_validate(job.counts) if job.counts else None,
        error=job.error,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def _is_held(backend: Backend, job: Job) -> bool:
    """Whether a living process has it. A message that waits in Redis holds it too, for a while."""
    if job.owner is not None:
        return owner.is_alive(job.owner, job.heartbeat_at, own_machine=backend.settings.is_embedded)
    if backend.settings.is_embedded or job.heartbeat_at is None:
        return False
    return datetime.now(UTC) - job.heartbeat_at < owner.STALE_AFTER


async def _orphans(backend: Backend) -> Sequence[Job]:
    """Looked for without the write lock: mostly there are none."""
    async with backend.db.reading() as session:
        return [job for job in (await session.execute(_unfinished())).scalars() if not _is_held(backend, job)]


def _unfinished() -> Any:
    return select(Job).where(jobs.c.state.in_(_UNFINISHED)).order_by(jobs.c.created_at, jobs.c.id)


def _mine(job_id: str) -> Any:
    return update(jobs).where(jobs.c.id == job_id, jobs.c.owner == owner.this_process(), jobs.c.state == "running")


def _count(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount

"""Jobs: who may do one, who does, and what became of it. Every step is one row, so that a killed process leaves nothing half done."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server import logs
from integ_server.contract.errors import BusyError, IntegError, JobNotFoundError, to_envelope
from integ_server.contract.types import JobInfo, JobKind, JobState, SyncCounts
from integ_server.db import after_commit
from integ_server.models.job import ClaimedJob, Job
from integ_server.models.tables import jobs
from integ_server.services import claims, events, owner
from integ_server.services.backend import Backend
from integ_server.services.endings import CancelledError, ClaimLostError, forget_old
from integ_server.services.queues import PATIENCE, Queue, queue_of, turn
from integ_server.services.rows import insert_or_skip

_UNFINISHED = ("queued", "running")
_LOOKED_AT = 200
_TRIES = 10


async def begin(
    backend: Backend,
    session: AsyncSession,
    *,
    kind: str,
    subject: str,
    user_id: str | None,
    provider: str = "",
    account_id: int | None = None,
    account: str = "",
    full: bool = False,
    later: bool = False,
    queue: Queue | None = None,
) -> Job:
    """
    The unfinished job about *subject*: a new one, one that a dead process left behind, or the one that is being done already.

    Workers hear of it after the commit, unless it is done elsewhere, or *later* leaves it to a process of its own. One that waits
    already is moved to *queue* if that is the more urgent one; None: where its kind belongs.
    """
    now = datetime.now(UTC)
    queue = queue or queue_of(kind)
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
        "queue": queue,
        "turn_at": turn(queue, now),
        "request_id": logs.request_id.get(),
    }
    for _ in range(_TRIES):
        job, is_new = await _find_or_insert(session, values)
        if job is not None and not is_new and _asks_for_more(backend, job, values):
            locked = select(Job).where(jobs.c.id == job.id, jobs.c.state.in_(_UNFINISHED)).with_for_update()
            job = (await session.execute(locked, execution_options={"populate_existing": True})).scalar_one_or_none()
        if job is not None:
            break  # else it ended between two looks
    else:
        raise BusyError("this is being begun and ended by others all the time", hint="try again in a moment", retry_after_s=1)
    if is_new or _asks_for_more(backend, job, values):
        is_news = is_new or _ask_more(backend, job, values)
        if is_news:
            events.job_changed(session, job.id)
        if is_news and not later:
            after_commit(session, lambda: backend.send(kind, job.queue, job.id, 0.0))
    await session.flush()
    return job


async def _find_or_insert(session: AsyncSession, values: dict[str, Any]) -> tuple[Job | None, bool]:
    """
    The unfinished job about the subject, and whether it is new; None when another one ended at this very moment.

    A job that is there is not locked: whoever does it may be writing for seconds, and most who ask want nothing else of it.
    """
    unfinished = select(Job).where(jobs.c.subject == values["subject"], jobs.c.state.in_(_UNFINISHED))
    known = (await session.execute(unfinished, execution_options={"populate_existing": True})).scalar_one_or_none()
    if known is not None:
        return known, False
    if _count(await session.execute(insert_or_skip(session, jobs), values)) == 1:
        return await session.get(Job, values["id"]), True
    return None, False


def _asks_for_more(backend: Backend, job: Job, values: dict[str, Any]) -> bool:
    """Whether the job that is there has to change for whoever asks for it with *values*."""
    return _is_hurried(job, values) or job.cancelled_at is not None or (values["full"] and not job.full) or not _is_held(backend, job)


def _ask_more(backend: Backend, job: Job, values: dict[str, Any]) -> bool:
    """Change it so; whether workers have to hear of it."""
    is_held = _is_held(backend, job)
    job.cancelled_at = None  # it is wanted again
    job.full = job.full or values["full"]
    is_hurried = _is_hurried(job, values)
    if is_hurried:
        job.queue, job.turn_at = values["queue"], values["turn_at"]
    if not is_held:
        job.state, job.owner, job.attempts, job.heartbeat_at = "queued", values["owner"], 0, values["heartbeat_at"]
        job.started_at = None
    return is_hurried or not is_held


def _is_hurried(job: Job, values: dict[str, Any]) -> bool:
    return job.state == "queued" and PATIENCE[values["queue"]] < PATIENCE[Queue(job.queue)] and values["turn_at"] < job.turn_at


async def take_up(backend: Backend) -> list[str]:
    """Make the jobs of dead processes this one's, and tell the workers; the ids of those that were taken."""
    if not backend.settings.is_embedded:
        return await claims.release_orphans(backend)
    if not await _orphans(backend):
        return []
    taken: list[Job] = []
    now = datetime.now(UTC)
    async with backend.db.writing.begin() as session:
        for job in (await session.execute(_unfinished())).scalars():
            if _is_held(backend, job):
                continue
            if claims.release(job, now):
                job.owner = owner.this_process()
                taken.append(job)
            else:
                events.job_changed(session, job.id)
        await session.flush()
    for job in taken:
        backend.send(job.kind, job.queue, job.id, 0.0)
    return [job.id for job in taken]


async def unfinished(backend: Backend) -> int:
    async with backend.db.reading() as session:
        return len((await session.execute(_unfinished())).scalars().all())


async def claim(backend: Backend, job_id: str) -> ClaimedJob | None:
    """The job, which is this process's from now on; None when it is done, gone, or somebody else's."""
    now, me = datetime.now(UTC), owner.this_process()
    async with backend.db.writing.begin() as session:
        job = await session.get(Job, job_id, with_for_update=True)
        if job is None or job.state != "queued" or (job.owner not in {None, me} and _is_held(backend, job)):
            return None
        if job.cancelled_at is not None:
            job.state, job.finished_at = "cancelled", now
            events.job_changed(session, job_id)
            return None
        job.state, job.owner, job.heartbeat_at, job.attempts = "running", me, now, job.attempts + 1
        job.started_at = job.started_at or now
        job.stage, job.done, job.total, job.error, job.due_at = "", 0, None, None, None
        await session.flush()
        events.job_changed(session, job.id)
        return ClaimedJob(*(getattr(job, name) for name in ClaimedJob._fields))


async def tell(backend: Backend, job_id: str, stage: str, done: int = 0, total: int | None = None) -> None:
    """
    Write down how far the job is.

    Raises:
        ClaimLostError: Another process took the job over, or nobody wants it any more (CancelledError).
    """
    async with backend.db.writing.begin() as session:
        await _change(session, job_id, stage=stage, done=done, total=total, heartbeat_at=datetime.now(UTC))
        events.job_changed(session, job_id)


async def beat(backend: Backend) -> None:
    """Show that this process lives, for those that can't see its pid: with all that an embedded backend has for itself."""
    async with backend.db.writing.begin() as session:
        held = (jobs.c.owner == owner.this_process(), jobs.c.state.in_(_UNFINISHED))
        await session.execute(update(jobs).where(*held).values(heartbeat_at=datetime.now(UTC)))


async def hold(session: AsyncSession, job_id: str, stage: str) -> None:
    """
    Make sure, inside the transaction that stores the job's work, that the job is still this process's.

    Raises:
        ClaimLostError: It is not, or nobody wants it any more (CancelledError).
    """
    await _change(session, job_id, stage=stage)


async def finish(session: AsyncSession, job_id: str, counts: SyncCounts | None = None) -> None:
    """
    The job is done with what *session* holds. `Backend.endings` is for one that has nothing more to store.

    Raises:
        ClaimLostError: Another process took the job over, or nobody wants it any more (CancelledError).
    """
    told = counts.model_dump() if counts else None
    await _change(session, job_id, state="done", stage="", counts=told, error=None, finished_at=datetime.now(UTC))
    events.job_changed(session, job_id)
    await forget_old(session, datetime.now(UTC))


async def fail(backend: Backend, job_id: str, error: IntegError) -> None:
    async with backend.db.writing.begin() as session:
        await session.execute(_mine(job_id).values(state="failed", stage="", error=to_envelope(error), finished_at=datetime.now(UTC)))
        events.job_changed(session, job_id)


async def end_cancelled(backend: Backend, job_id: str) -> None:
    """The job was stopped because its user asked for that; if it is wanted again by now, it is done again."""
    async with backend.db.writing.begin() as session:
        wanted_no_more = jobs.c.cancelled_at.is_not(None)
        ended = {"state": "cancelled", "stage": "", "finished_at": datetime.now(UTC)}
        if _count(await session.execute(_mine(job_id).where(wanted_no_more).values(**ended))) != 1:
            await session.execute(_mine(job_id).values(state="queued", stage="", owner=None))
        events.job_changed(session, job_id)


async def put_off(backend: Backend, job_id: str, why: IntegError, pause_s: float) -> None:
    """Back to waiting, but still this process's: it goes on in *pause_s* seconds."""
    due_at = datetime.now(UTC) + timedelta(seconds=pause_s)
    async with backend.db.writing.begin() as session:
        await session.execute(_mine(job_id).values(state="queued", stage="waiting", error=to_envelope(why), due_at=due_at))
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


async def cancel(backend: Backend, session: AsyncSession, user_id: str, job_id: str) -> JobInfo:
    """
    Want the job no more: one that waits ends at once, one that is being done before its next step; nothing of it is stored then.

    One that has ended stays as it is, and so does what it changed.

    Raises:
        JobNotFoundError: The user has no such job.
    """
    job = await _get(session, user_id, job_id, lock=True)
    now = datetime.now(UTC)
    if job.state == "running" and _is_held(backend, job):
        job.cancelled_at = job.cancelled_at or now
    elif job.state in _UNFINISHED:
        job.state, job.stage, job.cancelled_at, job.finished_at = "cancelled", "", now, now
        events.job_changed(session, job.id)
    await session.flush()
    return info(job)


async def get_job(session: AsyncSession, user_id: str, job_id: str) -> JobInfo:
    """
    Raises:
        JobNotFoundError: The user has no such job.
    """
    return info(await _get(session, user_id, job_id))


async def current(session: AsyncSession, user_id: str) -> list[JobInfo]:
    """Those that are not finished yet, and the newest finished one of each account, oldest first."""
    mine = select(Job).where(jobs.c.user_id == user_id).order_by(jobs.c.created_at.desc(), jobs.c.id)
    shown = list((await session.execute(mine.where(jobs.c.state.in_(_UNFINISHED)))).scalars())
    seen: set[str] = set()
    for job in (await session.execute(mine.where(jobs.c.kind == "sync", jobs.c.finished_at.is_not(None)).limit(_LOOKED_AT))).scalars():
        if job.subject not in seen:
            seen.add(job.subject)
            shown.append(job)
    return [info(job) for job in sorted(shown, key=lambda job: (job.created_at, job.id))]


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
        waits_until=job.due_at if job.state == "queued" else None,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


async def _get(session: AsyncSession, user_id: str, job_id: str, *, lock: bool = False) -> Job:
    """The backend's own work is nobody's secret, and nobody's to change."""
    job = await session.get(Job, job_id, with_for_update=lock or None) if job_id.isalnum() else None
    if job is None or job.user_id not in ({user_id} if lock else {user_id, None}):
        raise JobNotFoundError(f"there is no job {job_id[:64]!r}", hint="integ status")
    return job


def _is_held(backend: Backend, job: Job) -> bool:
    """Whether a living process has it. Where workers look through the rows, one that waits is as good as held."""
    if job.owner is not None:
        return owner.is_alive(job.owner, job.heartbeat_at, own_machine=backend.settings.is_embedded)
    return not backend.settings.is_embedded


async def _orphans(backend: Backend) -> Sequence[Job]:
    """Looked for without the write lock: mostly there are none."""
    async with backend.db.reading() as session:
        return [job for job in (await session.execute(_unfinished())).scalars() if not _is_held(backend, job)]


def _unfinished() -> Any:
    return select(Job).where(jobs.c.state.in_(_UNFINISHED)).order_by(jobs.c.created_at, jobs.c.id)


def _mine(job_id: str) -> Any:
    return update(jobs).where(*claims.mine(job_id))


async def _change(session: AsyncSession, job_id: str, **values: Any) -> None:
    """Write *values* into the row while the job is this process's and still wanted."""
    if _count(await session.execute(_mine(job_id).where(jobs.c.cancelled_at.is_(None)).values(**values))) == 1:
        return
    is_mine = (await session.execute(select(jobs.c.id).where(*claims.mine(job_id)))).first() is not None
    raise CancelledError if is_mine else ClaimLostError


def _count(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount

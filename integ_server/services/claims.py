"""
Which job a worker begins next. The rows are the truth: a message only says that there may be one, and none is missed without it.

Each user's jobs take turns with everybody else's: whoever got one begun goes to the back of the line with the rest, and has at
most `MOST_AT_ONCE` under way. Rows that another worker looks at are passed over, so that any number of workers can ask at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Integer, Select, bindparam, case, func, literal, literal_column, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.contract.errors import IntegError, to_envelope
from integ_server.models.columns import Moment
from integ_server.models.job import ClaimedJob, Job
from integ_server.models.tables import jobs
from integ_server.services import events, owner
from integ_server.services.backend import Backend
from integ_server.services.queues import Queue, turn
from integ_server.services.rows import among, among_given, given

MOST_AT_ONCE = 4
"""Jobs of one user under way, over all workers; two that are claimed at the same instant may make it one more."""
MOST_ATTEMPTS = 20
"""A job that was begun so often without an end has killed its worker, or will not come to one."""
CALM_ATTEMPTS = 3
"""A job whose worker died is begun again at once so often; from then on with growing pauses, for it may be what kills them."""
LONGEST_CALM_S = 300
_LOOKED_AT = (100, 500, 1_000)
"""Of the line's beginning: mostly as many as are wanted are enough, and however long it is, a look costs no more than the last."""
_RELEASED_AT_ONCE = 200
_WAITS_STILL = jobs.c.state.concat("") == "queued"
"""
For a row that is found by its id, and by no index of what waits: while PostgreSQL takes ten thousand waiting jobs for one, it reads all of
them again for each row.
"""
_BEGUN: dict[str, Any] = {"state": "running", "stage": "", "done": 0, "total": None}
_OTHER_WAYS = ("enable_bitmapscan", "enable_seqscan", "enable_hashjoin", "enable_mergejoin")
_BY_INDEX = text("SELECT " + ", ".join(f"set_config('{way}', 'off', true)" for way in _OTHER_WAYS))
"""
For one transaction. How long the line is changes faster than PostgreSQL counts it: after a quiet hour it takes ten thousand waiting jobs
for a few, and reads and sorts them all for each look, where the index has the first ones in order.
"""


async def claim_next(backend: Backend, queues: Collection[Queue], most: int) -> list[ClaimedJob]:
    """Up to *most* jobs, at most one a user, which are this process's from now on; ask again until there are none."""
    now = datetime.now(UTC)
    async with backend.db.writing.begin() as session:
        dialect = session.get_bind().dialect.name
        if dialect == "postgresql":
            await session.execute(_BY_INDEX)
        line = frozenset(queues)
        found, looked_at = await _look(session, line, now, most)
        if not found:
            return []
        places = {row.id: at for at, row in enumerate(found)}
        claimed = {"ids": given(dialect, list(places)), "me": owner.this_process(), "now": now}
        begun = [ClaimedJob(*row) for row in (await session.execute(_begin(dialect), claimed)).all()]
        users = sorted({row.user_id for row in found if row.user_id is not None})
        if users:
            turns = {f"behind_{each}": turn(each, now + timedelta(seconds=1)) for each in Queue}
            back = {"users": given(dialect, users), "now": now, **turns}
            await session.execute(_send_to_the_back(dialect, line, looked_at), back)
        for job in begun:
            events.job_stands(session, (job.user_id, job.id, job.kind, job.provider, *_BEGUN.values()))
    return sorted(begun, key=lambda job: places[job.id])


async def _look(session: AsyncSession, queues: frozenset[Queue], now: datetime, most: int) -> tuple[Sequence[Any], int]:
    """
    The next jobs and whose they are, and how much of the line was looked at: mostly its very beginning, and what many wait behind is
    looked past.
    """
    found: Sequence[Any] = ()
    first = next((each for each in _LOOKED_AT if most <= each), _LOOKED_AT[-1])
    looked_at = first
    for looked_at in dict.fromkeys((first, _LOOKED_AT[-1])):
        found = (await session.execute(_next(queues, looked_at), {"now": now, "most": most})).all()
        if len(found) >= most:
            break
    return found, looked_at


def _line(queues: frozenset[Queue], looked_at: int) -> Any:
    """The first of those that wait, as a table."""
    facts = jobs.c.id, jobs.c.user_id, jobs.c.turn_at, jobs.c.created_at
    now = bindparam("now", type_=Moment)
    waits = [jobs.c.state == literal_column("'queued'"), jobs.c.owner.is_(None), or_(jobs.c.due_at.is_(None), jobs.c.due_at <= now)]
    if len(queues) < len(Queue):
        waits.append(jobs.c.queue.in_(sorted(queues)))
    # How many are looked at is written out: PostgreSQL plans for that number, and does not sort the whole line.
    first = literal_column(str(looked_at), Integer)
    return select(*facts).where(*waits).order_by(jobs.c.turn_at, jobs.c.created_at).limit(first).subquery()


@lru_cache
def _next(queues: frozenset[Queue], looked_at: int) -> Select[Any]:
    line = _line(queues, looked_at)
    by_user = func.row_number().over(
        partition_by=func.coalesce(line.c.user_id, line.c.id), order_by=(line.c.turn_at, line.c.created_at, line.c.id)
    )
    ranked = select(line.c.id, by_user.label("nth")).subquery()
    other = jobs.alias("other")
    under_way = select(func.count()).where(other.c.state == "running", other.c.user_id == jobs.c.user_id).scalar_subquery()
    return (
        select(jobs.c.id, jobs.c.user_id)
        .join(ranked, ranked.c.id == jobs.c.id)
        .where(ranked.c.nth == 1, _WAITS_STILL, or_(jobs.c.user_id.is_(None), under_way < MOST_AT_ONCE))
        .order_by(jobs.c.turn_at, jobs.c.created_at, jobs.c.id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, of=jobs)
    )


@lru_cache
def _begin(dialect: str) -> Any:
    now = bindparam("now", type_=Moment)
    values: dict[str, Any] = {
        **_BEGUN,
        "owner": bindparam("me"),
        "heartbeat_at": now,
        "attempts": jobs.c.attempts + 1,
        "started_at": func.coalesce(jobs.c.started_at, now),
        "due_at": None,
        "error": None,
    }
    told = (jobs.c[name] for name in ClaimedJob._fields)
    return update(jobs).where(among_given(dialect, jobs.c.id, "ids")).values(values).returning(*told)


@lru_cache
def _send_to_the_back(dialect: str, queues: frozenset[Queue], looked_at: int) -> Any:
    """
    What else the users have in this part of the line comes after everybody who has asked by now; rows that somebody is at are left where
    they are, and so is what is further back, until a look comes there.
    """
    behind = _by_queue({each: bindparam(f"behind_{each}", type_=Moment) for each in Queue})
    line = _line(queues, looked_at)
    theirs = among_given(dialect, line.c.user_id, "users"), _WAITS_STILL, jobs.c.turn_at < behind
    waiting = select(jobs.c.id).join(line, line.c.id == jobs.c.id).where(*theirs).with_for_update(skip_locked=True, of=jobs)
    return update(jobs).where(jobs.c.id.in_(waiting)).values(turn_at=behind)


def _turn_of_each(asked_at: datetime) -> Any:
    return _by_queue({each: literal(turn(each, asked_at), Moment) for each in Queue})


def _by_queue(turns: Mapping[Queue, Any]) -> Any:
    return case(*((jobs.c.queue == each.value, turns[each]) for each in (Queue.NOW, Queue.SOON)), else_=turns[Queue.LATER])


async def put_off(backend: Backend, job_id: str, why: IntegError, pause_s: float) -> None:
    """Back into the line, for whoever is free in *pause_s* seconds: nobody holds it meanwhile, and who asks is told *why*."""
    due_at = datetime.now(UTC) + timedelta(seconds=pause_s + 0.999)  # moments are whole seconds, and none is too early
    async with backend.db.writing.begin() as session:
        waits: dict[str, Any] = {"state": "queued", "stage": "waiting", "error": to_envelope(why), "owner": None}
        await session.execute(update(jobs).where(*mine(job_id)).values(**waits, due_at=due_at, turn_at=_turn_of_each(due_at)))
        events.job_changed(session, job_id)


def mine(job_id: str) -> tuple[Any, ...]:
    """That the job is still this process's to do."""
    return jobs.c.id == job_id, jobs.c.owner == owner.this_process(), jobs.c.state == "running"


async def give_back(backend: Backend, job_ids: Sequence[str]) -> None:
    """These jobs, which were claimed and not begun, are the next one's who looks: each keeps its place in the line."""
    async with backend.db.writing.begin() as session:
        held = among(session, jobs.c.id, job_ids), jobs.c.owner == owner.this_process(), jobs.c.state == "running"
        first_try = case((jobs.c.attempts > 1, jobs.c.started_at), else_=None)
        values: dict[str, Any] = {"state": "queued", "owner": None, "attempts": jobs.c.attempts - 1, "started_at": first_try}
        given_back = update(jobs).where(*held).values(**values).returning(*events.OF_A_JOB)
        for row in (await session.execute(given_back)).all():
            events.job_stands(session, row)


async def beat(backend: Backend, job_ids: Sequence[str]) -> None:
    """
    Show that these jobs are being done. One that is just being written is passed over; nobody else can take that one either.

    A job that was claimed with the answer lost on its way is not among them, and so is found by `release_orphans`.
    """
    async with backend.db.writing.begin() as session:
        held = select(jobs.c.id).where(among(session, jobs.c.id, job_ids), jobs.c.state == "running", jobs.c.owner == owner.this_process())
        ids = held.with_for_update(skip_locked=True)
        await session.execute(update(jobs).where(jobs.c.id.in_(ids)).values(heartbeat_at=datetime.now(UTC)))


async def release_orphans(backend: Backend) -> list[str]:
    """Put jobs whose workers died back into the line, and end those that died too often; the ids of those that are to be done."""
    now = datetime.now(UTC)
    stale = now - owner.STALE_AFTER
    async with backend.db.reading() as session:
        query = select(jobs.c.owner, func.min(jobs.c.heartbeat_at)).where(jobs.c.state == "running").group_by(jobs.c.owner)
        holders = (await session.execute(query)).all()
    dead = [holder for holder, _ in holders if holder is not None and not owner.is_alive(holder, now, own_machine=False)]
    if not dead and all(oldest_sign is not None and oldest_sign >= stale for _, oldest_sign in holders):
        return []
    async with backend.db.writing.begin() as session:
        is_orphan = or_(jobs.c.heartbeat_at.is_(None), jobs.c.heartbeat_at < stale, among(session, jobs.c.owner, dead))
        orphans = select(Job).where(jobs.c.state == "running", is_orphan).order_by(jobs.c.created_at).limit(_RELEASED_AT_ONCE)
        released = [job for job in (await session.execute(orphans.with_for_update(skip_locked=True))).scalars() if release(job, now)]
        for job in released:
            job.owner = None
        for job in session.dirty:
            events.job_changed(session, job.id)
        await session.flush()
    return [job.id for job in released]


def release(job: Job, now: datetime) -> bool:
    """Make *job*, whose process died, wait again; False when it ends here instead."""
    if job.cancelled_at is not None:
        job.state, job.stage, job.finished_at = "cancelled", "", now
    elif job.attempts >= MOST_ATTEMPTS:
        error = IntegError("this job was begun many times and never came to an end", hint="integ sync")
        job.state, job.error, job.finished_at = "failed", to_envelope(error), now
    else:
        job.state, job.stage, job.heartbeat_at = "queued", "", now
        if job.attempts > CALM_ATTEMPTS:
            job.due_at = now + timedelta(seconds=min(2.0**job.attempts, LONGEST_CALM_S))
        return True
    return False

"""How many jobs a worker takes from the line at once, on both databases as a backend that serves uses them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, insert, select

from integ_server.migrations.upgrade import migrate
from integ_server.models.job import ClaimedJob
from integ_server.models.tables import jobs as jobs_table
from integ_server.models.tables import users
from integ_server.services import jobs
from integ_server.services.backend import Backend
from integ_server.services.queues import Queue
from integ_server.worker import line
from integ_server.worker.line import Line, Pace
from integ_server.worker.runner import Runner
from tests.fakes import Shelf, fake_store
from tests.server.conftest import OpenPlayer

ROOM = 2
Do = Callable[[Backend, ClaimedJob], Awaitable[object]]


@pytest.fixture
async def backend(open_player: OpenPlayer, database_url: str) -> Backend:
    """Its workers do nothing by themselves."""
    if database_url.startswith("sqlite"):
        await migrate(database_url)
    return (await open_player({"fake": fake_store(Shelf(games={}))}, is_embedded=False)).backend


async def _ask(backend: Backend, name: str, count: int, queue: Queue = Queue.NOW) -> None:
    """A job for each of *count* users."""
    now = datetime.now(UTC)
    made = {"revision": 1, "first_revision": 1, "preferences": {}, "created_at": now}
    names = [f"{name}{number}" for number in range(count)]
    async with backend.db.writing.begin() as session:
        await session.execute(insert(users), [{"id": each, "name": each, **made} for each in names])
        for each in names:
            await jobs.begin(backend, session, kind="sync", subject=f"sync/{each}", user_id=each, provider="fake", queue=queue)


async def _states(backend: Backend) -> Counter[str]:
    async with backend.db.reading() as session:
        return Counter((await session.execute(select(jobs_table.c.state))).scalars())


async def _until(backend: Backend, state: str, count: int) -> None:
    async with asyncio.timeout(30):
        while (await _states(backend))[state] != count:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _working(backend: Backend, do: Do) -> AsyncIterator[None]:
    runner = Runner(backend, {"sync": do})
    taking = Line(backend, runner, ROOM, list(Queue))
    running = asyncio.create_task(taking.run())
    try:
        yield
    finally:
        taking.close()
        await running
        await runner.stop()


async def test_short_jobs_are_claimed_many_at_a_time_and_done_no_more_at_once_than_there_is_room_for(backend: Backend) -> None:
    at_once, most_at_once = 0, 0

    async def short(backend: Backend, job: ClaimedJob) -> None:
        nonlocal at_once, most_at_once
        at_once += 1
        most_at_once = max(most_at_once, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        await backend.endings.done(job.id)

    claims = 0

    def count(connection: object, cursor: object, statement: str, *rest: object) -> None:
        nonlocal claims
        claims += statement.startswith("UPDATE jobs SET state") and "attempts=" in statement.replace(" ", "")

    await _ask(backend, "user", 600)
    event.listen(backend.db.engine.sync_engine, "before_cursor_execute", count)
    async with _working(backend, short):
        await _until(backend, "done", 600)
    assert most_at_once == ROOM
    assert 0 < claims < 600 / ROOM / 2, "so many looks would have been one for each time there is room"


async def test_what_was_claimed_ahead_behind_long_jobs_is_given_back_as_if_nobody_had_claimed_it(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "HELD_AHEAD_S", 0.2)
    done_by: Counter[str] = Counter()
    released = asyncio.Event()

    async def first(backend: Backend, job: ClaimedJob) -> None:
        if str(job.user_id).startswith("long"):
            await released.wait()
        done_by["first"] += 1
        await backend.endings.done(job.id)

    async def second(backend: Backend, job: ClaimedJob) -> None:
        done_by["second"] += 1
        await backend.endings.done(job.id)

    await _ask(backend, "short", 300)
    await _ask(backend, "long", 40, Queue.LATER)
    async with _working(backend, first):
        await _until(backend, "done", 300)
        await _until(backend, "queued", 40 - ROOM)
        async with backend.db.reading() as session:
            waiting = (await session.execute(select(jobs_table).where(jobs_table.c.state == "queued"))).all()
        assert {(row.owner, row.attempts, row.started_at) for row in waiting} == {(None, 0, None)}
        async with _working(backend, second):
            await _until(backend, "done", 340 - ROOM)
        released.set()
        await _until(backend, "done", 340)
    assert done_by == {"first": 300 + ROOM, "second": 40 - ROOM}


async def test_a_worker_that_ends_gives_back_what_it_has_not_begun(backend: Backend) -> None:
    stuck = asyncio.Event()

    async def job_of(backend: Backend, job: ClaimedJob) -> None:
        if str(job.user_id).startswith("long"):
            with contextlib.suppress(asyncio.CancelledError):
                await stuck.wait()
        await backend.endings.done(job.id)

    await _ask(backend, "short", 200)
    await _ask(backend, "long", 30, Queue.LATER)
    async with _working(backend, job_of):
        await _until(backend, "done", 200)
        stuck.set()
    states = await _states(backend)
    assert states["running"] == 0 and states["done"] + states["queued"] == 230


def test_only_short_jobs_count_for_what_is_claimed_ahead() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    for _ in range(50):
        pace.ended(Pace.SHORT_S * 2)
    now += Pace.WINDOW_S
    assert pace.ahead() == 0
    for _ in range(50):
        pace.ended(0.001)
    assert pace.ahead() == 0, "not before the moment is over"
    now += Pace.WINDOW_S
    assert pace.ahead() == 100
    for _ in range(5_000):
        pace.ended(0.001)
    now += Pace.WINDOW_S
    assert pace.ahead() == line.MOST_AHEAD
    now += 100 * Pace.WINDOW_S
    assert pace.ahead() == 0, "what was long ago does not count"

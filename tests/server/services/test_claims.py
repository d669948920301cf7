"""Who is served next, on both databases as a backend that serves uses them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select, text, update

from integ_server.contract.errors import JobNotFoundError, ProviderUnavailableError
from integ_server.contract.types import JobState, SyncRequest
from integ_server.migrations.upgrade import migrate
from integ_server.models.job import ClaimedJob
from integ_server.models.tables import jobs as jobs_table
from integ_server.models.tables import users
from integ_server.services import claims, jobs, sync
from integ_server.services.backend import Backend
from integ_server.services.endings import CancelledError
from integ_server.services.queues import Queue
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenPlayer, Player

ALL = list(Queue)


@pytest.fixture
async def open_served(open_player: OpenPlayer, database_url: str) -> Callable[..., Awaitable[Player]]:
    """`await open_served(shelf)`: a player on a backend that serves, whose workers do nothing by themselves."""

    async def go(shelf: Shelf | None = None) -> Player:
        if database_url.startswith("sqlite"):
            await migrate(database_url)
        player: Player = await open_player({"fake": fake_store(shelf or Shelf(games={"ann": [owned("1")]}))}, is_embedded=False)
        return player

    return go


async def _users(backend: Backend, *names: str) -> None:
    now = datetime.now(UTC)
    rows = [{"id": name, "name": name, "revision": 1, "first_revision": 1, "preferences": {}, "created_at": now} for name in names]
    async with backend.db.writing.begin() as session:
        await session.execute(insert(users), rows)


async def _ask(backend: Backend, user: str | None, subject: str, **more: Any) -> str:
    async with backend.db.writing.begin() as session:
        job = await jobs.begin(backend, session, kind="sync", subject=subject, user_id=user, provider="fake", **more)
    return job.id


async def _set(backend: Backend, job_id: str, **values: Any) -> None:
    async with backend.db.writing.begin() as session:
        await session.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(**values))


async def _row(backend: Backend, job_id: str) -> Any:
    async with backend.db.reading() as session:
        return (await session.execute(select(jobs_table).where(jobs_table.c.id == job_id))).one()


async def _end(backend: Backend, *done: ClaimedJob) -> None:
    async with backend.db.writing.begin() as session:
        for job in done:
            await jobs.finish(session, job.id)


async def test_a_user_with_twenty_accounts_takes_turns_with_everybody_else(open_served: Callable[..., Awaitable[Player]]) -> None:
    backend = (await open_served()).backend
    others = [f"user{number}" for number in range(12)]
    await _users(backend, "heavy", *others)
    for number in range(20):
        await _ask(backend, "heavy", f"sync/{number}")
    for name in others:
        await _ask(backend, name, f"sync/{name}")

    begun: list[str] = []
    running: list[ClaimedJob] = []
    most = 0
    while len(begun) < 32:
        got = await claims.claim_next(backend, ALL, 6 - len(running))
        begun += [str(job.user_id) for job in got]
        running += got
        most = max(most, Counter(job.user_id for job in running)["heavy"])
        if not got:
            await _end(backend, running.pop(0))
    assert most == claims.MOST_AT_ONCE
    last_other = max(at for at, name in enumerate(begun) if name != "heavy")
    heavy_before = begun[: last_other + 1].count("heavy")
    assert heavy_before <= claims.MOST_AT_ONCE, f"{heavy_before} of heavy's 20 jobs were begun before the last of 12 others': {begun}"


async def test_workers_that_ask_at_the_same_time_share_the_line_and_never_a_job(open_served: Callable[..., Awaitable[Player]]) -> None:
    backend = (await open_served()).backend
    names = [f"user{number}" for number in range(40)]
    await _users(backend, *names)
    for name in names:
        await _ask(backend, name, f"sync/{name}")

    async def worker() -> list[str]:
        mine: list[str] = []
        while got := await claims.claim_next(backend, ALL, 3):
            mine += [job.id for job in got]
        return mine

    shares = await asyncio.gather(*(worker() for _ in range(5)))
    every = [job_id for share in shares for job_id in share]
    assert len(every) == len(set(every))
    while rest := await claims.claim_next(backend, ALL, 50):  # rows that were all just looked at by others may be left for the next look
        every += [job.id for job in rest]
    assert len(every) == len(set(every)) == 40


async def test_what_somebody_waits_for_goes_first_and_nothing_waits_for_ever(open_served: Callable[..., Awaitable[Player]]) -> None:
    backend = (await open_served()).backend
    later = await _ask(backend, None, "feed", queue=Queue.LATER)
    soon = await _ask(backend, None, "background", queue=Queue.SOON)
    now = await _ask(backend, None, "asked", queue=Queue.NOW)
    ancient = await _ask(backend, None, "ancient", queue=Queue.LATER)
    await _set(backend, ancient, turn_at=datetime.now(UTC) - timedelta(minutes=1))
    assert [job.id for job in await claims.claim_next(backend, [Queue.SOON], 9)] == [soon]
    assert [job.id for job in await claims.claim_next(backend, ALL, 9)] == [ancient, now, later]


async def test_a_thousand_requests_to_sync_now_are_one_job_and_hurry_the_one_in_the_background(
    open_served: Callable[..., Awaitable[Player]],
) -> None:
    player = await open_served()
    backend = player.backend
    await player.sign_in("fake", "ann")
    sent: list[tuple[str, str]] = []
    backend.send = lambda kind, queue, job_id, delay: sent.append((queue, job_id))
    background = await _ask(backend, player.user, "sync/1", queue=Queue.SOON, account_id=1)
    for _ in range(10):
        async with backend.db.writing.begin() as session:
            for _ in range(100):
                (job,) = await sync.start(backend, session, player.user, SyncRequest())
                assert job.id == background
    assert sent == [("soon", background), ("now", background)]
    async with backend.db.reading() as session:
        assert (await session.execute(select(func.count()).select_from(jobs_table))).scalar_one() == 1
    assert (await _row(backend, background)).turn_at <= datetime.now(UTC)


async def test_a_job_that_was_put_off_is_nobodys_until_it_is_due(open_served: Callable[..., Awaitable[Player]]) -> None:
    backend = (await open_served()).backend
    job_id = await _ask(backend, None, "sync/1")
    (job,) = await claims.claim_next(backend, ALL, 1)
    await claims.put_off(backend, job_id, ProviderUnavailableError("Fake is down"), 3600)
    row = await _row(backend, job_id)
    assert (row.state, row.stage, row.owner) == ("queued", "waiting", None)
    assert timedelta(seconds=3600) <= row.due_at - row.created_at < timedelta(seconds=3700)
    assert await claims.claim_next(backend, ALL, 1) == []
    await _set(backend, job_id, due_at=datetime.now(UTC))
    (again,) = await claims.claim_next(backend, ALL, 1)
    assert (again.id, again.attempts, again.started_at) == (job_id, 2, job.started_at), "its patience goes on from where it was"


async def test_the_jobs_of_a_dead_worker_go_back_into_the_line_or_end(open_served: Callable[..., Awaitable[Player]]) -> None:
    backend = (await open_served()).backend
    ask = "from integ_server.services.owner import this_process; print(this_process())"
    dead = (await asyncio.to_thread(subprocess.check_output, [sys.executable, "-c", ask], text=True, cwd=Path(__file__).parents[3])).strip()
    ids = [await _ask(backend, None, f"sync/{number}") for number in range(6)]
    assert len(await claims.claim_next(backend, ALL, 9)) == 6
    assert await claims.release_orphans(backend) == []
    fresh, often, unwanted, poison, stale, alive = ids
    await _set(backend, fresh, owner=dead)
    await _set(backend, often, owner=dead, attempts=claims.CALM_ATTEMPTS + 1)
    await _set(backend, unwanted, owner=dead, cancelled_at=datetime.now(UTC))
    await _set(backend, poison, owner=dead, attempts=claims.MOST_ATTEMPTS)
    await _set(backend, stale, heartbeat_at=datetime.now(UTC) - timedelta(minutes=1))  # this process lives, and does not know of it
    await claims.beat(backend, [alive])

    assert sorted(await claims.release_orphans(backend)) == sorted([fresh, often, stale])
    states = {job_id: (await _row(backend, job_id)).state for job_id in ids}
    assert [states[job_id] for job_id in ids] == ["queued", "queued", "cancelled", "failed", "queued", "running"]
    assert (await _row(backend, poison)).error["message"].startswith("this job was begun many times")
    assert {job.id for job in await claims.claim_next(backend, ALL, 9)} == {fresh, stale}, "what may be what kills workers waits a while"


async def test_a_queued_job_is_cancelled_at_once_and_another_users_is_not_there(open_served: Callable[..., Awaitable[Player]]) -> None:
    player = await open_served()
    backend = player.backend
    await player.sign_in("fake", "ann")
    (job_id,) = await player.start()
    async with backend.db.writing.begin() as session:
        with pytest.raises(JobNotFoundError):
            await jobs.cancel(backend, session, "somebody", job_id)
        assert (await jobs.cancel(backend, session, player.user, job_id)).state is JobState.CANCELLED
    assert await claims.claim_next(backend, ALL, 1) == []
    assert await player.start() != [job_id]


async def test_a_running_job_is_cancelled_at_its_next_step_and_the_library_stays_as_it_was(
    open_served: Callable[..., Awaitable[Player]],
) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    player = await open_served(shelf)
    backend = player.backend
    await player.sign_in("fake", "ann")
    (job_id,) = await player.start()
    (job,) = await claims.claim_next(backend, ALL, 1)

    async def cancel() -> None:
        async with backend.db.writing.begin() as session:
            assert (await jobs.cancel(backend, session, player.user, job_id)).state is JobState.RUNNING

    shelf.before_list = cancel
    with pytest.raises(CancelledError):
        await sync.pull_account(backend, job)
    await jobs.end_cancelled(backend, job_id)
    assert (await _row(backend, job_id)).state == "cancelled"
    assert (await player.everything()).releases == []


async def test_a_job_that_is_wanted_again_while_it_is_being_cancelled_is_done(open_served: Callable[..., Awaitable[Player]]) -> None:
    player = await open_served()
    backend = player.backend
    await player.sign_in("fake", "ann")
    (job_id,) = await player.start()
    await claims.claim_next(backend, ALL, 1)
    async with backend.db.writing.begin() as session:
        await jobs.cancel(backend, session, player.user, job_id)
    assert await player.start() == [job_id]
    await jobs.end_cancelled(backend, job_id)
    (again,) = await claims.claim_next(backend, ALL, 1)
    assert (await sync.pull_account(backend, again)).added == 1


async def test_a_job_that_ends_while_it_is_asked_for_is_begun_anew(open_served: Callable[..., Awaitable[Player]]) -> None:
    backend = (await open_served()).backend
    first = await _ask(backend, None, "metadata/fake")
    (job,) = await claims.claim_next(backend, ALL, 1)
    if backend.db.is_sqlite:  # there nobody writes while somebody else does
        await _end(backend, job)
        assert await _ask(backend, None, "metadata/fake") != first
        return
    async with backend.db.writing.begin() as ending, backend.db.writing.begin() as asking:
        await jobs.finish(ending, job.id)
        again = asyncio.create_task(jobs.begin(backend, asking, kind="metadata", subject="metadata/fake", user_id=None, full=True))
        await asyncio.sleep(0.2)  # it waits for the row by now
        await ending.commit()
        assert (await asyncio.wait_for(again, 10)).id != first


async def test_asking_for_a_job_that_is_being_written_waits_for_nothing(open_served: Callable[..., Awaitable[Player]]) -> None:
    backend = (await open_served()).backend
    first = await _ask(backend, None, "sync/1")
    (job,) = await claims.claim_next(backend, ALL, 1)
    if backend.db.is_sqlite:  # one writer at a time is how it is
        return
    async with backend.db.writing.begin() as writing:
        await jobs.hold(writing, job.id, "writing")
        assert await asyncio.wait_for(_ask(backend, None, "sync/1"), 5) == first


async def test_ten_thousand_jobs_after_a_quiet_hour_are_not_read_again_for_each_that_is_looked_at(
    open_served: Callable[..., Awaitable[Player]], database_url: str
) -> None:
    """PostgreSQL plans by what it counted last: hardly a job that waits."""
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite chooses its indexes without counting")
    backend = (await open_served()).backend
    now = datetime.now(UTC)
    await _users(backend, *(f"user{at}" for at in range(2_000)))

    async def fill(state: str) -> None:
        facts = {"kind": "sync", "provider": "fake", "account": "", "full": False, "state": state, "stage": "", "done": 0, "attempts": 0}
        moments = {"created_at": now, "turn_at": now, "finished_at": now if state == "done" else None}
        made = [{"id": f"{state}{at}", "subject": f"{state}/{at}", "user_id": f"user{at}", **facts, **moments} for at in range(2_000)]
        async with backend.db.writing.begin() as session:
            await session.execute(insert(jobs_table), made)

    await fill("done")
    async with backend.db.engine.connect() as connection:
        counting = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await counting.execute(text("VACUUM ANALYZE jobs"))
    await fill("queued")
    read = 0

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        nonlocal read
        if statement.startswith(("SELECT jobs.id", "UPDATE jobs")):
            told = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
            read += sum(_rows_of((json.loads(told) if isinstance(told, str) else told)[0]["Plan"]))

    event.listen(backend.db.engine.sync_engine, "before_cursor_execute", explain)
    try:
        claimed = await claims.claim_next(backend, ALL, 200)
    finally:
        event.remove(backend.db.engine.sync_engine, "before_cursor_execute", explain)
    assert len(claimed) == 200
    assert 500 < read < 50_000, "it is two million where each of those that wait is compared with each that is looked at"


def _rows_of(plan: dict[str, Any]) -> list[int]:
    """How many rows each step of *plan* had in its hands."""
    steps = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    mine = sum(int(plan.get(step, 0)) for step in steps) * int(plan.get("Actual Loops", 1))
    return [mine, *(rows for part in plan.get("Plans", []) for rows in _rows_of(part))]

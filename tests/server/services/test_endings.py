"""Jobs that end at the same moment, on both databases as a backend that serves uses them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, insert, select, update

from integ_server.contract.errors import BackendUnreachableError
from integ_server.contract.webhooks import WebhookRequest
from integ_server.migrations.upgrade import migrate
from integ_server.models.job import ClaimedJob
from integ_server.models.tables import jobs as jobs_table
from integ_server.models.tables import users, webhook_deliveries
from integ_server.services import claims, jobs, webhooks
from integ_server.services.backend import Backend
from integ_server.services.endings import CancelledError, ClaimLostError, open_endings
from integ_server.services.queues import Queue
from tests.fakes import Shelf, fake_store
from tests.server.conftest import OpenPlayer, Player


@pytest.fixture
async def backend(open_player: OpenPlayer, database_url: str) -> Backend:
    """Its workers do nothing by themselves."""
    if database_url.startswith("sqlite"):
        await migrate(database_url)
    player: Player = await open_player({"fake": fake_store(Shelf(games={}))}, is_embedded=False)
    return player.backend


async def _claimed(backend: Backend, count: int) -> list[ClaimedJob]:
    """So many jobs of as many users, which are this process's."""
    now = datetime.now(UTC)
    names = [f"user{number}" for number in range(count)]
    made = {"revision": 1, "first_revision": 1, "preferences": {}, "created_at": now}
    async with backend.db.writing.begin() as session:
        await session.execute(insert(users), [{"id": name, "name": name, **made} for name in names])
        for name in names:
            await jobs.begin(backend, session, kind="sync", subject=f"sync/{name}", user_id=name, provider="fake")
    return sorted(await claims.claim_next(backend, list(Queue), count), key=lambda job: str(job.user_id))


async def _states(backend: Backend, *ended: ClaimedJob) -> list[str]:
    async with backend.db.reading() as session:
        found = {row.id: row.state for row in await session.execute(select(jobs_table))}
    return [found[job.id] for job in ended]


async def _states_told(backend: Backend, user: str) -> str:
    async def unasked() -> None:
        pass

    async for each in backend.events.follow(user, None, unasked):
        if each.event == "job.changed" and each.data["state"] == "done":
            return "done"
    return "nothing"


async def test_many_that_end_at_once_are_a_few_transactions_and_each_is_told_to_its_user(backend: Backend) -> None:
    ending = await _claimed(backend, 20)
    async with backend.db.writing.begin() as session:
        wanted = WebhookRequest(url="https://hooks.example/1", events=["job.changed"])
        await webhooks.create(backend, session, "user3", wanted)
    commits = 0

    def count(connection: Any) -> None:
        nonlocal commits
        commits += 1

    event.listen(backend.db.engine.sync_engine, "commit", count)
    streams = [asyncio.create_task(_states_told(backend, f"user{number}")) for number in (3, 7)]
    await asyncio.sleep(0.05)
    await asyncio.gather(*(backend.endings.done(job.id) for job in ending))
    event.remove(backend.db.engine.sync_engine, "commit", count)
    assert commits <= 2
    assert set(await _states(backend, *ending)) == {"done"}
    assert await asyncio.wait_for(asyncio.gather(*streams), 10) == ["done", "done"]
    async with backend.db.reading() as session:
        deliveries = (await session.execute(select(webhook_deliveries))).all()
    (mine,) = (job for job in ending if job.user_id == "user3")
    assert [each.payload["data"]["id"] for each in deliveries] == [mine.id]


async def test_of_many_that_end_those_that_were_cancelled_or_lost_are_told_apart(backend: Backend) -> None:
    mine, cancelled, lost, over = await _claimed(backend, 4)
    async with backend.db.writing.begin() as session:
        await jobs.cancel(backend, session, str(cancelled.user_id), cancelled.id)
        await session.execute(update(jobs_table).where(jobs_table.c.id == lost.id).values(owner="1 2 3 4"))
    await backend.endings.done(over.id)
    four = (backend.endings.done(job.id) for job in (mine, cancelled, lost, over))
    outcomes = await asyncio.gather(*four, return_exceptions=True)
    assert [type(each) for each in outcomes] == [type(None), CancelledError, ClaimLostError, ClaimLostError]
    assert await _states(backend, mine, cancelled, lost, over) == ["done", "running", "running", "done"]


async def test_a_transaction_that_fails_ends_none_of_its_jobs_and_tells_all_that_wait(backend: Backend) -> None:
    ending = await _claimed(backend, 3)

    def refuse(connection: Any) -> None:
        raise BackendUnreachableError("the database went away")

    event.listen(backend.db.engine.sync_engine, "commit", refuse)
    outcomes = await asyncio.gather(*(backend.endings.done(job.id) for job in ending), return_exceptions=True)
    event.remove(backend.db.engine.sync_engine, "commit", refuse)
    assert [type(each) for each in outcomes] == [BackendUnreachableError] * 3
    assert set(await _states(backend, *ending)) == {"running"}
    await asyncio.gather(*(backend.endings.done(job.id) for job in ending))
    assert set(await _states(backend, *ending)) == {"done"}


async def test_an_end_is_stored_though_nobody_waits_for_it_any_more(backend: Backend) -> None:
    (job,) = await _claimed(backend, 1)
    async with open_endings(backend.db) as endings:
        waiting = asyncio.create_task(endings.done(job.id))
        await asyncio.sleep(0)
        waiting.cancel()
    assert await _states(backend, job) == ["done"]

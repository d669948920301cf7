"""Messages through Redis: hints that may be lost or nonsense, and workers that end as they are told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from redis import Redis
from sqlalchemy import select

from integ_server import logs
from integ_server.migrations.upgrade import migrate
from integ_server.models.job import ClaimedJob
from integ_server.models.tables import jobs as jobs_table
from integ_server.services import jobs
from integ_server.services.backend import Backend
from integ_server.worker import runner
from integ_server.worker.broker import make_broker, open_workers
from integ_server.worker.dead_letters import REASONS
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import Player, player_on
from tests.servers import redis_server

ROOT = Path(__file__).parents[3]
OVER = {"done", "failed", "cancelled"}


@pytest.fixture
async def player(sqlite_url: str, redis_url: str) -> AsyncIterator[Player]:
    """Somebody whose backend serves and hears of jobs by Redis; nothing is done until workers are opened."""
    await migrate(sqlite_url)
    shelf = Shelf(games={"ann": [owned("1")]})
    async with player_on(sqlite_url, {"fake": fake_store(shelf, reads_metadata=False)}, is_embedded=False, redis_url=redis_url) as player:
        await player.sign_in("fake", "ann")
        yield player


async def _finished(player: Player, job_id: str) -> Any:
    async def wait() -> Any:
        while True:
            async with player.backend.db.reading() as session:
                row = (await session.execute(select(jobs_table).where(jobs_table.c.id == job_id))).one()
            if row.state in OVER:
                return row
            await asyncio.sleep(0.02)

    return await asyncio.wait_for(wait(), 20)


async def test_nonsense_is_put_aside_with_a_reason_and_what_comes_after_it_is_done(player: Player, redis_url: str) -> None:
    broker = make_broker(redis_url)
    poisoned = [("no-such-actor", ("x",)), ("sync", ()), ("sync", (7,)), ("sync", ("x" * 65,))]
    for name, args in poisoned:
        broker.enqueue(dramatiq.Message(queue_name="now", actor_name=name, args=args, kwargs={}, options={}))
    with Redis.from_url(redis_url) as redis:
        redis.hset("dramatiq:now.msgs", "odd", b"\xff no message")
        redis.rpush("dramatiq:now", "odd")
        async with open_workers(player.backend):
            (job_id,) = await player.start()
            assert (await _finished(player, job_id)).state == "done"
            for _ in range(500):
                if redis.llen(REASONS) == 5 and not redis.hlen("dramatiq:now.msgs"):
                    break
                await asyncio.sleep(0.02)
        told = [json.loads(each)["reason"] for each in redis.lrange(REASONS, 0, -1)]
        assert redis.hlen("dramatiq:now.msgs") == 0 and redis.zcard("dramatiq:now.XQ") == 4
    assert sorted(told)[0].startswith("TypeError: ") and len(told) == 5
    assert any("no-such-actor" in each for each in told) and any("can't be read" in each for each in told)
    broker.close()


async def test_a_thousand_hints_are_done_with_and_leave_nothing_in_redis(player: Player, redis_url: str) -> None:
    broker = make_broker(redis_url)
    for number in range(1_000):
        queue = ("now", "soon", "later")[number % 3]
        message = dramatiq.Message(queue_name=queue, actor_name="sync", args=(f"{number:032x}",), kwargs={}, options={})
        broker.enqueue(message)
    broker.close()
    with Redis.from_url(redis_url) as redis:
        async with open_workers(player.backend):
            for _ in range(500):
                if not any(redis.exists(f"dramatiq:{queue}.msgs") for queue in ("now", "soon", "later")):
                    break
                await asyncio.sleep(0.02)
        assert {each.decode() for each in redis.keys("dramatiq:*")} <= {"dramatiq:__heartbeats__"}


def test_what_could_not_be_taken_out_while_redis_was_away_is_taken_out_later() -> None:
    with redis_server() as server:
        broker = make_broker(f"unix://{server.folder}/s")
        broker.declare_queue("now")
        for number in range(3):
            broker.enqueue(dramatiq.Message(queue_name="now", actor_name="sync", args=(str(number),), kwargs={}, options={}))
        consumer = broker.consume("now", prefetch=10, timeout=10)
        message = next(consumer)
        assert message is not None and not consumer.message_cache, "the others say the same and are passed over"
        socket = Path(server.folder, "s")
        socket.rename(socket.with_name("away"))
        broker.client.connection_pool.disconnect()
        consumer.ack(message)
        with pytest.raises(dramatiq.errors.ConnectionClosed):
            next(consumer)
        socket.with_name("away").rename(socket)
        with Redis.from_url(f"unix://{server.folder}/s") as redis:
            assert redis.hlen("dramatiq:now.msgs") == 3
        consumer = broker.consume("now", prefetch=10, timeout=10)
        assert all(next(consumer) is None for _ in range(3))
        with Redis.from_url(f"unix://{server.folder}/s") as redis:
            assert not redis.hlen("dramatiq:now.msgs")
        broker.close()


def test_of_hints_that_come_together_one_is_given_on_and_what_is_no_hint_has_its_turn(redis_url: str) -> None:
    broker = make_broker(redis_url)
    broker.declare_queue("now")
    for name, arg in (("sync", "a"), ("metadata", "b"), ("no-such-actor", "c"), ("sync", 7), ("sync", "d"), ("clean-up", "e")):
        broker.enqueue(dramatiq.Message(queue_name="now", actor_name=name, args=(arg,), kwargs={}, options={}))
    consumer = broker.consume("now", prefetch=10, timeout=10)
    given_on = [message for message in (next(consumer) for _ in range(6)) if message is not None]
    assert [(message.actor_name, message.args[0]) for message in given_on] == [("sync", "a"), ("no-such-actor", "c"), ("sync", 7)]
    for message in given_on:
        consumer.ack(message)
    with Redis.from_url(redis_url) as redis:
        assert redis.hlen("dramatiq:now.msgs") == 0, "those that were passed over are taken out with the others"
    broker.close()


async def test_a_lost_message_costs_a_moment_and_no_job(player: Player, redis_url: str) -> None:
    (job_id,) = await player.start()  # nobody sent a message: this process has no workers yet
    with Redis.from_url(redis_url) as redis:
        assert not redis.exists("dramatiq:now")
    async with open_workers(player.backend):
        assert (await _finished(player, job_id)).state == "done"


async def test_jobs_are_done_while_redis_is_away_and_after_it_came_back(sqlite_url: str) -> None:
    await migrate(sqlite_url)
    stores = {"fake": fake_store(Shelf(games={"ann": [owned("1")]}), reads_metadata=False)}
    with redis_server() as server:
        more = {"is_embedded": False, "redis_url": f"unix://{server.folder}/s"}
        async with player_on(sqlite_url, stores, **more) as player, open_workers(player.backend):
            await player.sign_in("fake", "ann")
            await asyncio.to_thread(server.stop)
            for _ in range(2):
                (job_id,) = await player.start()
                assert (await _finished(player, job_id)).state == "done"
            await asyncio.to_thread(server.start)
            (job_id,) = await player.start()
            assert (await _finished(player, job_id)).state == "done"


async def test_a_jobs_log_lines_carry_the_id_of_the_request_that_asked_for_it(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def look(backend: Backend, job: ClaimedJob) -> None:
        seen.append(logs.request_id.get())
        async with backend.db.writing.begin() as session:
            await jobs.finish(session, job.id)

    monkeypatch.setitem(runner.HANDLERS, "sync", look)  # type: ignore[arg-type]
    token = logs.request_id.set("asked-by-ann")
    (job_id,) = await player.start()
    logs.request_id.reset(token)
    async with open_workers(player.backend):
        assert (await _finished(player, job_id)).request_id == "asked-by-ann"
    assert seen == ["asked-by-ann"]


_WORKER = """
import asyncio, sys
sys.path.insert(0, {root!r})
from integ_server.settings import ServerSettings
from integ_server.services import jobs
from integ_server.worker import run, runner

async def slowly(backend, job):
    print("begun", flush=True)
    await backend.outside(asyncio.sleep({takes_s}))
    async with backend.db.writing.begin() as session:
        await jobs.finish(session, job.id)

runner.HANDLERS["sync"] = slowly
run.FINISH_WITHIN_S = {finish_within_s}
asyncio.run(run.run_worker(ServerSettings.from_environment(None), ready=lambda: print("ready", flush=True)))
"""


@pytest.mark.parametrize(
    ("takes_s", "finish_within_s", "signals", "code", "state"),
    [(1.0, 10.0, 1, 0, "done"), (60.0, 0.5, 1, 0, "queued"), (60.0, 60.0, 2, 128 + signal.SIGTERM, "running")],
    ids=["finishes", "hands back", "ends at once"],
)
async def test_a_worker_that_is_told_to_end_finishes_or_hands_back_and_the_second_time_ends_at_once(
    player: Player, redis_url: str, tmp_path: Path, takes_s: float, finish_within_s: float, signals: int, code: int, state: str
) -> None:
    (job_id,) = await player.start()
    settings = player.backend.settings
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "INTEG_DATABASE_URL": settings.database_url,
        "INTEG_REDIS_URL": redis_url,
        "INTEG_SECRET_KEY": settings.secret_key,
    }
    program = _WORKER.format(root=str(ROOT), takes_s=takes_s, finish_within_s=finish_within_s)
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT, env=environ, text=True)
    try:
        assert worker.stdout is not None
        lines = {await asyncio.to_thread(worker.stdout.readline) for _ in range(2)}
        assert lines == {"ready\n", "begun\n"}
        for _ in range(signals):
            worker.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
        assert await asyncio.to_thread(worker.wait, 20) == code
    finally:
        worker.kill()
        worker.communicate()
    async with player.backend.db.reading() as session:
        row = (await session.execute(select(jobs_table).where(jobs_table.c.id == job_id))).one()
    assert row.state == state
    if state == "queued":
        assert (row.owner, row.attempts) == (None, 0)


async def test_a_worker_waits_for_a_database_that_is_not_there_yet_and_ends_when_told_to(redis_url: str, tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "INTEG_DATABASE_URL": f"postgresql+asyncpg://integ@/integ?host={tmp_path}",
        "INTEG_REDIS_URL": redis_url,
        "INTEG_SECRET_KEY": "k1:5f0c9a7be2d14836af907c1d3e8b6452",
        "INTEG_LOG_LEVEL": "WARNING",
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "integ_cli", "worker"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environ, text=True
    )
    try:
        assert worker.stderr is not None
        line = await asyncio.to_thread(worker.stderr.readline)
        assert "waiting for the database" in line
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 20) == 0
    finally:
        worker.kill()
        worker.communicate()

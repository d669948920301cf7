"""
Messages a second of Integ's actor, locks and de-duplication included, beside a bare no-op actor on the same Redis.

`bare` is Dramatiq's own worker with the same prefetch; its messages do nothing. `integ` is a worker as `integ worker` runs it: each
message is for a job of its own and of a user of its own, whose row in PostgreSQL is claimed, done by a handler that does nothing, and
ended; with `crowd` each user has twenty, who then take turns. `hints` are messages for jobs that are done already, which is what
duplicates and late ones cost. Each with one and two workers, freely and with every
worker held to the same share of a core, by stopping it while it is over its share.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from statistics import median
from typing import Any

import asyncpg
from redis import Redis
from sqlalchemy import delete, insert

from integ_server.migrations.upgrade import migrate
from integ_server.models.tables import jobs, users
from integ_server.opening import open_backend
from integ_server.settings import ServerSettings
from integ_server.worker.actors import declare_hinting
from integ_server.worker.broker import make_broker
from tests.bench.load import held_to
from tests.bench.measure import versions, write_result
from tests.servers import postgres_server, redis_server

TARGET = 0.8
SCALES = 1.7
SHARE = 0.3
"""Of one core, for each worker: what serves them both has to have the rest."""
CROWD = 20
"""Jobs of one user that wait at once."""
THREADS = 32
_KEY = "k1:5f0c9a7be2d14836af907c1d3e8b6452"


# --- the workers, as processes of their own: `python -m tests.bench.bench_jobs --be bare|integ`


def be_bare(redis_url: str) -> None:
    from dramatiq.worker import Worker

    from integ_server.worker.broker import POLL_MS, PREFETCH

    _, broker = make_bare(redis_url)
    worker = Worker(broker, worker_threads=1, worker_timeout=POLL_MS)
    worker.queue_prefetch = PREFETCH
    worker.start()
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    os._exit(0)


def be_integ(settings: ServerSettings, threads: int) -> None:
    from integ_server.models.job import ClaimedJob
    from integ_server.services.backend import Backend
    from integ_server.worker import runner
    from integ_server.worker.run import run_worker

    async def nothing(backend: Backend, job: ClaimedJob) -> None:
        await backend.endings.done(job.id)  # as every job ends that has nothing more to store

    runner.HANDLERS["sync"] = nothing  # type: ignore[index]  # everything around it is as it runs
    asyncio.run(run_worker(settings, threads=threads, ready=lambda: print("ready", flush=True)))


class Bench:
    def __init__(self, redis_url: str, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._settings = ServerSettings.model_validate({name.lower().removeprefix("integ_"): value for name, value in environ.items()})
        self._redis: Redis = Redis.from_url(redis_url)
        self._redis_url = redis_url
        self._dsn = self._settings.database_url.replace("postgresql+asyncpg", "postgresql", 1)

    def rate(self, rival: str, workers: int, messages: int, *, share: float | None) -> float:
        """Messages a second, from the moment when the workers are let go until the last is done."""
        self._redis.flushall()
        asyncio.run(self._rows(0, state="done"))
        with contextlib.ExitStack() as running:
            held = [running.enter_context(self._worker("bare" if rival == "bare" else "integ")) for _ in range(workers)]
            for pid in held:
                os.kill(pid, signal.SIGSTOP)
            if rival != "bare":  # only now: a worker that runs already would begin with them
                each = CROWD if rival == "crowd" else 1
                asyncio.run(self._rows(messages, state="done" if rival == "hints" else "queued", each=each))
            self._send(rival, messages)
            began = time.monotonic()
            for pid in held:
                os.kill(pid, signal.SIGCONT)
                if share is not None:
                    running.enter_context(held_to(pid, share))
            queue = "bare" if rival == "bare" else "now"
            while self._redis.hlen(f"dramatiq:{queue}.msgs"):
                time.sleep(0.01)
            if rival in {"integ", "crowd"}:
                return messages / asyncio.run(self._wait(began, messages))
            return messages / (time.monotonic() - began)

    def _send(self, rival: str, messages: int) -> None:
        if rival == "bare":
            bare, _ = make_bare(self._redis_url)
            for number in range(messages):
                bare.send(f"{number:032x}")
            return
        broker = make_broker(self._redis_url)
        send = declare_hinting(broker, lambda: None)
        for number in range(messages):
            send("sync", "now", f"{number:032x}", 0.0)
        broker.close()

    @contextlib.contextmanager
    def _worker(self, rival: str) -> Iterator[int]:
        environ = {**os.environ, **self._environ}
        words = [sys.executable, "-m", "tests.bench.bench_jobs", "--be", rival]
        process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise SystemExit(f"the {rival} worker did not start")
            yield process.pid
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.communicate(timeout=60)

    async def _rows(self, count: int, *, state: str, each: int = 1) -> None:
        now = datetime.now(UTC)
        facts = {"kind": "sync", "provider": "bench", "account": "", "full": False, "stage": "", "done": 0, "queue": "now"}
        facts |= {"attempts": 0}
        moments = {"created_at": now, "turn_at": now, "heartbeat_at": now, "finished_at": None if state == "queued" else now}
        rows = [
            {
                "id": f"{at:032x}",
                "subject": f"bench/{at}",
                "user_id": f"user{at // each}",
                "state": state,
                "queue": "now",
                **facts,
                **moments,
            }
            for at in range(count)
        ]
        async with open_backend(self._settings, {}) as backend, backend.db.writing.begin() as session:
            await session.execute(delete(jobs))
            await session.execute(delete(users))
            made = {"revision": 1, "first_revision": 1, "preferences": {}, "created_at": now}
            await session.execute(insert(users), [{"id": f"user{at}", "name": f"User {at}", **made} for at in range(count // each + 1)])
            if rows:
                await session.execute(insert(jobs), rows)

    async def _wait(self, began: float, count: int) -> float:
        """Seconds from *began* until every job has ended. The look is a short one: the database is the workers' to use."""
        watching = await asyncpg.connect(self._dsn)
        try:
            while await watching.fetchval("SELECT EXISTS (SELECT 1 FROM jobs WHERE state IN ('queued', 'running'))"):
                await asyncio.sleep(0.01)
            took_s = time.monotonic() - began
            if (done := await watching.fetchval("SELECT count(*) FROM jobs WHERE state = 'done'")) != count:
                raise SystemExit(f"{done:,} of {count:,} jobs are done")
            return took_s
        finally:
            await watching.close()


def make_bare(redis_url: str) -> tuple[Any, Any]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=redis_url, middleware=[])  # type: ignore[no-untyped-call]

    @dramatiq.actor(broker=broker, queue_name="bare")
    def nothing(job_id: str) -> None:
        pass

    return nothing, broker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--be", choices=("bare", "integ"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.be == "bare":
        be_bare(os.environ["INTEG_REDIS_URL"])
    elif wanted.be == "integ":
        be_integ(ServerSettings.from_environment(None), THREADS)
    else:
        measure(wanted.messages, wanted.rounds)


def measure(messages: int, rounds: int) -> None:
    with postgres_server() as postgres, redis_server() as redis:
        url = postgres.new_database()
        asyncio.run(migrate(url))
        redis_url = f"unix://{redis.folder}/s"
        environ = {"INTEG_DATABASE_URL": url, "INTEG_REDIS_URL": redis_url, "INTEG_SECRET_KEY": _KEY, "INTEG_LOG_LEVEL": "ERROR"}
        bench = Bench(redis_url, environ)
        cases = [(rival, workers, share) for rival in ("bare", "integ", "crowd", "hints") for workers in (1, 2) for share in (None, SHARE)]
        found: dict[str, list[float]] = {}
        for number in range(rounds):
            for rival, workers, share in cases:
                name = f"{rival}, {workers} {'free' if share is None else 'held'}"
                count = messages if share is None else messages // 3
                found.setdefault(name, []).append(bench.rate(rival, workers, count, share=share))
                print(f"  round {number + 1}: {name}: {found[name][-1]:,.0f}/s", file=sys.stderr)
    per_s = {name: round(median(rates)) for name, rates in found.items()}
    ratios = {
        "jobs": round(per_s["integ, 2 free"] / per_s["bare, 2 free"], 3),
        "jobs held": round(per_s["integ, 2 held"] / per_s["bare, 2 held"], 3),
        f"jobs, {CROWD} a user": round(per_s["crowd, 2 free"] / per_s["bare, 2 free"], 3),
        "messages": round(per_s["hints, 2 free"] / per_s["bare, 2 free"], 3),
        "two for one, jobs": round(per_s["integ, 2 held"] / per_s["integ, 1 held"], 2),
        "two for one, messages": round(per_s["hints, 2 held"] / per_s["hints, 1 held"], 2),
        "two for one, bare": round(per_s["bare, 2 held"] / per_s["bare, 1 held"], 2),
    }
    print(f"jobs: {ratios['jobs']} of the bare actor's messages a second (target {TARGET})")
    print(f"with {CROWD} jobs a user {ratios[f'jobs, {CROWD} a user']}; messages alone {ratios['messages']}")
    print(f"two workers do {ratios['two for one, jobs']} times what one does (target {SCALES})")
    targets = {"jobs": TARGET, "two for one, jobs": SCALES}
    facts = {"messages": messages, "rounds": rounds, "share": SHARE, "threads": THREADS}
    write_result(
        "jobs",
        {**facts, "per_s": per_s, "ratios": ratios, "targets": targets, "versions": versions("dramatiq", "redis", "sqlalchemy", "asyncpg")},
    )


if __name__ == "__main__":
    main()

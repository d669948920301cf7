"""Where messages about jobs go: Redis when a URL is set, else a queue in this process; and the threads that take them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import BrokerConnectionError
from dramatiq.middleware import Middleware, Retries, ShutdownNotifications
from dramatiq.worker import Worker

from integ_server.services import jobs
from integ_server.services.backend import Backend
from integ_server.worker.actors import declare
from integ_server.worker.runner import Runner

_log = logging.getLogger("integ.worker")
THREADS = 4
_IDLE_MS = 250
"""How often an idle thread looks whether it is to end; a message wakes it at once."""
_STOP_MS = 20
"""An idle thread ends by itself within `_IDLE_MS`, and one with a job was told to already: nobody has to wait for that."""
_STOP_WITH_REDIS_MS = 5_000
"""There messages that were fetched are given back."""


def make_broker(redis_url: str | None) -> dramatiq.Broker:
    """
    A broker of the caller's own, with no more middleware than the actors use: no time limit, because every request to a store has
    its own, and a job is as long as a library.
    """
    middleware: list[Middleware] = [ShutdownNotifications(), Retries(max_retries=0)]
    if redis_url is None:
        return StubBroker(middleware=middleware)
    from dramatiq.brokers.redis import RedisBroker

    return RedisBroker(url=redis_url, middleware=middleware)  # type: ignore[no-untyped-call]


def _connection_errors(redis_url: str | None) -> tuple[type[Exception], ...]:
    if redis_url is None:
        return (BrokerConnectionError,)
    from redis.exceptions import RedisError

    return BrokerConnectionError, RedisError


@asynccontextmanager
async def open_workers(
    backend: Backend, *, consume: bool = True, threads: int = THREADS, queues: Collection[str] = ()
) -> AsyncIterator[None]:
    """
    Let *backend* send jobs while inside and, with *consume*, do them: *threads* at once, of *queues* alone when any are named.
    Without Redis the threads are started by the first message.

    On the way out what runs is stopped and given back, within about a second.
    """
    logging.getLogger("dramatiq").setLevel(max(logging.WARNING, logging.getLogger("dramatiq").level))
    broker = make_broker(backend.settings.redis_url)
    runner = Runner(backend)
    send = declare(broker, runner.do_from_thread)
    workers: list[Worker] = []
    unreachable = _connection_errors(backend.settings.redis_url)

    def send_and_start(kind: str, job_id: str, delay_s: float) -> None:
        if backend.stopping.is_set():
            return
        try:
            send(kind, job_id, delay_s)
        except unreachable:
            # The row is stored, and that is what counts: a worker that looks for jobs nobody holds finds it.
            _log.warning("the message about job %s could not be sent; it is taken up later", job_id)
            return
        if consume and not workers:
            workers.append(Worker(broker, queues=set(queues) or None, worker_threads=threads, worker_timeout=_IDLE_MS))
            workers[0].start()

    backend.send = send_and_start
    if consume and backend.settings.redis_url is not None:
        workers.append(Worker(broker, queues=set(queues) or None, worker_threads=threads, worker_timeout=_IDLE_MS))
        await asyncio.to_thread(workers[0].start)
    try:
        yield
    finally:
        await runner.stop()
        for worker in workers:
            await asyncio.to_thread(worker.stop, _STOP_MS if backend.settings.redis_url is None else _STOP_WITH_REDIS_MS)
        if workers and backend.settings.is_embedded:
            await jobs.hand_back_all(backend)
        await asyncio.to_thread(broker.close)

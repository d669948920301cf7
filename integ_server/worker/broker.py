"""Where messages about jobs go: Redis when a URL is set, else a queue in this process; and what takes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware, Retries, ShutdownNotifications
from dramatiq.worker import Worker

from integ_server.services import jobs
from integ_server.services.backend import Backend
from integ_server.services.queues import Queue, checked
from integ_server.worker.actors import Send, declare_doing, declare_hinting
from integ_server.worker.line import Line
from integ_server.worker.runner import Runner

_log = logging.getLogger("integ.worker")
THREADS = 4
_IDLE_MS = 250
"""How often an idle thread looks whether it is to end; a message wakes it at once."""
_STOP_MS = 20
"""An idle thread ends by itself within `_IDLE_MS`, and one with a job was told to already: nobody has to wait for that."""
POLL_MS = 50
"""How long an idle consumer waits before it asks Redis again: a job begins after half of that on the average."""
_STOP_WITH_REDIS_MS = 5_000
"""There messages that were fetched are given back."""
PREFETCH = 512
"""A hint is done with in a moment, and one that dies with its worker is missed by nobody: what counts is to fetch many at once."""
_MOST_UNSENT = 1_000
_REDIS_WITHIN_S = 2.0


def make_broker(redis_url: str | None) -> dramatiq.Broker:
    """
    A broker of the caller's own, with no more middleware than the actors use: no time limit, because every request to a store has
    its own, and a job is as long as a library.
    """
    middleware: list[Middleware] = [ShutdownNotifications(), Retries(max_retries=0)]
    if redis_url is None:
        return StubBroker(middleware=middleware)
    from redis import Redis

    from integ_server.worker.dead_letters import DeadLetters, PatientBroker

    client = Redis.from_url(redis_url, socket_timeout=_REDIS_WITHIN_S, socket_connect_timeout=_REDIS_WITHIN_S)
    return PatientBroker(client=client, middleware=[*middleware, DeadLetters()])


@asynccontextmanager
async def open_workers(
    backend: Backend,
    *,
    consume: bool = True,
    threads: int = THREADS,
    queues: Collection[str] = (),
    finish_within_s: float = 0.0,
) -> AsyncIterator[None]:
    """
    Let *backend* send jobs while inside and, with *consume*, do them: *threads* at once, of *queues* alone when any are named.

    On the way out what runs has *finish_within_s* to come to its end; then it is stopped and given back, within about a second.
    """
    logging.getLogger("dramatiq").setLevel(max(logging.WARNING, logging.getLogger("dramatiq").level))
    runner = Runner(backend)
    async with AsyncExitStack() as opened:
        if backend.settings.is_embedded:
            await opened.enter_async_context(_in_process(backend, runner, threads, consume=consume))
        else:
            line = await opened.enter_async_context(_line(backend, runner, threads, checked(queues), finish_within_s)) if consume else None
            look = line.look if line is not None else _nothing
            if backend.settings.redis_url is None:
                backend.send = lambda kind, queue, job_id, delay_s: look()
            else:
                wanted = {each.value for each in checked(queues)}
                await opened.enter_async_context(_between_processes(backend, backend.settings.redis_url, look, wanted, consume=consume))
        yield


@asynccontextmanager
async def _in_process(backend: Backend, runner: Runner, threads: int, *, consume: bool) -> AsyncIterator[None]:
    """A queue and threads of this process, which the first message starts."""
    broker = make_broker(None)
    send = declare_doing(broker, runner.do_from_thread)
    workers: list[Worker] = []

    def send_and_start(kind: str, queue: str, job_id: str, delay_s: float) -> None:
        if backend.stopping.is_set():
            return
        send(kind, queue, job_id, delay_s)
        if consume and not workers:
            workers.append(Worker(broker, worker_threads=threads, worker_timeout=_IDLE_MS))
            workers[0].start()

    backend.send = send_and_start
    try:
        yield
    finally:
        await runner.stop()
        for worker in workers:
            await asyncio.to_thread(worker.stop, _STOP_MS)
        if workers:
            await jobs.hand_back_all(backend)
        await asyncio.to_thread(broker.close)


@asynccontextmanager
async def _line(backend: Backend, runner: Runner, room: int, queues: Collection[Queue], finish_within_s: float) -> AsyncIterator[Line]:
    """Looks through the rows for what is to be done next."""
    line = Line(backend, runner, room, queues)
    looking = asyncio.create_task(line.run())
    try:
        yield line
    finally:
        line.close()
        await asyncio.wait({looking}, timeout=_STOP_WITH_REDIS_MS / 1000)
        await runner.stop(finish_within_s=finish_within_s)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


@asynccontextmanager
async def _between_processes(
    backend: Backend, redis_url: str, look: Callable[[], None], queues: set[str], *, consume: bool
) -> AsyncIterator[None]:
    """Hints that go through Redis, and come from there with *consume*."""
    broker = make_broker(redis_url)
    sender = _Sender(declare_hinting(broker, look))
    worker = None

    def send(kind: str, queue: str, job_id: str, delay_s: float) -> None:
        look()
        sender.send(kind, queue, job_id)

    backend.send = send
    try:
        if consume:
            worker = Worker(broker, queues=queues, worker_threads=1, worker_timeout=POLL_MS)
            worker.queue_prefetch = PREFETCH
            await asyncio.to_thread(worker.start)
        yield
    finally:
        await asyncio.to_thread(sender.close)
        if worker is not None:
            await asyncio.to_thread(worker.stop, _STOP_WITH_REDIS_MS)
        with contextlib.suppress(Exception):  # Redis may be away
            await asyncio.to_thread(broker.close)


class _Sender:
    """Sends in a thread of its own, for Redis may take its time; what can't be sent is left, for a worker finds the row."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="integ-hints")
        self._unsent = 0
        self._is_broken = False
        self._is_closed = False

    def send(self, kind: str, queue: str, job_id: str) -> None:
        if self._unsent < _MOST_UNSENT and not self._is_closed:
            self._unsent += 1
            self._thread.submit(self._try, kind, queue, job_id)

    def close(self) -> None:
        """What the last jobs of this process send finds nobody here any more."""
        self._is_closed = True
        self._thread.shutdown(cancel_futures=self._is_broken)

    def _try(self, kind: str, queue: str, job_id: str) -> None:
        from redis.exceptions import RedisError

        try:
            self._send(kind, queue, job_id, 0.0)
            self._is_broken = False
        except (RedisError, OSError) as error:
            if not self._is_broken:
                _log.warning("messages about jobs can't be sent for now, workers look for themselves: %s", type(error).__name__)
            self._is_broken = True
        finally:
            self._unsent -= 1


def _nothing() -> None:
    """A process that does no jobs has nobody to tell."""

"""Workers without an API: one that lasts, for a backend that serves, and one that ends when nothing is left, for `integ sync --no-wait`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack

from integ_server import systemd
from integ_server.contract.errors import IntegrityError, UsageError
from integ_server.logs import install_logs
from integ_server.metrics_door import open_metrics_door
from integ_server.opening import open_backend
from integ_server.schema_gate import SchemaGate
from integ_server.services import jobs, presence
from integ_server.services.backend import Backend
from integ_server.services.queues import checked
from integ_server.settings import ServerSettings
from integ_server.worker.broker import THREADS, open_workers
from integ_server.worker.scheduler import open_scheduler

_LOOK_EVERY_S = 0.2
FINISH_WITHIN_S = 20.0
"""What runs when a worker is told to end; systemd and containers wait longer than that."""
_log = logging.getLogger("integ.worker")


async def run_worker(
    settings: ServerSettings, *, threads: int = THREADS, queues: Collection[str] = (), ready: Callable[[], None] = lambda: None
) -> None:
    """
    Do jobs as they come, *threads* at once, until a signal ends it: what runs then has `FINISH_WITHIN_S` to come to its end, and is
    handed back after that; a second signal ends the process at once, and others find what it did. *queues* are those to take jobs
    from; empty: all. *ready* is called once jobs are taken.

    A database or a Redis that is not there is waited for, at the start and later, and so is `integ migrate`.

    Raises:
        UsageError: There is no Redis for the messages to come by, or no such queue.
        IntegrityError: The database is of a newer version than this worker.
    """
    if settings.redis_url is None:
        raise UsageError(
            "a worker hears of its jobs by Redis, and INTEG_REDIS_URL is not set", hint="without Redis, integ serve does the jobs itself"
        )
    checked(queues)
    install_logs(settings.log_level, settings.log_format)
    ending = _told_to_end(second_is_final=True)
    async with AsyncExitStack() as opened:
        backend = await _opened_when_there(opened, settings, ending)
        if backend is None:
            return
        await opened.enter_async_context(open_metrics_door(backend))
        await opened.enter_async_context(presence.shown(backend.cache))
        await opened.enter_async_context(open_workers(backend, threads=threads, queues=queues, finish_within_s=FINISH_WITHIN_S))
        await opened.enter_async_context(open_scheduler(backend))
        gc.collect()
        gc.freeze()  # what is loaded by now stays: looking through it again and again took a third of a large sync
        systemd.notify("READY=1")
        ready()
        await ending.wait()
        _log.info("told to end: nothing more is begun, what runs has %g s", FINISH_WITHIN_S)


async def _opened_when_there(opened: AsyncExitStack, settings: ServerSettings, ending: asyncio.Event) -> Backend | None:
    """The backend, once its database answers and is of this version; None when the process is to end before that."""
    schema = SchemaGate(settings.database_url)
    if not await schema.wait(ending, give_up_on=IntegrityError):
        return None
    return await opened.enter_async_context(open_backend(settings, schema=schema))


async def drain(settings: ServerSettings) -> None:
    """
    Do all jobs that no living process does, and return when none is left.

    Those of other processes are waited for, since a process that ends hands its jobs back, as the one that started this worker
    is about to. A signal to end is obeyed at once; what runs is handed back too.
    """
    ending = _told_to_end()
    async with open_backend(settings) as backend, open_workers(backend):
        while not ending.is_set():
            await jobs.take_up(backend)
            if not await jobs.unfinished(backend):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await ending.wait()


def _told_to_end(*, second_is_final: bool = False) -> asyncio.Event:
    """Set by the signals that ask a process to end; with *second_is_final* the next one does not wait for anything."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told(number: int) -> None:
        if ending.is_set() and second_is_final:
            os._exit(128 + number)
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # only the main thread's loop may
            loop.add_signal_handler(number, told, number)
    return ending

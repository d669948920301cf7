"""Workers without an API: one that lasts, for a backend that serves, and one that ends when nothing is left, for `integ sync --no-wait`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Collection

from integ_server import systemd
from integ_server.contract.errors import UsageError
from integ_server.metrics_door import open_metrics_door
from integ_server.opening import open_backend
from integ_server.services import jobs, presence
from integ_server.settings import ServerSettings
from integ_server.worker.broker import THREADS, open_workers

_LOOK_EVERY_S = 0.2
_LOOK_FOR_ORPHANS_EVERY_S = 10.0


async def run_worker(
    settings: ServerSettings, *, threads: int = THREADS, queues: Collection[str] = (), ready: Callable[[], None] = lambda: None
) -> None:
    """
    Do jobs as they come, until a signal ends it; what runs then is handed back. *queues* are those to take messages from; empty: all.
    *ready* is called once messages are taken.

    Raises:
        UsageError: There is no Redis for the messages to come by.
    """
    if settings.redis_url is None:
        raise UsageError(
            "a worker hears of its jobs by Redis, and INTEG_REDIS_URL is not set", hint="without Redis, integ serve does the jobs itself"
        )
    ending = _told_to_end()
    async with (
        open_backend(settings) as backend,
        open_metrics_door(backend),
        presence.shown(backend.cache),
        open_workers(backend, threads=threads, queues=queues),
    ):
        systemd.notify("READY=1")
        ready()
        while not ending.is_set():
            await jobs.take_up(backend)  # of workers that died
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), _LOOK_FOR_ORPHANS_EVERY_S)


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
                await asyncio.wait_for(ending.wait(), _LOOK_EVERY_S)


def _told_to_end() -> asyncio.Event:
    """Set by the signals that ask a process to end."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # only the main thread's loop may
            loop.add_signal_handler(number, ending.set)
    return ending

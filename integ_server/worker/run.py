"""A worker without an API: does what is queued, and ends when nothing is left; `integ sync --no-wait` starts one."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from integ_server.opening import open_backend
from integ_server.services import jobs
from integ_server.settings import ServerSettings
from integ_server.worker.broker import open_workers

_LOOK_EVERY_S = 0.2


async def drain(settings: ServerSettings) -> None:
    """
    Do all jobs that no living process does, and return when none is left.

    Those of other processes are waited for, since a process that ends hands its jobs back, as the one that started this worker
    is about to. A signal to end is obeyed at once; what runs is handed back too.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # only the main thread's loop may
            loop.add_signal_handler(number, ending.set)
    async with open_backend(settings) as backend, open_workers(backend):
        while not ending.is_set():
            await jobs.take_up(backend)
            if not await jobs.unfinished(backend):
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), _LOOK_EVERY_S)

"""Looks for what is due, in every worker: periodic work, and deliveries to webhooks. The rows see to it that one does it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError

from integ_server.contract.errors import IntegError
from integ_server.services import deliveries, schedule
from integ_server.services.backend import Backend, StoppingError

LOOK_EVERY_S = 5.0
DELIVER_EVERY_S = 2.0
_log = logging.getLogger("integ.schedule")


@asynccontextmanager
async def open_scheduler(backend: Backend) -> AsyncIterator[None]:
    """Inside, periodic work is begun when it is due, and webhooks hear of what happens."""
    ending = asyncio.Event()
    looking = {asyncio.create_task(_look(backend, ending)), asyncio.create_task(_deliver(backend, ending))}
    try:
        yield
    finally:
        ending.set()  # a look comes to its end: a statement that is cancelled loses its connection
        _, late = await asyncio.wait(looking, timeout=5)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _look(backend: Backend, ending: asyncio.Event) -> None:
    is_known = False
    while not ending.is_set():
        try:
            if not is_known:
                await schedule.ensure_tasks(backend)
                is_known = True
            for name in await schedule.begin_due(backend):
                _log.debug("begun: %s", name)
        except (IntegError, DBAPIError) as error:
            _log.warning("what is due can't be begun for now: %s", error)
        except Exception:
            _log.exception("periodic work met a bug; it is tried again")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S * (0.8 + 0.4 * random.random())):
                await ending.wait()


async def _deliver(backend: Backend, ending: asyncio.Event) -> None:
    while not ending.is_set():
        try:
            await deliveries.deliver_due(backend, ending=ending)
        except StoppingError:
            return
        except (IntegError, DBAPIError) as error:
            _log.warning("webhooks can't be told for now: %s", error)
        except Exception:
            _log.exception("a delivery met a bug; it is tried again")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DELIVER_EVERY_S * (0.8 + 0.4 * random.random())):
                await ending.wait()

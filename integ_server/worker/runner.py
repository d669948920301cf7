"""Does jobs on the event loop that owns the engine and the clients; the broker's threads only wait for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy.exc import DBAPIError

from integ_server import logs
from integ_server.contract.errors import BackendUnreachableError, BusyError, IntegError, ProviderUnavailableError, StorageError
from integ_server.db import storage_error
from integ_server.models.job import ClaimedJob
from integ_server.services import achievements, claims, clean_up, jobs, metadata, proton_catalogue, proton_mirror, sync
from integ_server.services.backend import Backend, StoppingError
from integ_server.services.endings import CancelledError, ClaimLostError

BEAT_EVERY_S = 10.0
LONGEST_IN_LINE_S = 6 * 3600.0
_END_WITHIN_S = 5.0
_LONGEST_PAUSE_S = 10.0
"""Between two tries to write down what became of a job while the database is away."""
_UNREACHABLE_PAUSE_S = 2.0
_log = logging.getLogger("integ.worker")

HANDLERS: Mapping[str, Callable[[Backend, ClaimedJob], Awaitable[object]]] = {
    "sync": sync.pull_account,
    "metadata": metadata.read_due,
    "achievements": achievements.read_played,
    "proton-feed": proton_catalogue.read_feeds,
    "proton-mirror": proton_mirror.fetch,
    "clean-up": clean_up.clean_up,
}
"""What does each kind of job; it has to be safe to run twice."""


class PutOffError(Exception):
    """The store asks for a pause; the job is to be sent again in `pause_s`."""

    def __init__(self, message: str, pause_s: float) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class Runner:
    """
    One for each backend.

    Dramatiq could run async actors on a loop of its own, but a database pool and an httpx client belong to one loop: the app's.
    So each job is done on that loop. It also lets any number of apps live in one process, and lets an ending
    app stop its jobs at once and give them back.
    """

    def __init__(self, backend: Backend, handlers: Mapping[str, Callable[[Backend, ClaimedJob], Awaitable[object]]] = HANDLERS) -> None:
        self._backend = backend
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._beating: asyncio.Task[None] | None = None

    @property
    def at_work(self) -> int:
        """How many jobs are being done; one that is over but for the note of it takes nobody's place."""
        return len(self._tasks) - self._backend.endings.waiting

    def do_from_thread(self, job_id: str) -> None:
        """
        Do the job, and wait for its end; for the broker's threads.

        Raises:
            PutOffError: It is to be sent again.
        """
        if self._backend.stopping.is_set() or self._loop.is_closed():
            return
        coroutine = self._by_id(job_id)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop closed between the look and the call; the job waits for the next start
            coroutine.close()
            return
        with contextlib.suppress(concurrent.futures.CancelledError):
            future.result()

    def start(self, job: ClaimedJob, ended: Callable[[], None]) -> None:
        """Begin *job*, which this process has claimed; *ended* is called when it is over, however."""
        task = asyncio.create_task(self._settle(job))
        self._tasks[task] = job.id
        self._keep_beating()

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.pop(task, None)
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("job %s was left as it is", job.id, exc_info=error)
            ended()

        task.add_done_callback(over)

    async def stop(self, *, finish_within_s: float = 0.0) -> None:
        """
        Wait *finish_within_s* for what runs; then stop it, and give it back to whoever comes next: at once, but for a renewed sign-in,
        which would be lost with the answer, and what is just being written.
        """
        if self._tasks and finish_within_s:
            await asyncio.wait(set(self._tasks), timeout=finish_within_s)
        self._backend.stopping.set()
        running = {*self._tasks, *([self._beating] if self._beating else [])}
        if running:
            _, late = await asyncio.wait(running, timeout=_END_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _by_id(self, job_id: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = job_id
        self._keep_beating()
        try:
            job = await jobs.claim(self._backend, job_id)
            if job is not None:
                await self._settle(job)
        finally:
            self._tasks.pop(task, None)

    def _keep_beating(self) -> None:
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        """Show the jobs' other processes that this one lives, while it has something to do."""
        while self._tasks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_EVERY_S):
                    await self._backend.stopping.wait()
                return
            try:
                if self._backend.settings.is_embedded:
                    await jobs.beat(self._backend)
                else:
                    await claims.beat(self._backend, list(self._tasks.values()))
            except (DBAPIError, IntegError) as error:
                _log.warning("the database did not take a heartbeat: %s", type(error).__name__)

    async def _settle(self, job: ClaimedJob) -> None:
        """Do *job*, write down what became of it, and count it."""
        logs.request_id.set(job.request_id)
        metrics, tracing = self._backend.metrics, self._backend.tracing
        began, state = time.perf_counter(), "dropped"
        if metrics is not None:
            metrics.job_began()
        try:
            if tracing is None:
                state = await self._do(job)
            else:
                with tracing.job(job.kind, job.id) as told:
                    state = await self._do(job)
                    told.append(state)
        finally:
            took_s = time.perf_counter() - began
            if metrics is not None:
                metrics.job_ended(job.kind, state, took_s)
        if not self._backend.settings.is_embedded and _log.isEnabledFor(logging.INFO):
            took_ms = round(took_s * 1000, 1)
            facts = logs.facts(job=job.id, kind=job.kind, state=state, ms=took_ms, attempt=job.attempts)
            _log.info("job %s %s %s %.1f ms", job.kind, job.id, state, took_ms, extra=facts)

    async def _do(self, job: ClaimedJob) -> str:
        """The state that the job is in afterwards."""
        backend = self._backend
        try:
            await self._handlers[job.kind](backend, job)
            return "done"
        except StoppingError:
            await self._written(lambda: jobs.hand_back(backend, job.id))
            return "queued"
        except asyncio.CancelledError:
            pass  # out of here first: while the exception lives, so may a transaction that holds the lock
        except CancelledError:
            await self._written(lambda: jobs.end_cancelled(backend, job.id))
            return "cancelled"
        except ClaimLostError:
            _log.info("job %s was taken over by another process", job.id)
            return "dropped"
        except BackendUnreachableError as away:
            _log.warning("job %s begins again when the backend's own parts answer: %s", job.id, away.message)
            await self._written(partial(claims.put_off, backend, job.id, away, _UNREACHABLE_PAUSE_S))
            return "queued"
        except (ProviderUnavailableError, BusyError) as busy:
            return await self._wait(job, busy)
        except IntegError as error:
            return await self._failed(job, error)
        except DBAPIError as error:
            return await self._fail_on_database(job, error)
        except Exception as error:
            _log.exception("job %s ended with a bug", job.id)
            return await self._failed(job, IntegError(f"an unexpected {type(error).__name__} ended the job", hint="see the log"))

        await jobs.hand_back(backend, job.id)
        raise asyncio.CancelledError

    async def _wait(self, job: ClaimedJob, busy: IntegError) -> str:
        """
        Raises:
            PutOffError: In process a message is to come again; elsewhere the row says when.
        """
        pause_s = self._pause_after(job, busy)
        if pause_s is None:
            return await self._failed(job, busy)
        if self._backend.settings.is_embedded:
            await jobs.put_off(self._backend, job.id, busy, pause_s)
            raise PutOffError(str(busy), pause_s) from busy
        scattered_s = pause_s + random.random() * min(pause_s, 5.0)  # so that those who wait for the same do not come back together
        await self._written(lambda: claims.put_off(self._backend, job.id, busy, scattered_s))
        return "queued"

    async def _failed(self, job: ClaimedJob, error: IntegError) -> str:
        await self._written(lambda: jobs.fail(self._backend, job.id, error))
        return "failed"

    async def _written(self, step: Callable[[], Awaitable[Any]]) -> None:
        """Do *step* once the database takes it. When this backend ends first, the job is found as one whose process died."""
        pause_s = 0.5
        while True:
            try:
                await step()
                return
            except (BackendUnreachableError, BusyError) as away:
                if self._backend.stopping.is_set():
                    return
                _log.warning("what became of a job can't be written down yet: %s", away.message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._backend.stopping.wait()
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _fail_on_database(self, job: ClaimedJob, error: DBAPIError) -> str:
        """A full disk may not even take the note that it is full; then the job stays, and is taken up by the next start."""
        _log.error("the database failed in job %s: %s", job.id, type(error.orig).__name__, exc_info=error)
        told = storage_error(error) or StorageError("the database refused what was to be stored", hint="see the log")
        try:
            return await self._failed(job, told)
        except DBAPIError:
            _log.error("and it does not take the failure of job %s either", job.id)
            return "dropped"

    def _pause_after(self, job: ClaimedJob, busy: IntegError) -> float | None:
        """How long to wait before another try; None when that would be longer than this backend waits."""
        pause_s = busy.retry_after_s if busy.retry_after_s is not None else 2.0 ** min(job.attempts - 1, 7)
        waited_s = (datetime.now(UTC) - job.started_at).total_seconds() if job.started_at else 0.0
        patience_s = self._backend.settings.retry_for_s
        if (busy.data or {}).get("in_line"):  # nothing is wrong: others of this backend ask the store first
            patience_s = max(patience_s, LONGEST_IN_LINE_S)
        return pause_s if waited_s + pause_s <= patience_s else None

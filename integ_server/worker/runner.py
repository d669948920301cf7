"""Does jobs on the event loop that owns the engine and the clients; the broker's threads only wait for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from datetime import UTC, datetime

from sqlalchemy.exc import DBAPIError

from integ_server.contract.errors import IntegError, ProviderUnavailableError, StorageError
from integ_server.db import storage_error
from integ_server.models.job import Job
from integ_server.services import jobs, metadata, sync
from integ_server.services.backend import Backend, StoppingError

BEAT_EVERY_S = 10.0
_END_WITHIN_S = 5.0
_log = logging.getLogger("integ.worker")


class PutOffError(Exception):
    """The store asks for a pause; the job is to be sent again in `pause_s`."""

    def __init__(self, message: str, pause_s: float) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class Runner:
    """
    One for each backend.

    Dramatiq could run async actors on a loop of its own, but a database pool and an httpx client belong to one loop: the app's.
    So each actor hands its job to that loop. It also lets any number of apps live in one process, and lets an ending
    app stop its jobs at once and give them back.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beating: asyncio.Task[None] | None = None

    def do_from_thread(self, job_id: str) -> None:
        """
        Do the job, and wait for its end; for the broker's threads.

        Raises:
            PutOffError: It is to be sent again.
        """
        if self._backend.stopping.is_set() or self._loop.is_closed():
            return
        coroutine = self._tracked(job_id)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop closed between the look and the call; the job waits for the next start
            coroutine.close()
            return
        with contextlib.suppress(concurrent.futures.CancelledError):
            future.result()

    async def stop(self) -> None:
        """
        Stop what runs, and give it back to whoever comes next: at once, but for a renewed sign-in, which would be lost with the
        answer, and what is just being written.
        """
        self._backend.stopping.set()
        running = {*self._tasks, *([self._beating] if self._beating else [])}
        if running:
            _, late = await asyncio.wait(running, timeout=_END_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _tracked(self, job_id: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())
        try:
            await self._do(job_id)
        finally:
            self._tasks.discard(task)

    async def _beat(self) -> None:
        """Show the jobs' other processes that this one lives, while it has something to do."""
        while self._tasks:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._backend.stopping.wait(), BEAT_EVERY_S)
                return
            try:
                await jobs.beat(self._backend)
            except DBAPIError as error:
                _log.warning("the database did not take a heartbeat: %s", type(error.orig).__name__)

    async def _do(self, job_id: str) -> None:
        job, is_cancelled = None, False
        try:
            job = await jobs.claim(self._backend, job_id)
            if job is None:
                return
            if job.kind == "sync":
                await sync.pull_account(self._backend, job)
            else:
                await metadata.read_due(self._backend, job)
        except StoppingError:
            await jobs.hand_back(self._backend, job_id)
        except asyncio.CancelledError:
            is_cancelled = True  # and out of here first: while the exception lives, so may a transaction that holds the lock
        except jobs.ClaimLostError:
            _log.info("job %s was taken over by another process", job_id)
        except ProviderUnavailableError as busy:
            assert job is not None
            pause_s = self._pause_after(job, busy)
            if pause_s is None:
                await jobs.fail(self._backend, job_id, busy)
                return
            await jobs.put_off(self._backend, job_id, "waiting")
            raise PutOffError(str(busy), pause_s) from busy
        except IntegError as error:
            await jobs.fail(self._backend, job_id, error)
        except DBAPIError as error:
            await self._fail_on_database(job_id, error)
        except Exception as error:
            _log.exception("job %s ended with a bug", job_id)
            await jobs.fail(self._backend, job_id, IntegError(f"an unexpected {type(error).__name__} ended the job", hint="see the log"))

        if is_cancelled:
            await jobs.hand_back(self._backend, job_id)
            raise asyncio.CancelledError

    async def _fail_on_database(self, job_id: str, error: DBAPIError) -> None:
        """A full disk may not even take the note that it is full; then the job stays, and is taken up by the next start."""
        _log.error("the database failed in job %s: %s", job_id, type(error.orig).__name__, exc_info=error)
        told = storage_error(error) or StorageError("the database refused what was to be stored", hint="see the log")
        try:
            await jobs.fail(self._backend, job_id, told)
        except DBAPIError:
            _log.error("and it does not take the failure of job %s either", job_id)

    def _pause_after(self, job: Job, busy: ProviderUnavailableError) -> float | None:
        """How long to wait before another try; None when that would be longer than this backend waits."""
        pause_s = busy.retry_after_s if busy.retry_after_s is not None else 2.0 ** min(job.attempts - 1, 7)
        waited_s = (datetime.now(UTC) - job.started_at).total_seconds() if job.started_at else 0.0
        return pause_s if waited_s + pause_s <= self._backend.settings.retry_for_s else None

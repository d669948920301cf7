"""
Ends of jobs that have nothing more to store. Those that come while others are being written gather, and go together: a transaction
of its own for each costs the database and this process more than most such jobs do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.db import Database
from integ_server.models.columns import Moment
from integ_server.models.tables import jobs
from integ_server.services import events, owner
from integ_server.services.rows import among_given, given

KEPT_FOR = timedelta(days=7)
"""Where no clean-up runs: in an embedded backend."""
_AT_ONCE = 500


class ClaimLostError(Exception):
    """Another process took the job over; what this one did must not be stored."""


class CancelledError(ClaimLostError):
    """The user wants the job no more; what was done of it must not be stored."""


class Endings:
    """One for each backend, in its loop. Whoever says that a job is done hears when that is stored, or why it is not."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._being_written = 0
        self._writer: asyncio.Task[None] | None = None
        self.heard: Callable[[], None] = lambda: None
        """Called each time a job is done but for the note of it."""

    @property
    def waiting(self) -> int:
        """How many jobs are done but for the note of it."""
        return len(self._waiting) + self._being_written

    async def done(self, job_id: str) -> None:
        """
        Write down that the job is done, which this process has claimed.

        Raises:
            ClaimLostError: Another process took the job over, or nobody wants it any more (CancelledError).
        """
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((job_id, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())
        self.heard()
        await stored

    async def close(self) -> None:
        """What was said is stored, even when nobody waits for it any more."""
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)

    async def _write_waiting(self) -> None:
        while self._waiting:
            lot, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            self._being_written = len(lot)
            try:
                refused = await self._write([job_id for job_id, _ in lot])
            except Exception as error:
                refused = {job_id: error for job_id, _ in lot}
            self._being_written = 0
            for job_id, stored in lot:
                if stored.done():  # whoever waited was stopped
                    continue
                if job_id in refused:
                    stored.set_exception(refused[job_id])
                else:
                    stored.set_result(None)

    async def _write(self, job_ids: Sequence[str]) -> dict[str, Exception]:
        """Why which of them did not end; the others did."""
        now = datetime.now(UTC)
        async with self._db.writing.begin() as session:
            dialect = session.get_bind().dialect.name
            mine = {"ids": given(dialect, job_ids), "me": owner.this_process()}
            ended = (await session.execute(_end(dialect), {**mine, "now": now})).all()
            for row in ended:
                events.job_stands(session, row)
            left = set(job_ids) - {row.id for row in ended}
            cancelled = set((await session.execute(_held(dialect), mine)).scalars()) if left else set()
            await forget_old(session, now)
        return {job_id: CancelledError() if job_id in cancelled else ClaimLostError() for job_id in left}


async def forget_old(session: AsyncSession, now: datetime) -> None:
    """Delete jobs that ended long ago, where nothing else does."""
    if session.get_bind().dialect.name == "sqlite":  # a backend that serves has a time for cleaning up
        await session.execute(jobs.delete().where(jobs.c.finished_at < now - KEPT_FOR))


@lru_cache
def _end(dialect: str) -> Any:
    done = {"state": "done", "stage": "", "counts": None, "error": None, "finished_at": bindparam("now", type_=Moment)}
    return update(jobs).where(*_mine(dialect), jobs.c.cancelled_at.is_(None)).values(**done).returning(*events.OF_A_JOB)


@lru_cache
def _held(dialect: str) -> Any:
    return select(jobs.c.id).where(*_mine(dialect))


def _mine(dialect: str) -> tuple[Any, ...]:
    # By id and no other way: what the index of running jobs has of those that ended a moment ago is more than what runs.
    runs = jobs.c.state.concat("") == "running"
    return among_given(dialect, jobs.c.id, "ids"), jobs.c.owner == bindparam("me"), runs


@asynccontextmanager
async def open_endings(db: Database) -> AsyncIterator[Endings]:
    endings = Endings(db)
    try:
        yield endings
    finally:
        await endings.close()

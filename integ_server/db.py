"""The database: one engine, one way to begin a transaction, the same for SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import IntegrityError as UniqueViolation
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from starlette.requests import Request

from integ_server.contract.errors import BusyError, IntegError, IntegrityError, StorageError
from integ_server.postgresql import Lent, RowReader, make_postgres_engine

BUSY_TIMEOUT_MS = 10_000
POOL = 20
STATEMENT_TIMEOUT_S = 30.0
_WRITES = "integ_writes"


@dataclass(frozen=True, slots=True)
class Database:
    """
    Sessions for one event loop; a pool is never shared between loops.

    `reading` begins a transaction that sees one state and never waits. `writing` takes SQLite's write lock at its very beginning,
    so that no transaction has to give up half-way because another process wrote meanwhile; keep it short, and never await
    the network inside.
    """

    engine: AsyncEngine
    reading: async_sessionmaker[AsyncSession]
    writing: async_sessionmaker[AsyncSession]
    lent: Lent
    readers: dict[Select[Any], RowReader] = field(default_factory=dict)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    async def read_row(self, statement: Select[Any], values: Mapping[str, Any], *, often: bool = False) -> Sequence[Any]:
        """
        The one row that *statement* finds. *often*: it is one of few that are always the same object, and binds and finds text and
        whole numbers alone, so that PostgreSQL's driver can be asked without anything between.
        """
        if often and not self.is_sqlite:
            reader = self.readers.get(statement)
            if reader is None:
                reader = self.readers[statement] = RowReader(self.lent, statement, self.engine)
            return await reader.read(values)
        async with self.reading() as session:
            return tuple((await session.execute(statement, values)).one())


@contextlib.asynccontextmanager
async def open_database(url: str, *, pool: int = POOL, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> AsyncIterator[Database]:
    """
    *pool* and *statement_timeout_s* are for PostgreSQL, whose failures that pass by themselves are raised as `BackendUnreachableError`
    and `BusyError`, both a 503 that says when to come back.
    """
    engine = make_engine(url, pool=pool, statement_timeout_s=statement_timeout_s)
    lent = Lent(engine, pool)
    try:
        writer = engine.execution_options(**{_WRITES: True})
        yield Database(
            engine,
            reading=async_sessionmaker(engine, expire_on_commit=False, autoflush=False),
            writing=async_sessionmaker(writer, expire_on_commit=False, autoflush=False),
            lent=lent,
        )
    finally:
        await lent.close()
        await engine.dispose()


def make_engine(url: str, *, pool: int = POOL, statement_timeout_s: float | None = None) -> AsyncEngine:
    """An engine whose connections keep foreign keys, wait for a busy file, and begin transactions when they are told to."""
    if url.startswith("postgresql"):
        return make_postgres_engine(url, pool, statement_timeout_s)
    engine = create_async_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """The transaction of one request: stored when the endpoint returns, undone when it raises."""
    database: Database = request.app.state.backend.db
    sessions = database.reading if request.method in {"GET", "HEAD"} else database.writing
    async with sessions.begin() as session:
        yield session


def after_commit(session: AsyncSession, send: Callable[[], object]) -> None:
    """Call *send* once what *session* holds is stored; never when it is undone."""
    event.listen(session.sync_session, "after_commit", lambda _: send(), once=True)


def storage_error(error: DBAPIError) -> IntegError | None:
    """What the database's own failure means to people; None for what can only be a bug."""
    said = str(error.orig).lower()
    if "database or disk is full" in said or "disk i/o error" in said or "no space left" in said or "readonly database" in said:
        return StorageError("the database can't be written: the disk is full or fails", hint="integ doctor")
    if "not a database" in said or "malformed" in said:
        return IntegrityError("the database file is damaged", hint="restore the newest integ.db.before-* beside it")
    if "database is locked" in said:
        return BusyError("the database is in use by another process for too long", hint="try again")
    if "unable to open database file" in said:
        return StorageError("the database file can't be opened", hint="integ doctor")
    if isinstance(error, UniqueViolation):
        return BusyError("another process changed the same thing at this very moment", hint="try again")
    return StorageError("the database does not answer", hint="try again") if isinstance(error, OperationalError) else None

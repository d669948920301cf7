"""PostgreSQL: a pool with limits, and what its failures mean to whoever asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from integ_server.contract.errors import BackendUnreachableError, BusyError, IntegError, StorageError

CONNECT_TIMEOUT_S = 10
POOL_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 20
IDLE_IN_TRANSACTION_TIMEOUT_S = 60
"""Nobody awaits the network inside a transaction; one that stands still has lost its client."""
_RECYCLE_AFTER_S = 1800
_SPARE_FOR_S = 0.01
_MOST_LENT = 5
"""More than one process keeps busy where an answer takes a millisecond. Where the database has few cores more of them wait for a core
instead of a place here: six made the slowest answers in a hundred twice as slow and none quicker, ten four times (`just bench api`)."""
_ASKS_FOR_A_NEW_CONNECTION = ("57P01", "57P02", "57P03", "57P05", "25P03", "08")
"""SQLSTATEs after which the server closes the connection, though the driver may not have noticed yet."""
_ANSWERS_LATER = {"40001", "40P01", "55P03", "57014"}
"""Another transaction was in the way, or it took too long."""
_IS_FULL = {"53100", "53200"}
_IS_REFUSED = {"28000", "28P01", "3D000", "42501"}


class _Pool(AsyncAdaptedQueuePool):
    waits = 0
    """How often all connections were in use when one was wanted."""
    waited_s = 0.0

    def connect(self) -> PoolProxiedConnection:
        began = time.monotonic() if self.checkedout() >= self.size() else None
        try:
            return super().connect()
        except PoolTimeoutError as error:
            raise _busy("the backend has too much to do at once", 1) from error
        finally:
            if began is not None:
                self.waits += 1
                self.waited_s += time.monotonic() - began


def make_postgres_engine(url: str, pool: int, statement_timeout_s: float | None) -> AsyncEngine:
    """
    At most *pool* connections; *statement_timeout_s* None is for migrations, which take as long as they take.

    Connections keep prepared statements, and their limits are told to the server as they are opened: between Integ and PostgreSQL there
    can be a PgBouncer in session mode with `ignore_startup_parameters`, and none in transaction mode. `_connect` says so.
    """
    limits = {"application_name": "integ", "jit": "off", "lock_timeout": str(LOCK_TIMEOUT_S * 1000)}
    options: dict[str, Any] = {"timeout": CONNECT_TIMEOUT_S, "async_creator_fn": _connect, "server_settings": limits}
    if statement_timeout_s is not None:
        limits["statement_timeout"] = str(int(statement_timeout_s * 1000))
        limits["idle_in_transaction_session_timeout"] = str(IDLE_IN_TRANSACTION_TIMEOUT_S * 1000)
        options["command_timeout"] = statement_timeout_s + 5  # for a server that can't say so itself any more
    else:
        limits["lock_timeout"] = "0"
    engine = create_async_engine(
        url,
        hide_parameters=True,
        poolclass=_Pool,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_recycle=_RECYCLE_AFTER_S,
        pool_use_lifo=True,  # few connections with warm caches instead of all of them now and then
        connect_args=options,
    )
    event.listen(engine.sync_engine, "checkout", _check_open)
    event.listen(engine.sync_engine, "handle_error", _rename)
    return engine


class Lent:
    """
    Connections of *engine*'s pool for single statements, few at once and never more than half of them. They go from one statement to
    the next, since to take one out of the pool costs as much as such a statement does; those that nobody needed for a moment go back.
    """

    def __init__(self, engine: AsyncEngine, pool: int) -> None:
        self._engine = engine
        self._places = asyncio.Semaphore(max(1, min(_MOST_LENT, pool // 2)))
        self._spare: list[PoolProxiedConnection] = []
        self._unneeded = 0
        """How many of the spare ones nobody has taken since the last look."""
        self._looking: asyncio.Task[None] | None = None

    async def take(self) -> PoolProxiedConnection:
        """
        Raises:
            BusyError: None became free in time.
        """
        if self._places.locked():
            try:
                async with asyncio.timeout(POOL_TIMEOUT_S):
                    await self._places.acquire()
            except TimeoutError:
                raise _busy("the backend has too much to do at once", 1) from None
        else:
            await self._places.acquire()
        try:
            while self._spare:
                connection = self._spare.pop()
                self._unneeded = min(self._unneeded, len(self._spare))
                if not _driver(connection).is_closed():
                    return connection
                await greenlet_spawn(connection.invalidate)
            return await greenlet_spawn(self._engine.sync_engine.raw_connection)
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: PoolProxiedConnection) -> None:
        self._places.release()
        self._spare.append(connection)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._return_unneeded())

    async def drop(self, connection: PoolProxiedConnection) -> None:
        """Close one that may be in any state."""
        self._places.release()
        await greenlet_spawn(connection.invalidate)

    async def close(self) -> None:
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _return_unneeded(self) -> None:
        while self._spare:
            self._unneeded = len(self._spare)
            await asyncio.sleep(_SPARE_FOR_S)
            unneeded, self._spare = self._spare[: self._unneeded], self._spare[self._unneeded :]
            for connection in unneeded:
                await greenlet_spawn(connection.close)


class RowReader:
    """
    A statement that finds one row, compiled once and sent by the driver itself. It is a transaction of its own: only it and its answer
    travel. It binds and finds text and whole numbers, nothing that SQLAlchemy would have to turn.
    """

    def __init__(self, lent: Lent, statement: Select[Any], engine: AsyncEngine) -> None:
        compiled = statement.compile(dialect=engine.dialect)
        self._lent = lent
        self._text = str(compiled)
        self._defaults: Mapping[str, Any] = compiled.params
        self._names: Sequence[str] = compiled.positiontup or ()

    async def read(self, values: Mapping[str, Any]) -> Sequence[Any]:
        """
        Raises:
            BackendUnreachableError: The database does not answer.
            BusyError: It has too much to do.
        """
        known = {**self._defaults, **values}
        connection: PoolProxiedConnection | None = None
        try:
            connection = await self._lent.take()
            found = await _driver(connection).fetchrow(self._text, *[known[name] for name in self._names])
        except IntegError:
            raise
        except BaseException as error:
            told = postgres_error(error, lost=connection is not None and _driver(connection).is_closed())
            if connection is not None:
                await self._lent.drop(connection)
            if told is not None:
                raise told from error
            raise
        self._lent.give_back(connection)
        return tuple(found)


def _driver(connection: PoolProxiedConnection) -> Any:
    return connection.driver_connection


async def _connect(*words: Any, **options: Any) -> Any:
    import asyncpg  # type: ignore[import-untyped]

    try:
        return await asyncpg.connect(*words, **options)
    except asyncpg.PostgresError as error:
        if "startup parameter" in str(error):
            raise StorageError(
                "INTEG_DATABASE_URL names a pooler that can't keep Integ's limits and prepared statements",
                hint="name PostgreSQL itself; Integ keeps a pool of its own (INTEG_DATABASE_POOL)",
            ) from error
        raise
    except (OSError, asyncpg.InterfaceError) as error:  # refused, no such socket, no answer in time
        raise _unreachable() from error


def _check_open(connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:
    """A connection that the server has closed is noticed without asking: a ping would cost each request a way there and back."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _rename(context: ExceptionContext) -> None:
    """Raise Integ's error in place of what passes by itself; what can only be a bug, or breaks a rule of a table, stays as it is."""
    original = context.original_exception
    state = getattr(original, "sqlstate", None) or ""
    if state.startswith(_ASKS_FOR_A_NEW_CONNECTION):
        context.is_disconnect = True
    told = postgres_error(original, lost=context.is_disconnect)
    if told is not None:
        raise told from original


def postgres_error(error: BaseException, *, lost: bool = False) -> IntegError | None:
    """What *error* of the driver means to people; None for what does not pass by itself. *lost*: the connection is gone."""
    state = getattr(error, "sqlstate", None) or ""
    if state in _IS_FULL:
        return StorageError("the database can't be written: the disk is full or fails", hint="make room where PostgreSQL keeps its data")
    if state in _IS_REFUSED:
        return StorageError("the database server refuses Integ's sign-in, or its database", hint="check INTEG_DATABASE_URL")
    if state in _ANSWERS_LATER:
        return _busy("the database is busy with something else for too long", 2)
    # 53300 are too many connections; 25006 is a server that became a copy of another one a moment ago.
    if lost or state in {"53300", "25006"} or state.startswith(_ASKS_FOR_A_NEW_CONNECTION) or isinstance(error, OSError):
        return _unreachable()
    return _unreachable() if isinstance(error, asyncio.TimeoutError) else None


def _unreachable() -> IntegError:
    return BackendUnreachableError("the backend's database does not answer", hint="try again in a moment", retry_after_s=1)


def _busy(message: str, retry_after_s: float) -> IntegError:
    error = BusyError(message, hint="try again in a moment", retry_after_s=retry_after_s)
    error.status = 503
    return error

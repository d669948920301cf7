"""Brings a database to this version's schema: once, under a lock, after a back-up."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from integ_server.contract.errors import BusyError, IntegError, IntegrityError, StorageError, UsageError
from integ_server.db import make_engine, storage_error

VERSIONS = Path(__file__).parent / "versions"
BACKUPS_KEPT = 3
_LOCK_WAIT_S = 120.0
_POSTGRES_LOCK = 0x696E746567  # "integ"


def known_revisions() -> list[str]:
    """The revisions this version has, oldest first; read from the file names, since importing Alembic takes 0.3 s."""
    return sorted(file.name.partition("_")[0] for file in VERSIONS.glob("[0-9]*.py"))


async def migrate(url: str) -> bool:
    """
    Bring the database at *url* to the newest revision; True when there was something to do.

    Safe for any number of processes at once: one does it, the others wait and find it done.

    Raises:
        IntegrityError: The database is newer than this version, or is none of ours.
        StorageError: It can't be read or written.
        BackendUnreachableError: Its server does not answer.
        BusyError: Another process has been migrating for minutes.
    """
    if not url.startswith("sqlite"):
        return await _migrate_postgres(url)
    path = Path(url.removeprefix("sqlite+aiosqlite:///"))
    if await asyncio.to_thread(_sqlite_revision, path) == known_revisions()[-1]:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with _only_one(path.with_name(f"{path.name}.migrate.lock")):
            found = await asyncio.to_thread(_sqlite_revision, path)
            if found == known_revisions()[-1]:
                return False
            if found is None:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            else:
                await asyncio.to_thread(_back_up, path, found)
            await _run(url)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror}", hint="integ doctor") from error
    return True


async def check_current(url: str) -> None:
    """
    For processes that must not migrate by themselves.

    Raises:
        UsageError: The database is not at this version's revision yet.
        IntegrityError: It is newer, or none of ours.
        StorageError: It can't be read.
        BackendUnreachableError: Its server does not answer.
    """
    if await found_revision(url) != known_revisions()[-1]:
        raise UsageError("the database is not brought up to date for this version yet", hint="integ migrate")


async def found_revision(url: str) -> str | None:
    """
    The revision that the database at *url* is at; None when it is empty.

    Raises:
        IntegrityError: It is newer than this version, or none of ours.
        StorageError: It can't be read.
    """
    if url.startswith("sqlite"):
        return await asyncio.to_thread(_sqlite_revision, Path(url.removeprefix("sqlite+aiosqlite:///")))
    engine = make_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_revision)
    except DBAPIError as error:
        raise _told(error) from error
    finally:
        await engine.dispose()


def check_revision(found: str | None, where: str) -> None:
    """
    Raises:
        IntegrityError: *found* is not one of this version's revisions.
    """
    if found is not None and found not in known_revisions():
        raise IntegrityError(
            f"{where} was written by a newer Integ (schema {found}, this one knows {known_revisions()[-1]})",
            hint="update Integ, or restore the back-up beside the database",
        )


def _sqlite_revision(path: Path) -> str | None:
    """The file's revision; None when it holds no tables yet, or does not exist."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        # Not `mode=ro`: after a crash only a writer can bring the write-ahead log back in.
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if "alembic_version" in names else None
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path} can't be read: {error}", hint="integ doctor") from error
    except sqlite3.DatabaseError as error:
        raise IntegrityError(f"{path} is not a database of Integ: {error}", hint="move it away, or restore a back-up of it") from error
    if row is None and names - {"alembic_version"}:
        raise IntegrityError(f"{path} is a database of something else", hint="move it away")
    found = str(row[0]) if row else None
    check_revision(found, str(path))
    return found


def _back_up(path: Path, revision: str) -> None:
    """A whole copy beside the file, under its final name only when it is complete; the newest few are kept."""
    target = path.with_name(f"{path.name}.before-{known_revisions()[-1]}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    work = target.with_name(f".{target.name}.part")
    try:
        work.unlink(missing_ok=True)
        os.close(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as old, contextlib.closing(sqlite3.connect(work)) as new:
            old.backup(new)
        handle = os.open(work, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        work.rename(target)
    except (OSError, sqlite3.Error) as error:
        work.unlink(missing_ok=True)
        raise StorageError(f"no back-up of {path} (schema {revision}) could be made: {error}", hint="integ doctor") from error
    for old_copy in sorted(path.parent.glob(f"{path.name}.before-*"), key=lambda each: each.stat().st_mtime)[:-BACKUPS_KEPT]:
        old_copy.unlink(missing_ok=True)


async def _migrate_postgres(url: str) -> bool:
    engine = make_engine(url)
    try:
        async with engine.connect() as connection:
            if await connection.run_sync(_revision) == known_revisions()[-1]:
                return False
            await connection.rollback()
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _POSTGRES_LOCK})
            await connection.commit()  # the lock is the session's and outlives the transaction
            if await connection.run_sync(_revision) == known_revisions()[-1]:
                return False
            await connection.rollback()
            await _upgrade(engine)
            return True
    except DBAPIError as error:
        raise _told(error) from error
    finally:
        await engine.dispose()


def _revision(connection: Connection) -> str | None:
    found = connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar()
    row = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if found else None
    check_revision(row, "the database")
    return row


async def _run(url: str) -> None:
    engine = make_engine(url)
    try:
        await _upgrade(engine)
    except DBAPIError as error:
        raise _told(error) from error
    finally:
        await engine.dispose()


async def _upgrade(engine: AsyncEngine) -> None:
    """Every revision in one transaction: both databases undo schema changes too."""
    async with engine.execution_options(integ_writes=True).begin() as connection:
        await connection.run_sync(_alembic(lambda command, config: command.upgrade(config, "head")))


def _alembic(do: Callable[[Any, Any], object]) -> Callable[[Connection], None]:
    def run(connection: Connection) -> None:
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        do(command, config)

    return run


def _told(error: DBAPIError) -> IntegError:
    return storage_error(error) or IntegError(f"the database could not be brought up to date: {type(error.orig).__name__}")


@contextlib.asynccontextmanager
async def _only_one(lock: Path) -> AsyncIterator[None]:
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise BusyError("another Integ is still bringing the database up to date", hint="wait for it") from None
            await asyncio.sleep(0.02)
        yield
    finally:
        os.close(handle)  # and with it the lock

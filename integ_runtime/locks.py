"""A lock between processes: `flock` on a file, which a dead process cannot keep."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from integ_server.contract.errors import BusyError, StorageError


@asynccontextmanager
async def only_one(lock: Path, *, wait_s: float | None = None, doing: str = "doing this") -> AsyncIterator[None]:
    """
    Hold *lock* while inside; the file holds nothing but the owner's pid for people to read. Whoever holds it may remove it.

    *wait_s* is how long to wait for another holder; None waits for as long as it takes, 0 not at all.

    Raises:
        BusyError: Somebody else still held it after *wait_s*.
        StorageError: There can be no such file.
    """
    import asyncio  # not for those who take `lock_file` alone, before there is a loop

    until = None if wait_s is None else time.monotonic() + wait_s
    pause_s = 0.005
    while (handle := lock_file(lock)) is None:
        if until is not None and time.monotonic() >= until:
            raise BusyError(f"another Integ is {doing} (pid {_owner(lock)})", hint="wait for it, or end it")
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.25)
    try:
        with suppress(OSError):  # on a full disk too something may have to be removed
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)  # and with it the lock


def lock_file(lock: Path, *, shared: bool = False) -> int | None:
    """
    A descriptor that holds *lock* until it is closed, in a folder that is made where it is missing; None when somebody else holds it.

    A file that its holder removed meanwhile is nobody's lock any more: the one that has its name now counts.

    Raises:
        StorageError: There can be no such file.
    """
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # the folder went in between
        except OSError as error:
            raise StorageError(f"{error.filename or lock} can't be used: {error.strerror}", hint="integ doctor") from error
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _owner(lock: Path) -> str:
    try:
        with lock.open("rb") as file:
            return file.read(32).decode("ascii", "replace").strip() or "unknown"
    except OSError:
        return "unknown"

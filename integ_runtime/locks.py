"""A lock between processes: `flock` on a file, which a dead process cannot keep."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from integ_server.contract.errors import BusyError


@asynccontextmanager
async def only_one(lock: Path, *, wait_s: float | None = None, doing: str = "this") -> AsyncIterator[None]:
    """
    Hold *lock* while inside; the file stays, it holds nothing but the owner's pid for people to read.

    *wait_s* is how long to wait for another holder; None waits for as long as it takes, 0 not at all.

    Raises:
        BusyError: Somebody else still held it after *wait_s*.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = None if wait_s is None else time.monotonic() + wait_s
        pause_s = 0.005
        while not _try_lock(handle):
            if until is not None and time.monotonic() >= until:
                raise BusyError(f"another Integ is doing {doing} (pid {_owner(handle)})", hint="wait for it, or end it")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.25)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)  # and with it the lock


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(handle: int) -> str:
    return os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"

"""Blocking work in a thread of its own that ends when the task that waits for it is cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from integ_runtime.progress import Progress, Report

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
_GRACE_S = 1.0
_REPORT_EVERY_S = 0.1


class StoppedError(Exception):
    """Somebody asked the work to end; never leaves this package's callers."""


class Stop:
    """Tells a thread to end; it has to look."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        if self._event.is_set():
            raise StoppedError

    def wait(self, seconds: float) -> None:
        """A pause that ends at once when it is time to stop."""
        if self._event.wait(seconds):
            raise StoppedError


async def in_background(work: Callable[[Stop], T], *, name: str) -> T:
    """
    What *work* returns or raises. When the waiting task is cancelled, *work* is told to stop and gets a second for it.

    A thread that does not look by then, because the network keeps it waiting, is left to end alone: it is a daemon, and so does not
    keep the process from ending as a thread of asyncio's own pool would.
    """
    import asyncio  # a launch of a Windows game looks for `Stop` alone, before there is a loop

    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    stop = Stop()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work(stop)
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        stop.set()
        done.add_done_callback(asyncio.Future.exception)  # looked at, now or later, so that it is not told as forgotten
        await asyncio.wait({done}, timeout=_GRACE_S)
        raise


class Reporter:
    """Hands progress from threads to *report* on the event loop, at most ten times a second for each stage."""

    def __init__(self, report: Report) -> None:
        import asyncio

        self._report = report
        self._loop = asyncio.get_running_loop()
        self._last: dict[str, float] = {}

    def __call__(self, progress: Progress, *, now: bool = False) -> None:
        moment = time.monotonic()
        if not now and moment - self._last.get(progress.stage, 0.0) < _REPORT_EVERY_S:
            return
        self._last[progress.stage] = moment
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._report, progress)

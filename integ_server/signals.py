"""Being told that the process is to end, whichever server runs the app, before that server waits for open connections."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop_signal(call: Callable[[], None]) -> Iterator[None]:
    """
    Inside, let SIGTERM and SIGINT call *call* in the running loop, and then do what they did before.

    An ASGI server ends the lifespan only after the last connection is closed, and tells no app of the signal. Outside of the main thread,
    where no signal arrives, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}

    def told(number: int, frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)
        then = before[number]
        if callable(then):
            then(number, frame)
        elif then == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in _SIGNALS:
        before[number] = signal.getsignal(number)
        if before[number] is not None:  # else it was not set from Python, and can't be put back
            signal.signal(number, told)
    try:
        yield
    finally:
        for number in _SIGNALS:
            if before[number] is not None and signal.getsignal(number) is told:
                signal.signal(number, before[number])

"""The player's bandwidth limit: one allowance for all that this process downloads, however many threads do it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integ_runtime.settings import RuntimeSettings
    from integ_server.upstream import BulkDoor

_BURST_S = 0.25
"""What an idle moment saves up: so much may come at once after it."""
_PORTIONS_A_SECOND = 16
"""Eight threads that read a portion each wait half a second, so that a cancellation is heard in time."""


class Throttle:
    """A token bucket; may be shared by threads."""

    def __init__(
        self, bytes_per_s: int, *, clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock, self._pause = clock, pause
        self._lock = threading.Lock()
        self._paid_until = clock()
        """The moment at which all that has come so far is allowed for."""

    def portion(self, n: int) -> int:
        """How much of *n* bytes to read at once: little enough that no wait for it is long."""
        return max(1, min(n, self._bytes_per_s // _PORTIONS_A_SECOND))

    def passed(self, count: int) -> None:
        """Come back when *count* more bytes may have arrived."""
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now - _BURST_S) + count / self._bytes_per_s
            early_s = self._paid_until - now
        if early_s > 0:
            self._pause(early_s)


def open_door(settings: RuntimeSettings) -> BulkDoor:
    """The way to big bodies that *settings* ask for; all doors of this process share one allowance."""
    from integ_server.upstream import BulkDoor

    limit = settings.bandwidth_limit
    return BulkDoor(settings.upstream_url, throttle=shared_throttle(limit) if limit else None)


@cache
def shared_throttle(bytes_per_s: int) -> Throttle:
    """The one allowance of this process."""
    return Throttle(bytes_per_s)

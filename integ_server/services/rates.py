"""How many requests a minute somebody makes, over all processes, without asking Redis for each of them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from integ_server.cache import Cache
from integ_server.contract.errors import BackendUnreachableError, RateLimitedError

PER_S = 60
_TOLD_EACH = 50
"""A process tells the others of its count in steps of this part of the limit: so many calls to Redis lie between none and too many."""
_MOST_KNOWN = 50_000


@dataclass(slots=True)
class _Tally:
    known: int = 0
    """What all processes have told each other."""
    fresh: int = 0
    """What this one has not told yet."""


class Rates:
    """
    Counts in windows of a minute. Each process may overshoot the limit by one step, two in a hundred; while Redis is away each counts for
    itself.
    """

    def __init__(self, cache: Cache, most: int) -> None:
        """*most* requests a minute; 0: any number."""
        self._cache, self._most = cache, most
        self._step = max(1, most // _TOLD_EACH)
        self._window = 0
        self._tallies: dict[str, _Tally] = {}

    async def count(self, who: str) -> None:
        """
        Count one request by *who*.

        Raises:
            RateLimitedError: There were too many in this minute; `retry_after_s` tells when the next one begins.
        """
        if not self._most:
            return
        tally = self._tally(who)
        self._check(tally)
        tally.fresh += 1
        if tally.fresh >= self._step:
            told, tally.fresh = tally.fresh, 0
            tally.known += told
            with contextlib.suppress(BackendUnreachableError):
                tally.known = await self._cache.increase(f"rates/{who}/{self._window}", 2 * PER_S, by=told)

    def check(self, who: str) -> None:
        """
        Look without counting.

        Raises:
            RateLimitedError: There were too many in this minute.
        """
        if self._most:
            self._check(self._tally(who))

    def _tally(self, who: str) -> _Tally:
        window = int(self._clock() // PER_S)
        if window != self._window or len(self._tallies) >= _MOST_KNOWN:
            self._window, self._tallies = window, {}
        return self._tallies.setdefault(who, _Tally())

    def _check(self, tally: _Tally) -> None:
        if tally.known + tally.fresh >= self._most:
            pause_s = PER_S - self._clock() % PER_S
            raise RateLimitedError("too many requests", hint="ask less often: at most so many a minute", retry_after_s=max(1.0, pause_s))

    def _clock(self) -> float:
        return time.time()

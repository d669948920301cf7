"""Gates that all processes of a backend share: however many there are, a store meets one of them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx

from integ_server.cache import Cache
from integ_server.contract.errors import BackendUnreachableError
from integ_server.gates import Gates, Sleep
from integ_server.pacing import Pace

LONGEST_WAIT_S = 10.0
"""For a turn; who would wait longer is told when to come back, and keeps nothing busy meanwhile."""
BUDGETS = {"steam": 100_000}
"""Calls a day with one key. Source: https://steamcommunity.com/dev/apiterms"""
WARNED_AT = 0.8
"""The share of a day's calls at which the log says so."""
_AS_MANY_PER_S = 5
"""Where only the number at once is limited: that many a second and place, as if an answer took a fifth of a second."""
_WITHOUT_REDIS_S = 5.0
_log = logging.getLogger("integ.stores")


class TurnTooFarError(httpx.TransportError):
    """It is not this request's turn for a while; nothing was sent."""

    def __init__(self, message: str, wait_s: float, *, in_line: bool) -> None:
        """*in_line*: others of this backend are before it, as opposed to the store having had enough."""
        super().__init__(message)
        self.wait_s, self.in_line = wait_s, in_line


class SharedGates(Gates):
    """
    The pace of a group of addresses, the pause that its store asked for, and a day's calls of each key are counted in the cache.

    While Redis is away each process keeps to the pace by itself, as an embedded backend does.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock, sleep=sleep)
        self._cache = cache
        self._wall_clock = wall_clock
        self._paused_until: dict[str, float] = {}
        self._away_until = 0.0

    async def enter(self, pace: Pace, key: str = "") -> asyncio.Semaphore:
        """
        Raises:
            TurnTooFarError: It would take longer than `LONGEST_WAIT_S`.
        """
        if self._clock() < self._away_until:
            return await self._enter_alone(pace, key)
        try:
            wait_s = await self._turn(pace, _digest(key) if key else "")
        except BackendUnreachableError:
            self._away_until = self._clock() + _WITHOUT_REDIS_S
            _log.warning("Redis is away: this process keeps to the stores' pace by itself")
            return await self._enter_alone(pace, key)
        if wait_s:
            await self._sleep(wait_s)
        places, _ = self._gate(pace)
        await places.acquire()
        return places

    async def pause(self, pace: Pace, pause_s: float) -> None:
        """Let nobody ask the store for *pause_s* seconds."""
        until = self._wall_clock() + pause_s
        self._paused_until[pace.group] = until
        try:
            await self._cache.set(f"pause/{pace.group}", f"{until:.3f}", pause_s)
        except BackendUnreachableError:
            _log.warning("Redis is away: only this process knows that %s asks for a pause", pace.group)

    async def _enter_alone(self, pace: Pace, key: str) -> asyncio.Semaphore:
        self._check_pause(pace, self._paused_until.get(pace.group, 0.0))
        return await super().enter(pace, key)

    async def _turn(self, pace: Pace, digest: str) -> float:
        """Seconds until it may ask; what is left of a pause, and then of the line."""
        until = max(float(await self._cache.get(f"pause/{pace.group}") or 0.0), self._paused_until.get(pace.group, 0.0))
        paused_s = self._check_pause(pace, until)
        per_s = pace.per_s or pace.at_once * _AS_MANY_PER_S
        burst = pace.burst or pace.at_once * _AS_MANY_PER_S
        most_s = LONGEST_WAIT_S - paused_s
        line = f"turn/{pace.group}/{digest}" if digest else f"turn/{pace.group}"
        wait_s = await self._cache.wait_for_turn(line, burst=burst, per_s=per_s, most_s=most_s)
        if wait_s > most_s:
            raise TurnTooFarError("many ask it at the moment", paused_s + wait_s, in_line=True)
        if digest and pace.group in BUDGETS:
            await self._spend(pace.group, digest, BUDGETS[pace.group])
        return paused_s + wait_s

    def _check_pause(self, pace: Pace, until: float) -> float:
        """What is left of the pause until that moment, if it is short enough to wait for."""
        left_s = max(0.0, until - self._wall_clock())
        if left_s > LONGEST_WAIT_S:
            raise TurnTooFarError("it asked for a pause", left_s, in_line=False)
        if not left_s:
            self._paused_until.pop(pace.group, None)
        return left_s

    async def _spend(self, group: str, digest: str, budget: int) -> None:
        now = datetime.fromtimestamp(self._wall_clock(), UTC)
        tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        left_s = (tomorrow - now).total_seconds()
        spent = await self._cache.increase(f"budget/{group}/{digest}/{now:%Y-%m-%d}", left_s + 3600)
        if spent == int(budget * WARNED_AT):
            _log.warning("%d of the %d calls that %s allows a day with one key are used up", spent, budget, group)
        if spent > budget:
            raise TurnTooFarError("today's calls with this key are used up", left_s, in_line=False)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]

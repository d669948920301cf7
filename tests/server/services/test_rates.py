from __future__ import annotations

import pytest

from integ_server.cache import Cache, MemoryCache
from integ_server.contract.errors import BackendUnreachableError, RateLimitedError
from integ_server.services.rates import Rates


class Counting(MemoryCache):
    """Counts how often it is asked, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.is_away = False

    async def increase(self, name: str, ttl_s: float, by: int = 1) -> int:
        self.asked += 1
        if self.is_away:
            raise BackendUnreachableError("away")
        return await super().increase(name, ttl_s, by)


class Clocked(Rates):
    now = 120.0

    def __init__(self, cache: Cache, most: int) -> None:
        super().__init__(cache, most)

    def _clock(self) -> float:
        return self.now


async def let_through(rates: Rates, who: str, tries: int) -> int:
    passed = 0
    for _ in range(tries):
        try:
            await rates.count(who)
            passed += 1
        except RateLimitedError:
            continue
    return passed


async def test_one_process_lets_exactly_so_many_through_and_tells_when_to_come_back() -> None:
    rates = Clocked(MemoryCache(), 100)
    rates.now = 130.0
    assert await let_through(rates, "ann", 150) == 100
    assert await let_through(rates, "bob", 1) == 1
    with pytest.raises(RateLimitedError) as caught:
        rates.check("ann")
    assert caught.value.retry_after_s == 50.0
    rates.now = 180.0
    assert await let_through(rates, "ann", 10) == 10


async def test_processes_count_together_within_a_step_each() -> None:
    cache = Counting()
    first, second = Clocked(cache, 100), Clocked(cache, 100)
    passed = 0
    for _ in range(100):
        passed += await let_through(first, "ann", 1) + await let_through(second, "ann", 1)
    assert 100 <= passed <= 104
    assert cache.asked <= 54, "not one call for each request"


async def test_a_large_limit_costs_few_calls() -> None:
    cache = Counting()
    assert await let_through(Clocked(cache, 1200), "ann", 2000) == 1200
    assert cache.asked == 50


async def test_while_redis_is_away_each_process_counts_for_itself() -> None:
    cache = Counting()
    cache.is_away = True
    assert await let_through(Clocked(cache, 100), "ann", 150) == 100


async def test_a_limit_of_none_is_none() -> None:
    cache = Counting()
    rates = Clocked(cache, 0)
    assert await let_through(rates, "ann", 5000) == 5000 and cache.asked == 0
    rates.check("ann")


async def test_memory_is_bounded_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integ_server.services.rates._MOST_KNOWN", 100)
    rates = Clocked(MemoryCache(), 100)
    for number in range(1000):
        await rates.count(f"address/{number}")
    assert len(rates._tallies) <= 100

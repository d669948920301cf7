"""The pace that all processes of a backend keep together, against a real Redis."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from integ_server.cache import Cache, MemoryCache, RedisCache, open_cache
from integ_server.contract.errors import RateLimitedError, UsageError
from integ_server.gates import OpenGates
from integ_server.pacing import Pace, key_of, pace_for
from integ_server.providers._http import ask
from integ_server.settings import ServerSettings
from integ_server.shared_gates import BUDGETS, LONGEST_WAIT_S, SharedGates, TurnTooFarError
from integ_server.transport import UpstreamTransport

PACE = Pace("example", at_once=4, burst=3, per_s=2.0)
STEAM = pace_for("api.steampowered.com", "/IPlayerService/GetOwnedGames/v1/")


@pytest.fixture
async def caches(redis_url: str) -> AsyncIterator[list[Cache]]:
    """Those of two processes of one backend."""
    async with AsyncExitStack() as opened:
        yield [await opened.enter_async_context(open_cache(redis_url)) for _ in range(2)]


class Pauses:
    """A sleep that only remembers."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_two_processes_together_ask_no_faster_than_one(caches: list[Cache]) -> None:
    pauses = Pauses()
    gates = [SharedGates(cache, sleep=pauses) for cache in caches]
    for turn in range(9):
        (await gates[turn % 2].enter(PACE)).release()
    assert len(pauses.slept) == 6, "three at once, then a wait for each"
    assert pauses.slept == sorted(pauses.slept)
    assert pauses.slept[-1] == pytest.approx(6 / 2.0, abs=0.3)


async def test_whoever_would_wait_long_is_told_when_to_come_back_and_takes_no_place(caches: list[Cache]) -> None:
    gates = SharedGates(caches[0], sleep=Pauses())
    for _ in range(3 + int(LONGEST_WAIT_S * 2)):
        (await gates.enter(PACE)).release()
    for _ in range(50):
        with pytest.raises(TurnTooFarError) as told:
            await gates.enter(PACE)
    assert told.value.in_line
    assert told.value.wait_s == pytest.approx(LONGEST_WAIT_S + 0.5, abs=0.5), "fifty refusals made the line no longer"


async def test_a_pause_that_a_store_asks_for_holds_everybody(caches: list[Cache]) -> None:
    answers = [httpx.Response(429, headers={"Retry-After": "120"}), httpx.Response(200)]
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return answers.pop(0)

    clients = [
        httpx.AsyncClient(
            transport=UpstreamTransport(open_transport=lambda _: httpx.MockTransport(answer), gates=SharedGates(cache, sleep=Pauses()))
        )
        for cache in caches
    ]
    try:
        assert (await clients[0].get("https://www.gog.com/a")).status_code == 429
        for http in clients:
            with pytest.raises(RateLimitedError) as told:
                await ask(http, "GOG", "https://embed.gog.com/b")
            assert told.value.retry_after_s == pytest.approx(120, abs=5)
            assert told.value.data is None, "a store's own pause counts as patience that is used up"
        assert asked == ["https://www.gog.com/a"]
        assert (await clients[1].get("https://elsewhere.example/")).status_code == 200
    finally:
        for http in clients:
            await http.aclose()


async def test_a_short_pause_is_waited_for(caches: list[Cache]) -> None:
    pauses = Pauses()
    first, second = SharedGates(caches[0], sleep=pauses), SharedGates(caches[1], sleep=pauses)
    await first.pause(PACE, 4.0)
    (await second.enter(PACE)).release()
    assert pauses.slept == [pytest.approx(4.0, abs=0.5)]


async def test_a_days_calls_of_a_key_are_counted_for_all_and_end_in_a_pause_until_the_next(
    caches: list[Cache], caplog: pytest.LogCaptureFixture
) -> None:
    noon = 1_795_305_600.0 + 12 * 3600
    gates = [SharedGates(cache, sleep=Pauses(), wall_clock=lambda: noon) for cache in caches]
    (await gates[0].enter(STEAM, "A" * 32)).release()
    (name,) = [each async for each in caches[0].redis.scan_iter("integ:budget/*")] if isinstance(caches[0], RedisCache) else [""]
    assert "A" * 32 not in name
    with caplog.at_level(logging.WARNING, "integ.stores"):
        await caches[0].increase(name.removeprefix("integ:"), 60, by=int(BUDGETS["steam"] * 0.8) - 2)
        (await gates[0].enter(STEAM, "A" * 32)).release()
        (await gates[1].enter(STEAM, "A" * 32)).release()
    assert [record.message for record in caplog.records] == ["80000 of the 100000 calls that steam allows a day with one key are used up"]
    await caches[0].increase(name.removeprefix("integ:"), 60, by=BUDGETS["steam"])
    with pytest.raises(TurnTooFarError) as told:
        await gates[1].enter(STEAM, "A" * 32)
    assert (told.value.wait_s, told.value.in_line) == (12 * 3600, False)
    (await gates[1].enter(STEAM, "B" * 32)).release()


async def test_without_redis_each_process_keeps_the_pace_by_itself(tmp_path: Path) -> None:
    cache, pauses = RedisCache(f"unix://{tmp_path}/nobody"), Pauses()
    gates = SharedGates(cache, sleep=pauses)
    try:
        for _ in range(5):
            (await gates.enter(PACE)).release()
        assert len(pauses.slept) == 2
        await gates.pause(PACE, 60)
        with pytest.raises(TurnTooFarError):
            await gates.enter(PACE)
    finally:
        await cache.close()


async def test_a_cancelled_wait_keeps_no_place(caches: list[Cache]) -> None:
    gates = SharedGates(MemoryCache())
    narrow = Pace("narrow", at_once=1, burst=100, per_s=100)
    place = await gates.enter(narrow)
    waiting = asyncio.create_task(gates.enter(narrow))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    place.release()
    (await asyncio.wait_for(gates.enter(narrow), 5)).release()


def test_only_calls_that_steam_counts_by_key_have_one() -> None:
    assert key_of(STEAM, {"key": "K"}) == "K"
    assert key_of(pace_for("api.gog.com", "/x"), {"key": "K"}) == ""


async def test_a_stand_in_on_this_machine_may_be_asked_without_any_pace() -> None:
    gates, began = OpenGates(), time.monotonic()
    for _ in range(300):
        (await gates.enter(STEAM, "K")).release()
    assert time.monotonic() - began < 2
    facts = {"database_url": "sqlite+aiosqlite:////x.db", "secret_key": "5f0c9a7be2d14836af907c1d3e8b6452"}
    for upstream in (None, "https://mirror.example"):
        with pytest.raises(ValueError, match="this machine alone"):
            ServerSettings.model_validate({**facts, "upstream_url": upstream, "upstream_unpaced": True})
    assert ServerSettings.model_validate({**facts, "upstream_url": "http://127.0.0.1:9", "upstream_unpaced": True}).upstream_unpaced


def test_the_setting_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("DATABASE_URL", "sqlite+aiosqlite:////x.db"),
        ("SECRET_KEY", "5f0c9a7be2d14836af907c1d3e8b6452"),
        ("UPSTREAM_UNPACED", "1"),
    ):
        monkeypatch.setenv(f"INTEG_{name}", value)
    with pytest.raises(UsageError, match="INTEG_UPSTREAM_UNPACED is wrong"):
        ServerSettings.from_environment(None)

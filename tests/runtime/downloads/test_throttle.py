"""The bandwidth limit, by a clock that moves when somebody waits."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from integ_runtime.downloads import throttle as module
from integ_runtime.downloads.fetch import Source, fetch
from integ_runtime.downloads.throttle import Throttle, open_door
from integ_runtime.settings import read_settings
from tests.runtime.downloads.loopback import Outside

LIMIT = 1_000_000


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        with self._lock:
            self.pauses.append(seconds)
            self.now += seconds


def make_throttle(clock: Clock, limit: int = LIMIT) -> Throttle:
    return Throttle(limit, clock=clock, pause=clock.pause)


def test_bytes_take_as_long_as_the_limit_says() -> None:
    clock = Clock()
    throttle = make_throttle(clock)
    for _ in range(100):
        throttle.passed(throttle.portion(1 << 20))
    assert clock.now - 1000 == pytest.approx(100 / 16)
    assert max(clock.pauses) <= 1 / 16 + 1e-6


def test_a_slow_source_is_not_held_back_further() -> None:
    clock = Clock()
    throttle = make_throttle(clock)
    for _ in range(100):
        clock.now += 0.1
        throttle.passed(LIMIT // 20)
    assert clock.pauses == []


def test_a_long_rest_saves_up_a_moment_only() -> None:
    clock = Clock()
    throttle = make_throttle(clock)
    clock.now += 3600
    began = clock.now
    throttle.passed(10 * LIMIT)
    assert clock.now - began == pytest.approx(10 - 0.25)


def test_threads_share_one_allowance() -> None:
    """However their reads fall together, they are never let through earlier than their bytes allow."""
    clock = Clock()
    throttle = make_throttle(clock)

    def read() -> None:
        for _ in range(50):
            throttle.passed(10_000)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now - 1000 >= 8 * 50 * 10_000 / LIMIT - 1e-6


@pytest.mark.parametrize("limit", [1, 15, 16, 1 << 40])
def test_a_portion_is_at_least_one_byte_and_never_more_than_asked(limit: int) -> None:
    throttle = make_throttle(Clock(), limit)
    assert 1 <= throttle.portion(1 << 20) <= max(1, limit // 16)
    assert throttle.portion(1) == 1


async def test_a_download_obeys_the_setting(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, outside = Clock(), Outside()
    monkeypatch.setattr(module, "shared_throttle", lambda limit: make_throttle(clock, limit))
    body = outside.files["/files.example.com/a.bin"] = random.Random(5).randbytes(200_000)
    with outside.running():
        settings = read_settings({"HOME": str(home), "INTEG_UPSTREAM_URL": outside.url, "INTEG_BANDWIDTH_LIMIT": "50000"})
        with open_door(settings) as door:
            await fetch(Source("https://files.example.com/a.bin"), tmp_path / "a.bin", door=door)
    assert (tmp_path / "a.bin").read_bytes() == body
    assert sum(clock.pauses) == pytest.approx(4.0)


def test_all_doors_of_a_process_share_one_allowance() -> None:
    assert module.shared_throttle(4 << 20) is module.shared_throttle(4 << 20)

"""Nothing is lost, doubled or left undone while processes die and servers restart."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.bench.measure import versions, write_result
from tests.e2e import chaos


@pytest.mark.integration
@pytest.mark.timeout(300)
async def test_a_few_players_sync_through_kills_and_restarts(tmp_path: Path) -> None:
    seed = random.randrange(10_000)
    figures = await chaos.run(tmp_path, seed=seed, players=5, kills=4, every_s=(1.0, 2.0), rounds=1)
    assert figures.failures == [], f"seed {seed}: {figures.told()}"
    assert figures.restarts.total() == 2 and figures.kills["api"] >= 1 and figures.kills["worker"] >= 1


@pytest.mark.torture
@pytest.mark.timeout(1800)
async def test_two_hundred_players_sync_through_kills_and_restarts(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(10_000)))
    print(f"seed {seed}")
    figures = await chaos.run(tmp_path, seed=seed, players=200, kills=20, every_s=(2.0, 4.0), rounds=2)
    told = figures.told()
    print(told)
    write_result("chaos", {**told, "versions": versions("asyncpg", "dramatiq", "redis", "sqlalchemy", "uvicorn")})
    assert figures.failures == [], f"seed {seed}"

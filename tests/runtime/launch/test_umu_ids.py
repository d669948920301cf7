"""What umu calls a game is learned from its database, kept for a while, and only read when the game starts."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.launch import umu_ids
from integ_runtime.launch.umu_ids import UmuIds
from integ_runtime.launch.umu_record import read_id
from integ_runtime.paths import read_paths
from tests.conftest_sandbox import RunningSandbox


@pytest.fixture
def installed(home: Path) -> InstalledGames:
    return InstalledGames(read_paths({"HOME": str(home)}))


@pytest.fixture
def keys(sandbox: RunningSandbox, installed: InstalledGames) -> tuple[str, str]:
    """A game that umu's database knows, and one that it does not; both installed."""
    titles = [title for title in sandbox.world.titles if title.gog is not None]
    known, unknown = (next(f"gog:{title.gog.id}" for title in titles if title.gog and bool(title.steam) is sold) for sold in (True, False))
    for key in (known, unknown):
        installed.save(InstalledGame(key, "Tea", installed.folder(key), "windows", "integ"))
    return known, unknown


@pytest.fixture
def ids(sandbox: RunningSandbox, installed: InstalledGames) -> UmuIds:
    return UmuIds(installed, sandbox.url)


def asked(sandbox: RunningSandbox) -> int:
    return sum(seen.path == "/umu_api.php" for seen in sandbox.requests)


def known_of(installed: InstalledGames, key: str) -> dict[str, Any]:
    return dict(json.loads((installed.folder(key) / umu_ids.RECORD).read_text()))


async def test_a_known_game_gets_its_id_and_an_unknown_one_the_default(
    sandbox: RunningSandbox, ids: UmuIds, installed: InstalledGames, keys: tuple[str, str]
) -> None:
    await ids.learn_due(installed.all())
    title = sandbox.world.gog_products[int(keys[0].partition(":")[2])]
    assert title.steam is not None
    assert [read_id(installed.folder(key)) for key in keys] == [f"umu-{title.steam.appid}", "umu-default"]
    assert asked(sandbox) == 2


@pytest.mark.parametrize(
    ("is_known", "days", "times"),
    [(True, 6.9, 0), (True, 7.1, 1), (False, 0.9, 0), (False, 1.1, 1), (True, -1.0, 1)],
    ids=["known, 6.9 days", "known, 7.1 days", "unknown, 0.9 days", "unknown, 1.1 days", "by a clock that was wrong"],
)
async def test_a_known_game_is_asked_about_once_a_week_and_an_unknown_one_once_a_day(
    sandbox: RunningSandbox, ids: UmuIds, installed: InstalledGames, keys: tuple[str, str], is_known: bool, days: float, times: int
) -> None:
    record = installed.folder(keys[0]) / umu_ids.RECORD
    record.write_text(json.dumps({"id": "umu-620" if is_known else None, "asked_at": int(time.time() - days * 86_400)}))
    await ids.learn_due([installed.get(keys[0])])
    assert asked(sandbox) == times


@pytest.mark.parametrize("fault", ["umu.text", "umu.down"])
async def test_an_answer_that_is_none_changes_nothing_and_is_asked_for_again(
    sandbox: RunningSandbox, ids: UmuIds, installed: InstalledGames, keys: tuple[str, str], fault: str
) -> None:
    sandbox.faults.on(fault)
    await ids.learn(keys[0])
    assert read_id(installed.folder(keys[0])) == "umu-default"
    sandbox.faults.off(fault)
    await ids.learn_due([installed.get(keys[0])])
    assert read_id(installed.folder(keys[0])) != "umu-default"


async def test_an_id_that_umu_would_not_take_is_never_written_down(
    sandbox: RunningSandbox, ids: UmuIds, installed: InstalledGames, keys: tuple[str, str]
) -> None:
    sandbox.faults.on("umu.odd_id")
    await ids.learn(keys[0])
    assert known_of(installed, keys[0])["id"] is None


@pytest.mark.parametrize("text", ["{", "[]", '{"id": 5}', '{"id": "umu-1; rm"}', '{"id": null}'])
def test_a_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / umu_ids.RECORD).write_text(text)
    assert read_id(tmp_path) == "umu-default"


async def test_a_database_that_does_not_answer_holds_nothing_up(
    installed: InstalledGames, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(umu_ids, "_MORE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and nobody reads from them
        ids = UmuIds(installed, f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with asyncio.timeout(5), ids.learning(keys[0], "windows"):
            pass
        assert read_id(installed.folder(keys[0])) == "umu-default"


async def test_only_windows_games_of_stores_that_umu_knows_are_asked_about(
    sandbox: RunningSandbox, ids: UmuIds, keys: tuple[str, str]
) -> None:
    async with ids.learning(keys[0], "linux"), ids.learning("local:tea", "windows"), ids.learning("steam:620", "windows"):
        pass
    assert asked(sandbox) == 0


async def test_an_answer_or_a_record_nested_without_end_is_as_good_as_none(
    ids: UmuIds, keys: tuple[str, str], installed: InstalledGames, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = installed.folder(keys[0]) / umu_ids.RECORD
    record.write_text("[" * 100_000)
    assert read_id(installed.folder(keys[0])) == "umu-default"

    @asynccontextmanager
    async def deep(_: str | None) -> AsyncIterator[httpx.AsyncClient]:
        answer = httpx.MockTransport(lambda request: httpx.Response(200, text="[" * 100_000))
        async with httpx.AsyncClient(transport=answer) as http:
            yield http

    monkeypatch.setattr("integ_server.upstream.open_upstream", deep)
    await ids.learn(keys[0])
    assert record.read_text() == "[" * 100_000

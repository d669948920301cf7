from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from sqlalchemy import select, update

from integ_server.contract.errors import AuthenticationError, ProviderError, ProviderUnavailableError, RateLimitedError
from integ_server.contract.types import SyncRequest
from integ_server.models.tables import accounts as accounts_table
from integ_server.models.tables import jobs as jobs_table
from integ_server.providers import providers
from integ_server.providers.base import GameProvider
from integ_server.services import access, jobs, sync
from integ_server.worker.broker import open_workers
from tests.conftest_sandbox import RunningSandbox
from tests.fakes import Shelf, fake_store, owned, told
from tests.server.conftest import KEY, Player, player_on

ROOT = Path(__file__).parents[3]
OVER = {"done", "failed"}


@asynccontextmanager
async def working(url: str, stores: Mapping[str, type[GameProvider]], **more: Any) -> AsyncIterator[Player]:
    """A player on a backend whose workers do what is queued."""
    async with player_on(url, stores, **more) as player, open_workers(player.backend):
        yield player


async def rows(player: Player) -> list[Any]:
    async with player.backend.db.reading() as session:
        return list((await session.execute(select(jobs_table).order_by(jobs_table.c.created_at, jobs_table.c.kind.desc()))).all())


async def finished(player: Player) -> list[Any]:
    """All jobs, once none is left to do."""

    async def wait() -> list[Any]:
        while True:
            found = await rows(player)
            if found and all(each.state in OVER for each in found):
                return found
            await asyncio.sleep(0.01)

    return await asyncio.wait_for(wait(), 30)


async def test_a_sync_and_the_metadata_after_it_are_done_without_anybody_waiting(database_url: str) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, metadata={"1": told("1", year=2001)})
    async with working(database_url, {"fake": fake_store(shelf)}) as player:
        await player.sign_in("fake", "ann")
        await player.start()
        done = await finished(player)
        assert [(each.kind, each.state) for each in done] == [("sync", "done"), ("metadata", "done")]
        assert (await player.everything()).titles[0].year == 2001


async def test_a_job_is_sent_after_the_commit_and_never_when_it_is_undone(sqlite_url: str) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    async with player_on(sqlite_url, {"fake": fake_store(shelf)}) as player:
        await player.sign_in("fake", "ann")
        sent: list[str] = []
        player.backend.send = lambda kind, queue, job_id, delay: sent.append(job_id)
        with pytest.raises(RuntimeError):
            async with player.backend.db.writing.begin() as session:
                await jobs.begin(player.backend, session, kind="sync", subject="sync/1", user_id="local", provider="fake", account_id=1)
                raise RuntimeError
        assert (sent, await rows(player)) == ([], [])
        assert await player.start() == sent


async def test_a_store_that_is_down_for_a_moment_is_asked_again(sqlite_url: str) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, fails=ProviderUnavailableError("down", retry_after_s=0.05))

    async def well_the_third_time() -> None:
        if shelf.lists_read == 3:
            shelf.fails = None

    shelf.before_list = well_the_third_time
    async with working(sqlite_url, {"fake": fake_store(shelf)}, retry_for_s=20) as player:
        await player.sign_in("fake", "ann")
        await player.start("fake")
        done = await finished(player)
    assert (done[0].state, done[0].attempts, shelf.lists_read) == ("done", 3, 3)


@pytest.mark.parametrize(
    ("failure", "kind", "pause"),
    [
        (RateLimitedError("slowly", retry_after_s=3600, hint="later"), "RateLimitedError", 3600),
        (ProviderUnavailableError("down"), "ProviderUnavailableError", None),
        (AuthenticationError("refused"), "AuthenticationError", None),
        (ProviderError("HTML"), "ProviderError", None),
        (ZeroDivisionError("secret detail"), "IntegError", None),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_a_failure_is_told_by_the_job_and_not_waited_for_longer_than_somebody_would(
    sqlite_url: str, failure: Exception, kind: str, pause: float | None
) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, fails=failure)
    async with working(sqlite_url, {"fake": fake_store(shelf)}, retry_for_s=0) as player:
        await player.sign_in("fake", "ann")
        await player.start()
        (row,) = await finished(player)
    assert (row.state, row.error["error"], row.error.get("retry_after_s")) == ("failed", kind, pause)
    assert "secret detail" not in json.dumps(row.error)
    assert shelf.lists_read == 1


async def test_an_app_that_ends_in_the_middle_hands_its_job_back_and_the_next_one_does_it(sqlite_url: str) -> None:
    shelf, reached, never = Shelf(games={"ann": [owned("1")]}), asyncio.Event(), asyncio.Event()

    async def stall() -> None:
        reached.set()
        await never.wait()

    shelf.before_list = stall
    stores = {"fake": fake_store(shelf)}
    async with working(sqlite_url, stores) as player:
        await player.sign_in("fake", "ann")
        (job_id,) = await player.start()
        await asyncio.wait_for(reached.wait(), 20)
    shelf.before_list = None
    async with player_on(sqlite_url, stores) as looking:
        (row,) = await rows(looking)
        assert (row.id, row.state, row.owner, row.attempts) == (job_id, "queued", None, 0)
    async with working(sqlite_url, stores) as player:
        assert await jobs.take_up(player.backend) == [job_id]
        done = await finished(player)
        assert done[0].state == "done" and len((await player.everything()).releases) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_apps_that_end_at_any_moment_leave_a_whole_library_no_lock_and_no_job_of_theirs(sqlite_url: str, seed: int) -> None:
    rng = random.Random(seed)
    shelf = Shelf(games={"ann": []}, metadata={str(number): told(str(number), year=1990 + number % 30) for number in range(400)})
    stores = {"fake": fake_store(shelf)}
    for turn in range(8):
        shelf.games["ann"] = [owned(str(number), playtime_min=rng.randint(0, 2)) for number in range(rng.randint(1, 400))]
        async with working(sqlite_url, stores) as player:
            if turn == 0:
                await player.sign_in("fake", "ann")
            await player.start()
            for _ in range(rng.randint(0, 300)):
                await asyncio.sleep(0)
        async with player_on(sqlite_url, stores) as looking:
            left = await rows(looking)
            assert [each for each in left if each.owner and each.state not in OVER] == []
            assert [each.error for each in left if each.state == "failed"] == []
            whole = await looking.everything()
            assert {each.title_id for each in whole.releases} == {each.id for each in whole.titles}
    async with working(sqlite_url, stores) as player:
        await jobs.take_up(player.backend)
        await player.start()
        await finished(player)
        told_now = await player.everything()
    assert {each.key for each in told_now.releases} == {f"fake:{each.provider_game_id}" for each in shelf.games["ann"]}


async def test_a_renewal_is_not_broken_off_by_the_end_of_the_app(sqlite_url: str) -> None:
    shelf, reached, go_on = Shelf(games={"ann": [owned("1")]}), asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        reached.set()
        await go_on.wait()

    shelf.before_renewal = slowly
    stores = {"fake": fake_store(shelf, renews=True)}
    async with player_on(sqlite_url, stores) as player:
        async with open_workers(player.backend):
            await player.sign_in("fake", "ann")
            async with player.backend.db.writing.begin() as session:
                await session.execute(update(accounts_table).values(access_expires_at=datetime.now(UTC)))
            await player.start()
            await asyncio.wait_for(reached.wait(), 20)
            asyncio.get_running_loop().call_later(0.2, go_on.set)
        shelf.before_renewal = None
        assert (await access.usable_login(player.backend, 1)).secret == "refresh-1"
        assert shelf.renewals == 1


async def test_two_apps_in_one_process_keep_their_jobs_apart(sqlite_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    default = dramatiq.get_broker()
    shelves = [Shelf(games={"ann": [owned("1", name)]}) for name in ("One", "Two")]
    urls = [sqlite_url, f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('two')}/integ.db"]
    async with AsyncExitStack() as opened:
        players = [
            await opened.enter_async_context(working(url, {"fake": fake_store(shelf)})) for url, shelf in zip(urls, shelves, strict=True)
        ]
        for player in players:
            await player.sign_in("fake", "ann")
            await player.start()
        for player, name in zip(players, ("One", "Two"), strict=True):
            await finished(player)
            assert [each.title for each in (await player.everything()).releases] == [name]
    assert dramatiq.get_broker() is default
    assert default.actors == {}


async def test_with_redis_one_process_asks_and_another_does_it(database_url: str, redis_url: str) -> None:
    shelf = Shelf(games={"ann": [owned("1")]}, metadata={"1": told("1")})
    stores = {"fake": fake_store(shelf)}
    async with player_on(database_url, stores):
        pass  # brought up to date, as `integ migrate` does for a served one
    served = {"is_embedded": False, "redis_url": redis_url}
    async with player_on(database_url, stores, **served) as asking, open_workers(asking.backend, consume=False):
        await asking.sign_in("fake", "ann")
        await asking.start()
        async with working(database_url, stores, **served):
            done = await finished(asking)
    assert [(each.kind, each.state) for each in done] == [("sync", "done"), ("metadata", "done")]


_STALLS = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.fakes import Shelf, fake_store, owned
from tests.server.worker.test_worker import working

async def main():
    async def stall():
        print("reading", flush=True)
        await asyncio.Event().wait()
    shelf = Shelf(games={{"ann": [owned("1")]}}, before_list=stall)
    async with working(sys.argv[1], {{"fake": fake_store(shelf)}}) as player:
        await player.sign_in("fake", "ann")
        await player.start()
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_job_of_a_killed_process_is_done_by_the_next_and_never_by_two(sqlite_url: str) -> None:
    killed = subprocess.Popen([sys.executable, "-c", _STALLS.format(root=str(ROOT)), sqlite_url], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert killed.stdout is not None and killed.stdout.readline() == b"reading\n"
        shelf = Shelf(games={"ann": [owned("1")]})
        async with working(sqlite_url, {"fake": fake_store(shelf)}) as player:
            (running,) = await rows(player)
            assert running.state == "running"
            assert await player.start() == [running.id], "the living process's job is answered instead of a second one"
            assert await jobs.take_up(player.backend) == [] and shelf.lists_read == 0

            killed.send_signal(signal.SIGKILL)
            killed.wait()
            assert await player.start() == [running.id]
            assert (await finished(player))[0].state == "done"
            assert shelf.lists_read == 1
    finally:
        killed.kill()
        killed.communicate()


async def test_a_worker_of_its_own_does_what_was_left_for_later_and_ends(sqlite_url: str, sandbox: RunningSandbox, tmp_path: Path) -> None:
    steam = {"steam": providers()["steam"]}
    key, account = sandbox.world.steam_key, sandbox.world.steam_id
    async with working(sqlite_url, steam, upstream_url=sandbox.url, steam_api_key=key) as player:
        await player.sign_in("steam", str(account), key=key)
        async with player.backend.db.writing.begin() as session:
            await sync.start(player.backend, session, player.user, SyncRequest(later=True))
    folder = Path(sqlite_url.removeprefix("sqlite+aiosqlite:///")).parent
    given = {"data_dir": str(folder), "secret_key": KEY, "upstream_url": sandbox.url, "steam_api_key": key}
    words = [sys.executable, "-m", "integ_server.worker", "--embedded"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    ended = await asyncio.to_thread(
        subprocess.run, words, input=json.dumps(given), text=True, cwd=ROOT, capture_output=True, timeout=60, env=environ, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    async with player_on(sqlite_url, steam) as player:
        assert {each.state for each in await rows(player)} == {"done"}
        assert len((await player.everything()).releases) > 3


def test_a_worker_that_is_told_nonsense_says_so_in_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "integ_server.worker", "--embedded"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    ended = subprocess.run(words, input="{}", text=True, cwd=ROOT, capture_output=True, timeout=60, env=environ, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1


async def test_a_redis_that_is_gone_costs_no_stored_job(sqlite_url: str, tmp_path: Path) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    stores = {"fake": fake_store(shelf)}
    async with player_on(sqlite_url, stores) as player:
        await player.sign_in("fake", "ann")
    served = {"is_embedded": False, "redis_url": f"unix://{tmp_path}/nobody"}
    async with player_on(sqlite_url, stores, **served) as asking, open_workers(asking.backend, consume=False):
        (job_id,) = await asking.start()
    async with working(sqlite_url, stores) as player:
        assert await jobs.take_up(player.backend) == [job_id]
        assert (await finished(player))[0].state == "done"

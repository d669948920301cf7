from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from integ_server.contract.errors import JobNotFoundError
from integ_server.contract.types import JobState
from integ_server.models.tables import jobs as jobs_table
from integ_server.services import claims, clean_up, jobs, owner, sync
from integ_server.services.queues import Queue
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenPlayer, Player


@pytest.fixture
def dead_owner() -> str:
    """How a process that is gone wrote itself down."""
    ask = "from integ_server.services.owner import this_process; print(this_process())"
    return subprocess.check_output([sys.executable, "-c", ask], text=True, cwd=Path(__file__).parents[3]).strip()


async def _a_player(open_player: OpenPlayer) -> Player:
    player: Player = await open_player({"fake": fake_store(Shelf(games={"ann": [owned("1")]}))})
    await player.sign_in("fake", "ann")
    return player


async def _set(player: Player, job_id: str, **values: Any) -> None:
    async with player.backend.db.writing.begin() as session:
        await session.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(**values))


async def _row(player: Player, job_id: str) -> Any:
    async with player.backend.db.reading() as session:
        return (await session.execute(select(jobs_table).where(jobs_table.c.id == job_id))).one()


async def test_a_second_request_gets_the_job_that_is_at_it_already(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    first = await player.start()
    await player.claim(first[0])
    assert await player.start() == first
    assert await jobs.claim(player.backend, first[0]) is None


async def test_the_job_of_a_killed_process_is_taken_up_by_the_next_request(open_player: OpenPlayer, dead_owner: str) -> None:
    player = await _a_player(open_player)
    (job_id,) = await player.start()
    await player.claim(job_id)
    await _set(player, job_id, owner=dead_owner)

    sent: list[str] = []
    player.backend.send = lambda kind, queue, job, delay: sent.append(job)
    assert await player.start() == [job_id]
    assert sent == [job_id]
    assert (await sync.pull_account(player.backend, await player.claim(job_id))).added == 1
    assert (await _row(player, job_id)).state == "done"


async def test_the_job_of_a_killed_process_is_taken_up_at_the_start_and_only_once(open_player: OpenPlayer, dead_owner: str) -> None:
    player = await _a_player(open_player)
    (job_id,) = await player.start()
    await player.claim(job_id)
    assert await jobs.take_up(player.backend) == []
    await _set(player, job_id, owner=dead_owner)

    assert await jobs.take_up(player.backend) == [job_id]
    assert await jobs.take_up(player.backend) == []


async def test_a_job_that_kills_every_worker_fails_in_the_end(open_player: OpenPlayer, dead_owner: str) -> None:
    player = await _a_player(open_player)
    (job_id,) = await player.start()
    await _set(player, job_id, owner=dead_owner, state="running", attempts=claims.MOST_ATTEMPTS)

    assert await jobs.take_up(player.backend) == []
    row = await _row(player, job_id)
    assert (row.state, row.error["error"]) == ("failed", "IntegError")
    assert await player.start() != [job_id]


async def test_a_job_of_another_container_is_left_alone_while_its_heart_beats(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    (job_id,) = await player.start()
    pid, start, boot, _ = owner.this_process().split()
    elsewhere = f"{pid} {start} {boot} pid:[1]"
    await _set(player, job_id, owner=elsewhere, state="running", heartbeat_at=datetime.now(UTC))
    assert await jobs.take_up(player.backend) == []

    await _set(player, job_id, heartbeat_at=datetime.now(UTC) - timedelta(minutes=1))
    assert await jobs.take_up(player.backend) == [job_id]


async def test_a_job_handed_back_waits_for_anybody_and_does_not_count_as_tried(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    (job_id,) = await player.start()
    await player.claim(job_id)
    await jobs.hand_back(player.backend, job_id)

    row = await _row(player, job_id)
    assert (row.state, row.owner, row.attempts) == ("queued", None, 0)
    if player.backend.settings.is_embedded:
        assert await jobs.take_up(player.backend) == [job_id]
    else:
        assert [job.id for job in await claims.claim_next(player.backend, list(Queue), 9)] == [job_id]


async def test_a_finished_job_makes_room_for_a_new_one_and_old_ones_are_forgotten(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    (first,) = await player.start()
    await sync.pull_account(player.backend, await player.claim(first))
    await _set(player, first, finished_at=datetime.now(UTC) - timedelta(days=30))
    (second,) = await player.start()
    await sync.pull_account(player.backend, await player.claim(second))
    if not player.backend.settings.is_embedded:  # there it is a job of its own, while an embedded one cleans up as it goes
        async with player.backend.db.writing.begin() as session:
            cleaning = await jobs.begin(player.backend, session, kind="clean-up", subject="clean-up", user_id=None)
        await clean_up.clean_up(player.backend, await player.claim(cleaning.id))

    async with player.backend.db.reading() as session:
        assert second != first
        assert (await jobs.get_job(session, player.user, second)).state is JobState.DONE
        for gone in (first, "no-such", "x\0", "é"):
            with pytest.raises(JobNotFoundError):
                await jobs.get_job(session, player.user, gone)
        with pytest.raises(JobNotFoundError):
            await jobs.get_job(session, "somebody", second)


async def test_the_status_shows_what_is_not_finished_and_the_newest_end_of_each_account(open_player: OpenPlayer) -> None:
    player = await _a_player(open_player)
    for _ in range(3):
        (done,) = await player.start()
        await sync.pull_account(player.backend, await player.claim(done))
    (waiting,) = await player.start()
    async with player.backend.db.reading() as session:
        shown = {(each.id, each.state) for each in await jobs.current(session, player.user) if each.kind == "sync"}
    assert (waiting, JobState.QUEUED) in shown and len(shown) == 2


def test_this_process_lives_and_a_recycled_pid_or_another_boot_does_not(dead_owner: str) -> None:
    me = owner.this_process()
    pid, start, boot, namespace = me.split()
    assert int(pid) == os.getpid()
    assert owner.is_alive(me, None, own_machine=True)
    assert not owner.is_alive(dead_owner, datetime.now(UTC), own_machine=True)
    assert not owner.is_alive(f"{pid} {int(start) - 1} {boot} {namespace}", datetime.now(UTC), own_machine=True)
    before_the_reboot = f"{pid} {start} 0 {namespace}"
    assert not owner.is_alive(before_the_reboot, datetime.now(UTC), own_machine=True)
    assert owner.is_alive(before_the_reboot, datetime.now(UTC), own_machine=False), "another machine's process is judged by its heart"
    assert not owner.is_alive(before_the_reboot, None, own_machine=False)
    for odd in ("", "x", "1 2 3", "-1 2 3 4"):
        assert not owner.is_alive(odd, datetime.now(UTC), own_machine=False)


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.stdin is not None
        _, _, boot, namespace = owner.this_process().split()
        start = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
        written = f"{child.pid} {start} {boot} {namespace}"
        assert owner.is_alive(written, None, own_machine=True)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
        assert not owner.is_alive(written, None, own_machine=True)
    finally:
        child.wait()

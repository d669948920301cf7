"""Periodic work: begun by one of many, and again after whatever went wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from integ_server.contract.types import AccountState
from integ_server.models.tables import accounts, games, jobs, library_entries, periodic_tasks, sessions, users
from integ_server.services import achievements, claims, clean_up, schedule
from integ_server.services import jobs as job_service
from integ_server.services.queues import Queue
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenPlayer, Player


async def _served(open_player: OpenPlayer, **more: Any) -> Player:
    player: Player = await open_player({"fake": fake_store(Shelf(games={"ann": [owned("1"), owned("2")], "bob": []}))}, **more)
    return player


async def _make_due(player: Player, *names: str) -> None:
    await schedule.ensure_tasks(player.backend)
    async with player.backend.db.writing.begin() as session:
        due = update(periodic_tasks).where(periodic_tasks.c.name.in_(names)).values(due_at=datetime.now(UTC) - timedelta(seconds=5))
        await session.execute(due)


async def _rows(player: Player, table: Any) -> list[Any]:
    async with player.backend.db.reading() as session:
        return list((await session.execute(select(table))).all())


async def test_of_many_workers_one_begins_what_is_due(open_player: OpenPlayer) -> None:
    player = await _served(open_player)
    await asyncio.gather(*(schedule.ensure_tasks(player.backend) for _ in range(3)))
    assert await schedule.begin_due(player.backend) == [], "nothing is due in the first minute"
    await _make_due(player, "proton-feed", "clean-up")
    begun = await asyncio.gather(*(schedule.begin_due(player.backend) for _ in range(8)))
    assert Counter(name for names in begun for name in names) == {"proton-feed": 1, "clean-up": 1}
    assert sorted((row.kind, row.queue, row.user_id) for row in await _rows(player, jobs)) == [
        ("clean-up", "later", None),
        ("proton-feed", "later", None),
    ]
    for row in await _rows(player, periodic_tasks):
        assert row.due_at > datetime.now(UTC)


async def test_a_worker_that_dies_while_it_begins_leaves_the_task_due(open_player: OpenPlayer, monkeypatch: pytest.MonkeyPatch) -> None:
    player = await _served(open_player)
    await _make_due(player, "clean-up")

    async def die(*words: object, **more: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(job_service, "begin", die)
        with pytest.raises(RuntimeError):
            await schedule.begin_due(player.backend)
    assert await schedule.begin_due(player.backend) == ["clean-up"]


async def test_libraries_are_synced_again_when_it_is_time_and_not_while_they_fail_or_are_signed_out(open_player: OpenPlayer) -> None:
    player = await _served(open_player, sync_every_h=10)
    for name in ("ann", "bob"):
        await player.sign_in("fake", name)
    await player.pull()

    async def begun_after(**values: Any) -> int:
        async with player.backend.db.writing.begin() as session:
            await session.execute(delete(jobs).where(jobs.c.state == "queued"))
            await session.execute(update(accounts).values(**values))
        await _make_due(player, "sync")
        assert await schedule.begin_due(player.backend) == ["sync"]
        return sum(row.state == "queued" and row.kind == "sync" for row in await _rows(player, jobs))

    now = datetime.now(UTC)
    assert await begun_after(last_sync_at=now - timedelta(hours=12)) == 0, "they were tried a moment ago"
    async with player.backend.db.writing.begin() as session:
        await session.execute(update(jobs).values(finished_at=now - timedelta(hours=2)))
    assert await begun_after(last_sync_at=now - timedelta(hours=8)) == 0
    assert await begun_after(last_sync_at=now - timedelta(hours=12)) == 2
    assert {row.queue for row in await _rows(player, jobs) if row.state == "queued" and row.kind == "sync"} == {"soon"}
    assert await begun_after(last_sync_at=now - timedelta(hours=12), state=AccountState.SIGNED_OUT) == 0


async def test_achievements_of_what_was_played_are_read_gently_and_for_nothing_else(open_player: OpenPlayer) -> None:
    played = owned("1", last_played_at=datetime(2026, 5, 1, tzinfo=UTC))
    shelf = Shelf(games={"ann": [played, owned("2")], "bob": [owned("2")]})
    player = await open_player({"fake": fake_store(shelf, reads_achievements=True, reads_metadata=False)}, achievements_every_h=10)
    for name in ("ann", "bob"):
        await player.sign_in("fake", name)
    await player.pull()

    async def begun() -> list[Any]:
        await _make_due(player, "achievements")
        assert await schedule.begin_due(player.backend) == ["achievements"]
        return [row for row in await _rows(player, jobs) if row.kind == "achievements" and row.state == "queued"]

    async def hours_pass(hours: int) -> None:
        async with player.backend.db.writing.begin() as session:
            past = timedelta(hours=hours)
            for row in (await session.execute(select(accounts.c.id, accounts.c.achievements_at))).all():
                await session.execute(update(accounts).where(accounts.c.id == row.id).values(achievements_at=row.achievements_at - past))

    (job,) = await begun()
    assert (job.account, job.subject, job.queue, job.user_id) == ("ann", f"achievements/{job.account_id}", "later", player.user)
    await hours_pass(11)
    assert [row.id for row in await begun()] == [job.id], "never two at once"
    claimed = await player.claim(job.id)
    await achievements.read_played(player.backend, claimed)
    assert shelf.achievements_asked == [("ann", "1")]
    await hours_pass(11)
    assert await begun() == [], "nothing was played since"

    shelf.games["ann"][0] = owned("1", last_played_at=datetime.now(UTC) + timedelta(minutes=5))
    await player.pull()
    assert await begun() == [], "it was looked at within the ten hours"
    await hours_pass(11)
    assert [row.account for row in await begun()] == ["ann"]


async def test_achievements_are_left_alone_when_that_is_wanted_or_the_account_is_private(open_player: OpenPlayer) -> None:
    shelf = Shelf(games={"ann": [owned("1", last_played_at=datetime(2026, 5, 1, tzinfo=UTC))]})
    player = await open_player({"fake": fake_store(shelf, reads_achievements=True, reads_metadata=False)}, achievements_every_h=0)
    await player.sign_in("fake", "ann")
    await player.pull()
    await _make_due(player, "achievements")
    await schedule.begin_due(player.backend)
    assert "achievements" not in {row.kind for row in await _rows(player, jobs)}
    player.backend.settings = player.backend.settings.model_copy(update={"achievements_every_h": 24.0})
    async with player.backend.db.writing.begin() as session:
        await session.execute(update(accounts).values(state=AccountState.PRIVATE))
    await _make_due(player, "achievements")
    await schedule.begin_due(player.backend)
    assert "achievements" not in {row.kind for row in await _rows(player, jobs)}


async def test_releases_that_nobody_told_of_are_asked_for_in_nobodys_name(open_player: OpenPlayer) -> None:
    player = await _served(open_player)
    await player.sign_in("fake", "ann")
    await player.pull()
    async with player.backend.db.writing.begin() as session:
        await session.execute(delete(jobs))
    await _make_due(player, "metadata")
    await schedule.begin_due(player.backend)
    assert [(row.kind, row.subject, row.user_id) for row in await _rows(player, jobs)] == [("metadata", "metadata/fake", None)]
    async with player.backend.db.writing.begin() as session:
        await session.execute(delete(jobs))
        await session.execute(update(games).values(metadata_due_at=None))
    await _make_due(player, "metadata")
    await schedule.begin_due(player.backend)
    assert await _rows(player, jobs) == []


async def test_cleaning_up_removes_what_is_old_and_tells_clients_that_were_away_to_read_anew(open_player: OpenPlayer) -> None:
    player = await _served(open_player)
    await player.sign_in("fake", "ann")
    await player.pull()
    known = (await player.changes()).revision
    now = datetime.now(UTC)
    long_ago = now - timedelta(days=400)
    async with player.backend.db.writing.begin() as session:
        later = (await session.execute(select(users.c.revision))).scalar_one() + 1
        await session.execute(update(users).values(revision=later))
        gone = update(library_entries).where(library_entries.c.game_key == "fake:2")
        await session.execute(gone.values(removed_at=long_ago, revision=later))
        facts = {"user_id": player.user, "device": "d", "scopes": [], "refresh_hash": "h", "created_at": long_ago, "last_used_at": long_ago}
        await session.execute(insert(sessions), [{"id": "old", "expires_at": long_ago, **facts}, {"id": "new", "expires_at": now, **facts}])
    assert [each.key for each in (await player.changes(known)).releases] == ["fake:2"]

    async with player.backend.db.writing.begin() as session:
        cleaning = await job_service.begin(player.backend, session, kind="clean-up", subject="clean-up", user_id=None)
    await clean_up.clean_up(player.backend, await player.claim(cleaning.id))
    assert [row.game_key for row in await _rows(player, library_entries)] == ["fake:1"]
    assert [row.id for row in await _rows(player, sessions)] == ["new"]
    changes = await player.changes(known)
    assert changes.reset and [each.key for each in changes.releases] == ["fake:1"]
    assert not (await player.changes(changes.revision)).reset


async def test_of_an_accounts_finished_jobs_the_newest_stays_and_earlier_ones_go_after_a_day(open_player: OpenPlayer) -> None:
    player = await _served(open_player)
    await player.sign_in("fake", "ann")
    for _ in range(4):
        await player.pull()
    async with player.backend.db.writing.begin() as session:
        ids = sorted((await session.execute(select(jobs.c.id).where(jobs.c.kind == "sync"))).scalars())
        for days, job_id in zip((2, 3, 4, 0.5), ids, strict=True):
            await session.execute(update(jobs).where(jobs.c.id == job_id).values(finished_at=datetime.now(UTC) - timedelta(days=days)))
        cleaning = await job_service.begin(player.backend, session, kind="clean-up", subject="clean-up", user_id=None)
    await clean_up.clean_up(player.backend, await player.claim(cleaning.id))
    assert [row.id for row in await _rows(player, jobs) if row.kind == "sync"] == [ids[3]]
    assert await claims.claim_next(player.backend, [Queue.LATER], 1) == []

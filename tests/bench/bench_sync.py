"""
Rows a second of a first and of an unchanged sync of 5,000 games, beside the same rows written by the database's own quickest way.

What is timed is what a sync does once the store's list is read: hold it against the tables, write what differs, commit. The yardstick
writes the very rows that this left behind (titles, games, entries) into an empty copy of the tables: on PostgreSQL by asyncpg's COPY into
temporary tables and INSERT … SELECT … ON CONFLICT, on SQLite by executemany, each in one transaction.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from integ_server.migrations.upgrade import migrate
from integ_server.models.account import Account
from integ_server.opening import open_backend
from integ_server.providers.base import OwnedGame
from integ_server.services import library, sync
from integ_server.services.backend import LOCAL_USER, Backend
from integ_server.settings import ServerSettings
from tests.bench.measure import versions, write_result
from tests.servers import postgres_server

TARGETS = {"postgresql": 0.6, "sqlite": 0.4}
TABLES = ("titles", "games", "library_entries")
_KEY = "k1:5f0c9a7be2d14836af907c1d3e8b6452"


@dataclass(frozen=True)
class Round:
    first_s: float
    unchanged_s: float
    yardstick_s: float
    rows: int
    revisions_when_unchanged: int


def games(count: int) -> dict[str, OwnedGame]:
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    return {
        f"steam:{number}": OwnedGame(str(number), f"Game {number} of the Harbour", playtime_min=number % 900, last_played_at=moment)
        for number in range(1, count + 1)
    }


@contextlib.asynccontextmanager
async def an_account(url: str) -> AsyncIterator[Backend]:
    """A migrated database with one user and one account that owns nothing yet."""
    await migrate(url)
    settings = ServerSettings.model_validate({"is_embedded": True, "database_url": url, "secret_key": _KEY})
    async with open_backend(settings, {}) as backend:
        await library.ensure_local_user(backend.db, LOCAL_USER)
        async with backend.db.writing.begin() as session:
            now = datetime.now(UTC)
            session.add(Account(id=1, user_id=LOCAL_USER, provider="steam", account="1", display_name="Ann", created_at=now))
        yield backend


async def store(backend: Backend, owned: dict[str, OwnedGame]) -> float:
    gc.collect()
    gc.freeze()  # as a worker does once it is warm
    began = time.perf_counter()
    async with backend.db.writing.begin() as session:
        account = await session.get(Account, 1)
        assert account is not None
        await sync._store_list(session, account, owned, asks_metadata=True)
    return time.perf_counter() - began


async def syncs(url: str, owned: dict[str, OwnedGame]) -> tuple[float, float, int]:
    """Seconds of a first sync and of an unchanged one, and how many revisions the second made: none, if it wrote nothing."""
    async with an_account(url) as backend:
        first_s = await store(backend, owned)
        async with backend.db.reading() as session:
            before = await library.revision(session, LOCAL_USER)
        unchanged_s = await store(backend, owned)
        async with backend.db.reading() as session:
            made = await library.revision(session, LOCAL_USER) - before
    return first_s, unchanged_s, made


async def on_postgres(url: str, other: str, owned: dict[str, OwnedGame]) -> Round:
    import asyncpg  # type: ignore[import-untyped]

    first_s, unchanged_s, made = await syncs(url, owned)
    async with an_account(other):
        pass
    source = await asyncpg.connect(_plain(url))
    target = await asyncpg.connect(_plain(other))
    try:
        rows = {table: [tuple(row) for row in await source.fetch(f"SELECT * FROM {table}")] for table in TABLES}
        began = time.perf_counter()
        async with target.transaction():
            for table in TABLES:
                await target.execute(f"CREATE TEMPORARY TABLE new_{table} (LIKE {table}) ON COMMIT DROP")
                await target.copy_records_to_table(f"new_{table}", records=rows[table])
                await target.execute(f"INSERT INTO {table} SELECT * FROM new_{table} ON CONFLICT DO NOTHING")
        yardstick_s = time.perf_counter() - began
    finally:
        await source.close()
        await target.close()
    return Round(first_s, unchanged_s, yardstick_s, sum(len(each) for each in rows.values()), made)


def _plain(url: str) -> str:
    return url.replace("postgresql+asyncpg", "postgresql")


async def on_sqlite(folder: Path, owned: dict[str, OwnedGame]) -> Round:
    files = [folder / f"{name}-{time.monotonic_ns()}.db" for name in ("own", "yardstick")]
    first_s, unchanged_s, made = await syncs(f"sqlite+aiosqlite:///{files[0]}", owned)
    async with an_account(f"sqlite+aiosqlite:///{files[1]}"):
        pass
    with contextlib.closing(sqlite3.connect(files[0])) as source, contextlib.closing(sqlite3.connect(files[1])) as target:
        rows: dict[str, list[Any]] = {table: source.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            target.execute(f"PRAGMA {pragma}")
        began = time.perf_counter()
        with target:
            for table in TABLES:
                target.executemany(
                    f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[table][0]))}) ON CONFLICT DO NOTHING", rows[table]
                )
        yardstick_s = time.perf_counter() - began
    return Round(first_s, unchanged_s, yardstick_s, sum(len(each) for each in rows.values()), made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    owned = games(wanted.games)
    found: dict[str, list[Round]] = {"postgresql": [], "sqlite": []}
    with postgres_server() as server, tempfile.TemporaryDirectory(prefix="integ-bench-") as folder:
        for number in range(wanted.rounds):
            found["postgresql"].append(asyncio.run(on_postgres(server.new_database(), server.new_database(), owned)))
            found["sqlite"].append(asyncio.run(on_sqlite(Path(folder), owned)))
            for name, rounds in found.items():
                print(f"  round {number + 1}: {name} {rounds[-1].first_s:.3f} s, yardstick {rounds[-1].yardstick_s:.3f} s", file=sys.stderr)
    figures = {name: _figures(rounds, wanted.games) for name, rounds in found.items()}
    for name, each in figures.items():
        print(f"sync on {name}: a first one at {each['ratio']} of the yardstick's rows a second (target {TARGETS[name]})")
    facts = {"games": wanted.games, "rounds": wanted.rounds, "targets": TARGETS}
    write_result("sync", {**facts, "databases": figures, "versions": versions("sqlalchemy", "asyncpg", "aiosqlite")})


def _figures(rounds: list[Round], count: int) -> dict[str, Any]:
    first_s, unchanged_s, yardstick_s = (
        median(getattr(each, name) for each in rounds) for name in ("first_s", "unchanged_s", "yardstick_s")
    )
    return {
        "rows": rounds[0].rows,
        "first_rows_per_s": round(rounds[0].rows / first_s),
        "yardstick_rows_per_s": round(rounds[0].rows / yardstick_s),
        "unchanged_games_per_s": round(count / unchanged_s),
        "ratio": round(yardstick_s / first_s, 3),
        "revisions_when_unchanged": max(each.revisions_when_unchanged for each in rounds),
        "first_runs_s": [round(each.first_s, 4) for each in rounds],
        "unchanged_runs_s": [round(each.unchanged_s, 4) for each in rounds],
        "yardstick_runs_s": [round(each.yardstick_s, 4) for each in rounds],
    }


if __name__ == "__main__":
    main()

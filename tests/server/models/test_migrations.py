from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Connection, MetaData, Table, text

from integ_server.contract.errors import BackendUnreachableError, IntegrityError, StorageError, UsageError
from integ_server.db import make_engine
from integ_server.migrations import upgrade
from integ_server.migrations.upgrade import check_current, known_revisions, migrate
from integ_server.models import tables
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import player_on

ROOT = Path(__file__).parents[3]
NEWEST = known_revisions()[-1]


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite+aiosqlite:///"))


async def _differences(url: str) -> list[Any]:
    def is_described(thing: Any, name: str | None, kind: str, *_: object) -> bool:
        return not (kind == "index" and name == "ix_games_name_parts")  # PostgreSQL's alone, where it has the extension

    def compare(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "include_object": is_described}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata))

    engine = make_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(compare)
    finally:
        await engine.dispose()


def test_the_file_names_tell_the_revisions_that_alembic_reads() -> None:
    config = Config()
    config.set_main_option("script_location", str(upgrade.VERSIONS.parent))
    config.set_main_option("path_separator", "os")
    found = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    assert list(reversed(found)) == known_revisions()


async def test_the_migrations_make_the_tables_that_the_models_describe_on_sqlite(sqlite_url: str) -> None:
    assert await migrate(sqlite_url)
    assert await _differences(sqlite_url) == []
    assert not await migrate(sqlite_url)
    await check_current(sqlite_url)


def test_the_migrations_make_the_tables_that_the_models_describe_on_postgresql(empty_postgres: str) -> None:
    async def go() -> None:
        with pytest.raises(UsageError, match="brought up to date"):
            await check_current(empty_postgres)
        assert sorted(await asyncio.gather(*(migrate(empty_postgres) for _ in range(4)))) == [False, False, False, True]
        assert await _differences(empty_postgres) == []
        await check_current(empty_postgres)

    asyncio.run(go())


def test_processes_that_start_on_an_empty_home_together_migrate_once(sqlite_url: str) -> None:
    code = "import asyncio, sys; from integ_server.migrations.upgrade import migrate; print(asyncio.run(migrate(sys.argv[1])))"
    words = [sys.executable, "-c", code, sqlite_url]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)]
    results = [each.communicate(timeout=60) for each in started]
    assert [error for _, error in results] == [""] * 4
    assert sorted(said.strip() for said, _ in results) == ["False", "False", "False", "True"]


async def test_the_database_is_its_owners_alone(sqlite_url: str) -> None:
    os.umask(0o022)
    await migrate(sqlite_url)
    assert stat.S_IMODE(_file(sqlite_url).stat().st_mode) == 0o600
    assert stat.S_IMODE(_file(sqlite_url).parent.stat().st_mode) == 0o700


async def test_data_is_backed_up_before_a_migration_and_the_newest_few_copies_are_kept(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shelf = Shelf(games={"ann": [owned("1")]})
    async with player_on(sqlite_url, {"fake": fake_store(shelf)}) as player:
        await player.sign_in("fake", "ann")
        await player.pull()
    later = _with_a_later_revision(tmp_path)
    monkeypatch.setattr(upgrade, "VERSIONS", later / "versions")
    monkeypatch.setattr(upgrade, "__file__", str(later / "upgrade.py"))
    for number in range(4):
        (_file(sqlite_url).parent / f"integ.db.before-0000-{number}").write_text("old")
        os.utime(_file(sqlite_url).parent / f"integ.db.before-0000-{number}", (number, number))

    assert await migrate(sqlite_url)

    copies = sorted(_file(sqlite_url).parent.glob("integ.db.before-*"))
    assert len(copies) == 3 and stat.S_IMODE(copies[-1].stat().st_mode) == 0o600
    with closing(sqlite3.connect(copies[-1])) as old, closing(sqlite3.connect(_file(sqlite_url))) as new:
        assert old.execute("SELECT version_num, (SELECT count(*) FROM games) FROM alembic_version").fetchone() == (NEWEST, 1)
        assert new.execute("SELECT version_num, (SELECT count(*) FROM games) FROM alembic_version").fetchone() == ("9999", 1)
        assert "note" in {row[1] for row in new.execute("PRAGMA table_info(users)")}


async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await migrate(sqlite_url)
    later = _with_a_later_revision(tmp_path, then="raise RuntimeError('half-way')")
    monkeypatch.setattr(upgrade, "VERSIONS", later / "versions")
    monkeypatch.setattr(upgrade, "__file__", str(later / "upgrade.py"))
    with pytest.raises(RuntimeError, match="half-way"):
        await migrate(sqlite_url)
    with closing(sqlite3.connect(_file(sqlite_url))) as found:
        assert found.execute("SELECT version_num FROM alembic_version").fetchone() == (NEWEST,)
        assert "note" not in {row[1] for row in found.execute("PRAGMA table_info(users)")}


async def test_a_database_of_a_newer_version_is_refused_untouched(database_url: str) -> None:
    await migrate(database_url)
    engine = make_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()
    for ask in (migrate, check_current):
        with pytest.raises(IntegrityError, match="newer Integ") as caught:
            await ask(database_url)
        assert "update Integ" in caught.value.hint


async def test_a_file_that_is_no_database_of_ours_is_told_and_left_alone(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database at all" * 100)
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE somebody (a)")
    for file in (garbage, other):
        before = file.read_bytes()
        with pytest.raises(IntegrityError):
            await migrate(f"sqlite+aiosqlite:///{file}")
        assert file.read_bytes() == before


async def test_a_folder_that_can_not_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        await migrate(f"sqlite+aiosqlite:///{tmp_path}/file/integ.db")


async def test_a_postgresql_that_is_not_there_is_told_as_one_that_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(BackendUnreachableError, match="database does not answer"):
        await migrate(f"postgresql+asyncpg://integ@/integ?host={tmp_path}")


def _with_a_later_revision(tmp_path: Path, then: str = "") -> Path:
    """A copy of the migrations with one more."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for file in (*upgrade.VERSIONS.glob("*.py"), upgrade.VERSIONS.parent / "env.py"):
        target = folder / "versions" if file.parent == upgrade.VERSIONS else folder
        (target / file.name).write_text(file.read_text())
    (folder / "versions" / "9999_later.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '9999'\ndown_revision = '{NEWEST}'\n\n\n"
        f"def upgrade():\n    op.add_column('users', sa.Column('note', sa.String()))\n    {then}\n"
    )
    return folder


def _a_row(table: Table) -> dict[str, Any]:
    """A row with a value in every column; all texts and all numbers are the same, so that foreign keys find what they point at."""
    made: dict[type, Any] = {bool: False, int: 1, str: "x", dict: {}, list: []}
    return {column.name: made[dict if isinstance(column.type, JSON) else column.type.python_type] for column in table.columns}


def _fill(connection: Connection) -> dict[str, dict[str, Any]]:
    known = MetaData()
    known.reflect(connection)
    rows = {table.name: _a_row(table) for table in known.sorted_tables if table.name != "alembic_version"}
    for table in known.sorted_tables:
        if table.name in rows:
            connection.execute(table.insert(), rows[table.name])
    return rows


def _read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    known = MetaData()
    known.reflect(connection)
    return {table.name: [dict(row._mapping) for row in connection.execute(table.select())] for table in known.sorted_tables}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def empty_url(request: pytest.FixtureRequest) -> str:
    """The address of a database without any tables, once on each."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres")
    if request.param == "sqlite":
        _file(url).parent.mkdir(parents=True)
    return url


@pytest.mark.parametrize("revision", known_revisions())
async def test_what_an_earlier_revision_holds_is_there_after_the_upgrade(revision: str, empty_url: str) -> None:
    url = empty_url
    engine = make_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade._alembic(lambda command, config: command.upgrade(config, revision)))
            before = await connection.run_sync(_fill)
        await engine.dispose()
        assert await migrate(url) == (revision != NEWEST)
        async with engine.connect() as connection:
            after = await connection.run_sync(_read)
    finally:
        await engine.dispose()
    for table, row in before.items():
        (kept,) = after[table]
        assert {name: kept[name] for name in row} == row, table
    assert await _differences(url) == []

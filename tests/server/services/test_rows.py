"""Statements about many rows at once, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from integ_server.migrations.upgrade import migrate
from integ_server.models.tables import games, titles
from integ_server.services.backend import Backend
from integ_server.services.rows import insert_rows, update_rows
from tests.server.conftest import OpenPlayer

MOMENT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
async def backend(open_player: OpenPlayer, database_url: str) -> Backend:
    if database_url.startswith("sqlite"):
        await migrate(database_url)
    backend: Backend = (await open_player({}, is_embedded=False)).backend
    title = {"id": "a", "founder": "x:1", "face": "x:1", "name": "A", "sort": "a", "guessed": False, "seniority": 1}
    async with backend.db.writing.begin() as session:
        await insert_rows(session, titles, [title])
    return backend


def _game(number: int, **more: Any) -> dict[str, Any]:
    named = {"name": "A", "sort": "a", "match_name": "a", "kind": "game", "parent_key": None, "platforms": ["linux"]}
    facts = {"key": f"x:{number}", "provider": "x", "provider_game_id": str(number), "title_id": "a", **named}
    return facts | {"metadata_found": False, "metadata_read_at": None, "metadata_due_at": MOMENT} | more


async def _stored(backend: Backend, *names: str) -> list[tuple[Any, ...]]:
    async with backend.db.reading() as session:
        return [tuple(row) for row in await session.execute(select(*(games.c[name] for name in names)).order_by(games.c.key))]


async def test_rows_are_stored_as_they_are_whether_they_share_values_or_not(backend: Backend) -> None:
    shared = ["linux", "mac"]
    rows = [
        _game(1, platforms=shared, parent_key=None),
        _game(2, platforms=shared, parent_key="x:1", metadata_found=True, metadata_due_at=None),
        _game(3, platforms=["a 'b' \\ \" , {c} NULL"], name="Ünï, {} \\ \"'", metadata_due_at=MOMENT + timedelta(days=1)),
    ]
    async with backend.db.writing.begin() as session:
        await insert_rows(session, games, rows)
    names = ("key", "name", "parent_key", "platforms", "metadata_found", "metadata_due_at", "kind")
    assert await _stored(backend, *names) == [tuple(row[name] for name in names) for row in rows]


async def test_one_row_is_stored_and_one_that_comes_again_is_left_out(backend: Backend) -> None:
    row = _game(1)
    async with backend.db.writing.begin() as session:
        await insert_rows(session, games, [row])
        await insert_rows(session, games, [row, row])
        await insert_rows(session, games, [_game(1, name="another"), _game(2)])
        await insert_rows(session, games, [])
    assert await _stored(backend, "key", "name") == [("x:1", "A"), ("x:2", "A")]


async def test_rows_are_changed_by_their_key_alike_or_each_in_its_way(backend: Backend) -> None:
    async with backend.db.writing.begin() as session:
        await insert_rows(session, games, [_game(number) for number in (1, 2, 3)])
        await update_rows(session, games, ("key",), [{"key": f"x:{number}", "metadata_due_at": None, "kind": "dlc"} for number in (1, 2)])
        await update_rows(session, games, ("key", "provider"), [{"key": "x:3", "provider": "x", "name": "C", "platforms": []}])
        await update_rows(session, games, ("key",), [{"key": "x:1", "name": "B"}, {"key": "x:2", "name": "D"}, {"key": "x:9", "name": "E"}])
    assert await _stored(backend, "key", "name", "kind", "metadata_due_at", "platforms") == [
        ("x:1", "B", "dlc", None, ["linux"]),
        ("x:2", "D", "dlc", None, ["linux"]),
        ("x:3", "C", "game", MOMENT, []),
    ]

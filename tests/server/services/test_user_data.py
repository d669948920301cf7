from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import JSON, BigInteger, Boolean, Column, Integer, Table, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from integ_server.app import create_app
from integ_server.contract.scopes import Scope
from integ_server.contract.user_data import CONFIRMATION, UserExport
from integ_server.models.columns import Moment
from integ_server.models.tables import games, metadata, titles, users
from integ_server.services import user_data
from integ_server.services.backend import LOCAL_USER, Backend
from tests.fakes import Shelf, fake_store, owned
from tests.server.conftest import OpenServed, Player, Served, settings_for

NOW = datetime(2026, 11, 25, tzinfo=UTC)
SECRET = "a-secret-that-must-not-leave"
TABLES = {
    "users",
    "accounts",
    "library_entries",
    "jobs",
    "sessions",
    "api_tokens",
    "game_preferences",
    "title_choices",
    "game_achievements",
    "webhooks",
    "webhook_deliveries",
}
_numbers = itertools.count(1)


def _value(column: Column[Any]) -> Any:
    """Something that fits into *column*, and tells itself when it should not have left."""
    if isinstance(column.type, Moment):
        return NOW
    if isinstance(column.type, JSON):
        return {}
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, Integer | BigInteger):
        return next(_numbers)
    if column.name in user_data.WITHHELD.get(column.table.name, set()):
        return f"{SECRET}-{next(_numbers)}"
    return f"{column.name}{next(_numbers)}"


async def _fill(session: AsyncSession, table: Table, user_id: str, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A row of *table* that is the user's, and whatever it points at; *rows* knows what was made already."""
    if table.name in rows:
        return rows[table.name]
    targets = {key.parent.name: (key.column.table, key.column.name) for key in table.foreign_keys}
    row: dict[str, Any] = {}
    for column in table.c:
        if column.name in targets:
            target, name = targets[column.name]
            row[column.name] = user_id if target is users else (await _fill(session, target, user_id, rows))[name]
        else:
            row[column.name] = _value(column)
    await session.execute(table.insert(), row)
    rows[table.name] = row
    return row


async def _fill_everything(backend: Backend, user_id: str) -> None:
    async with backend.db.writing.begin() as session:
        rows: dict[str, dict[str, Any]] = {"users": {}}
        for table in metadata.sorted_tables:
            await _fill(session, table, user_id, rows)


async def _counts(backend: Backend) -> dict[str, int]:
    async with backend.db.reading() as session:
        tables = metadata.sorted_tables
        return {table.name: (await session.execute(select(func.count()).select_from(table))).scalar_one() for table in tables}


@pytest.fixture
async def served(open_served: OpenServed) -> Served:
    made: Served = await open_served({})
    return made


def test_every_table_that_names_a_user_is_a_users_own() -> None:
    naming = {table.name for table in metadata.sorted_tables if any("user_id" in column.name for column in table.c)}
    assert naming <= {table.name for table in user_data.TABLES}, "a column that names a user needs a foreign key to users"
    assert {table.name for table in user_data.TABLES} == TABLES, "look at what the new table holds: is any of it a secret?"
    for name, columns in user_data.WITHHELD.items():
        assert columns <= set(metadata.tables[name].c.keys())


async def test_everything_of_a_user_goes_and_nothing_of_anybody_else(served: Served) -> None:
    ann, ben = await served.new_user("Ann"), await served.new_user("Ben")
    before = await _counts(served.backend)
    await _fill_everything(served.backend, ben)
    others = await _counts(served.backend)
    await _fill_everything(served.backend, ann)
    tokens = await served.new_tokens(ann)
    http = await served.http(tokens.access_token)
    answer = await http.request("DELETE", "/users/me", json={"confirm": CONFIRMATION})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["rows"] == {name: 2 if name == "sessions" else 1 for name in TABLES}
    after = await _counts(served.backend)
    shared = set(others) - TABLES
    assert {name: after[name] for name in TABLES} == {name: others[name] - (name == "users") for name in TABLES}
    assert {name: after[name] - others[name] for name in shared if after[name] != others[name]} == {
        name: 1 for name in shared if others[name] != before[name]
    }, "games, titles and what else is everybody's stay"


async def test_all_sign_ins_end_at_once(served: Served) -> None:
    ann = await served.new_user("Ann")
    one, two = await served.new_tokens(ann), await served.new_tokens(ann)
    script = await served.new_personal_token(ann)
    clients = [await served.http(token) for token in (one.access_token, two.access_token, script.token)]
    assert [(await each.get("/users/me")).status_code for each in clients] == [200, 200, 200]
    assert (await clients[1].request("DELETE", "/users/me", json={"confirm": CONFIRMATION})).status_code == 200
    assert [(await each.get("/users/me")).status_code for each in clients] == [401, 401, 401]
    refreshed = await (await served.http()).post("/auth/refresh", json={"refresh_token": one.refresh_token})
    assert refreshed.status_code == 401


@pytest.mark.parametrize("body", [None, {}, {"confirm": "yes"}, {"confirm": True}])
async def test_nothing_is_deleted_without_the_words(served: Served, body: Any) -> None:
    http = await served.signed_in()
    assert (await http.request("DELETE", "/users/me", json=body)).status_code == 422
    assert (await http.get("/users/me")).status_code == 200


async def test_a_token_for_the_library_neither_deletes_nor_exports(served: Served) -> None:
    http = await served.signed_in(scopes={Scope.LIBRARY_READ, Scope.LIBRARY_WRITE, Scope.ACCOUNTS})
    assert (await http.request("DELETE", "/users/me", json={"confirm": CONFIRMATION})).status_code == 403
    assert (await http.get("/users/me/export")).status_code == 403


async def _export(http: httpx.AsyncClient) -> UserExport:
    answer = await http.get("/users/me/export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json" and "attachment" in answer.headers["content-disposition"]
    assert SECRET not in answer.text
    envelope = answer.json()
    assert envelope.keys() == {"status", "data", "timestamp"} and envelope["status"] == "ok"
    found: UserExport = envelope["data"]
    return found


async def test_an_export_has_every_row_and_no_secret(served: Served) -> None:
    ann, ben = await served.new_user("Ann"), await served.new_user("Ben")
    await _fill_everything(served.backend, ben)
    await _fill_everything(served.backend, ann)
    data = await _export(await served.http((await served.new_tokens(ann)).access_token))
    assert {name: len(rows) for name, rows in data.items()} == {name: 2 if name == "sessions" else 1 for name in TABLES}
    assert data["users"][0]["name"] == "Ann"
    assert {row["user_id"] for rows in data.values() for row in rows if "user_id" in row} == {ann}
    (entry,) = data["library_entries"]
    assert entry["game"].startswith("name") and entry["added_at"] == "2026-11-25T00:00:00Z"
    for name, rows in data.items():
        exported = set(metadata.tables[name].c.keys()) - user_data.WITHHELD.get(name, set())
        assert all(set(row) - {"game", "stores_title_id"} == exported for row in rows)
        assert not [each for each in exported if any(word in each for word in ("secret", "hash", "token"))]


async def test_a_large_library_is_exported_whole(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_data, "_ROWS_AT_ONCE", 7)
    ann = await served.new_user("Ann")
    player = Player(served.backend, ann)
    shelf = Shelf(games={"ann": [owned(str(number)) for number in range(50)], "ann2": [owned(str(number)) for number in range(30, 80)]})
    served.backend.stores = {"fake": fake_store(shelf)(served.backend.http, None)}  # type: ignore[call-arg]
    served.backend.send = lambda *job: None
    for account in ("ann", "ann2"):
        await player.sign_in("fake", account)
    await player.pull()
    data = await _export(await served.http((await served.new_tokens(ann)).access_token))
    entries = {(row["account_id"], row["game_key"]) for row in data["library_entries"]}
    assert len(entries) == len(data["library_entries"]) == 100


async def test_the_user_of_an_embedded_backend_begins_anew(sqlite_url: str) -> None:
    app = create_app(settings_for(sqlite_url), stores={"fake": fake_store(Shelf(games={"ann": [owned("1", "Lantern Keep")]}))})
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://integ.embedded") as http:
        backend: Backend = app.state.backend
        backend.send = lambda *job: None
        player = Player(backend)
        await player.sign_in("fake", "ann")
        await player.pull()
        before = await player.changes()
        assert len(before.releases) == 1
        assert (await http.request("DELETE", "/users/me", json={"confirm": CONFIRMATION})).status_code == 200
        after = await player.changes(before.revision)
        assert (after.reset, after.releases, after.revision > before.revision) == (True, [], True)
        assert (await http.get("/users/me")).json()["data"]["id"] == LOCAL_USER
        assert (await http.get("/users/me/accounts")).json()["data"] == []
        async with backend.db.reading() as session:
            assert (await session.execute(select(func.count()).select_from(games))).scalar_one() == 1
            assert (await session.execute(select(func.count()).select_from(titles))).scalar_one() == 1
        await player.sign_in("fake", "ann")
        await player.pull()
        assert len((await player.changes()).releases) == 1

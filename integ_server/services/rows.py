"""
Statements about many rows at once.

SQLAlchemy's own executemany spends most of its time on each row's parameters. Here the values are converted column by column and
handed over in one piece: to SQLite's executemany, and to PostgreSQL as one array a column, which it unnests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Dialect, Select, String, Table, bindparam, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import Insert

T = TypeVar("T")
_POSTGRES: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def in_parts(values: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    every = values if isinstance(values, list | tuple) else list(values)
    for start in range(0, len(every), size):
        yield every[start : start + size]


async def select_where_in(session: AsyncSession, query: Select[Any], column: ColumnElement[Any], values: Iterable[Any]) -> list[Any]:
    """All rows of *query* whose text *column* is one of *values*, however many those are."""
    wanted = list(values)
    return list((await session.execute(query.where(among(session, column, wanted)))).all()) if wanted else []


def among(session: AsyncSession, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """That text *column* is one of *values*: they travel as one parameter, which takes neither time to compile nor a limit."""
    return among_on(session.get_bind().dialect.name, column, values)


def among_on(dialect: str, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """`among`, for a statement that is built before anybody asks."""
    if dialect == "postgresql":
        return column == func.any(bindparam(None, values, type_=postgresql.ARRAY(String)))
    return column.in_(select(func.json_each(json.dumps(values)).table_valued("value").c.value))


def among_given(dialect: str, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """`among`, for a statement that is built once: the values come as its parameter *name*, as `given` makes it."""
    if dialect == "postgresql":
        return column == func.any(bindparam(name, type_=postgresql.ARRAY(String)))
    return column.in_(select(func.json_each(bindparam(name, type_=String)).table_valued("value").c.value))


def given(dialect: str, values: Sequence[str]) -> Any:
    """*values* as one parameter."""
    return list(values) if dialect == "postgresql" else json.dumps(list(values))


def insert_or_skip(session: AsyncSession, table: Table) -> Insert:
    """An INSERT that leaves out rows which are there already."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


async def insert_rows(session: AsyncSession, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert *rows*, which all have the columns of the first; one that is there already is left out."""
    if not rows:
        return
    await _execute(session, table, _insert_sql, tuple(rows[0]), rows)


async def update_rows(session: AsyncSession, table: Table, by: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Update the row that each of *rows* finds by its columns *by* to what its other columns say; all have the first one's."""
    if not rows:
        return
    names = (*(name for name in rows[0] if name not in by), *by)
    await _execute(session, table, partial(_update_sql, by=tuple(by)), names, rows)


async def _execute(
    session: AsyncSession, table: Table, sql: Callable[..., str], names: tuple[str, ...], rows: Sequence[Mapping[str, Any]]
) -> None:
    connection = await session.connection()
    dialect = connection.dialect
    columns = {name: _converted(table, dialect, name, [row[name] for row in rows]) for name in names}
    if dialect.name != "postgresql":
        await connection.exec_driver_sql(sql(dialect.name, table, names, frozenset()), list(zip(*columns.values(), strict=True)))
        return
    same = frozenset(name for name, values in columns.items() if _is_same(values))
    if len(same) == len(names):  # one row, or one again and again: something has to say how many
        same = frozenset()
    told = {f"c{at}": values[0] if name in same else values for at, (name, values) in enumerate(columns.items())}
    await connection.execute(text(sql(dialect.name, table, names, same)), told)


def _is_same(values: Sequence[Any]) -> bool:
    """Whether it is one thing in every row: then it travels once."""
    first = values[0]
    return all(value is first for value in values)


def _converted(table: Table, dialect: Dialect, name: str, values: list[Any]) -> list[Any]:
    """What the driver takes; what is the very same thing in many rows is converted once."""
    convert = table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
    if convert is None:
        return values
    known = {id(value): value for value in values}
    converted = {at: convert(value) for at, value in known.items()}
    return [converted[id(value)] for value in values]


@lru_cache(maxsize=64)
def _insert_sql(dialect: str, table: Table, names: tuple[str, ...], same: frozenset[str]) -> str:
    into = f"INSERT INTO {table.name} ({', '.join(names)})"
    if dialect == "postgresql":
        return f"{into} {_given_rows(table, names, same)} ON CONFLICT DO NOTHING"
    return f"{into} VALUES ({', '.join('?' * len(names))}) ON CONFLICT DO NOTHING"


@lru_cache(maxsize=64)
def _update_sql(dialect: str, table: Table, names: tuple[str, ...], same: frozenset[str], *, by: tuple[str, ...]) -> str:
    changed = [name for name in names if name not in by]
    if dialect == "postgresql":
        sets = ", ".join(f"{name} = new.{name}" for name in changed)
        where = " AND ".join(f"{table.name}.{name} = new.{name}" for name in by)
        return f"UPDATE {table.name} SET {sets} FROM ({_given_rows(table, names, same)}) AS new WHERE {where}"  # noqa: S608 - our own names
    sets = ", ".join(f"{name} = ?" for name in changed)
    return f"UPDATE {table.name} SET {sets} WHERE {' AND '.join(f'{name} = ?' for name in by)}"  # noqa: S608


def _given_rows(table: Table, names: tuple[str, ...], same: frozenset[str]) -> str:
    """A SELECT of all that was given: columns of which every row has the *same* are one value, the others one array each."""
    sent = {name: f":c{at} AS {_sent_as(table, name)}" for at, name in enumerate(names)}
    several = [name for name in names if name not in same]
    arrays = ", ".join(f"CAST({sent[name]}[])" for name in several)
    source = {name: f"CAST({sent[name]})" if name in same else name for name in names}
    typed = ", ".join(f"CAST({source[name]} AS {_stored_as(table, name)}) AS {name}" for name in names)
    return f"SELECT {typed} FROM unnest({arrays}) AS given({', '.join(several)})"  # noqa: S608 - our own names


def _sent_as(table: Table, name: str) -> str:
    stored_as = _stored_as(table, name)
    return "TEXT" if stored_as == "JSONB" else stored_as


def _stored_as(table: Table, name: str) -> str:
    return table.c[name].type.compile(_POSTGRES)

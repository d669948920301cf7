"""Statements about many rows at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import Insert

T = TypeVar("T")
MOST_IN_ONE = 5_000
"""Values in one IN list; SQLite takes 32,766."""


def in_parts(values: Iterable[T], size: int = MOST_IN_ONE) -> Iterator[Sequence[T]]:
    every = values if isinstance(values, list | tuple) else list(values)
    for start in range(0, len(every), size):
        yield every[start : start + size]


async def select_where_in(session: AsyncSession, query: Select[Any], column: ColumnElement[Any], values: Iterable[Any]) -> list[Any]:
    """All rows of *query* whose *column* is one of *values*, however many those are."""
    found: list[Any] = []
    for part in in_parts(values):
        found.extend((await session.execute(query.where(column.in_(part)))).all())
    return found


def insert_or_skip(session: AsyncSession, table: Table) -> Insert:
    """An INSERT that leaves out rows which are there already."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()

"""
From old keys to the newest: what lies sealed in the database is sealed again, so that an old key may be taken out of INTEG_SECRET_KEY.

Safe beside backends that run, and to break off and begin again: each row changes only while it is what was read, and one whose sign-in a
store is renewing at this moment is left for a later pass, since whoever renews it compares as well. Access tokens need nothing: they
end by themselves half an hour after their key stopped signing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Table, func, or_, select, true, update

from integ_server.auth.crypto import Vault
from integ_server.contract.errors import AuthenticationError
from integ_server.models.tables import accounts, webhooks
from integ_server.services.access import sealed_about
from integ_server.services.backend import Backend

A_BATCH = 200
PASSES = 30
BETWEEN_PASSES_S = 2.0
_RENEWAL_IS_DEAD_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Sealed:
    table: Table
    column: str
    needs: tuple[str, ...]
    """Columns that say whose text it is."""
    about: Callable[[Any], str]


@dataclass(slots=True)
class Rotated:
    resealed: int = 0
    unreadable: int = 0
    """Sealed with a key that is not in the list any more, or damaged: only a new sign-in mends that."""
    left: int = 0
    """In use at every pass; rotate again."""


_SEALED = (
    _Sealed(accounts, "secret", ("provider", "account"), lambda row: sealed_about("secret", row.provider, row.account)),
    _Sealed(accounts, "access_token", ("provider", "account"), lambda row: sealed_about("access_token", row.provider, row.account)),
    _Sealed(webhooks, "secret", (), lambda row: f"webhooks.secret/{row.id}"),
)


async def rotate(backend: Backend, report: Callable[[int], object] = lambda done: None) -> Rotated:
    """
    Seal everything with the newest key that an older one sealed; *report* hears how many texts are done.

    Raises:
        StorageError: The database does not answer. What is done is done; begin again.
    """
    vault = Vault(backend.settings.secret_key)
    total = Rotated()
    for attempt in range(PASSES):
        if attempt:
            await asyncio.sleep(BETWEEN_PASSES_S)
        total.unreadable = total.left = 0
        for sealed in _SEALED:
            await _pass(backend, vault, sealed, total, report)
        if not total.left:
            break
    return total


async def old_texts(backend: Backend) -> int:
    """How many texts an older key sealed: none, and the older keys may go."""
    found = 0
    for sealed in _SEALED:
        old = _is_old(sealed.table.c[sealed.column], Vault(backend.settings.secret_key))
        async with backend.db.reading() as session:
            found += (await session.execute(select(func.count()).select_from(sealed.table).where(old))).scalar_one()
    return found


async def texts_by_key(backend: Backend) -> dict[str, int]:
    """How many texts each key of the list sealed, newest first; under an empty id those that none of them opens."""
    key_ids = Vault(backend.settings.secret_key).key_ids
    found = dict.fromkeys((*key_ids, ""), 0)
    async with backend.db.reading() as session:
        for sealed in _SEALED:
            column = sealed.table.c[sealed.column]
            count = select(func.count()).select_from(sealed.table).where(column.is_not(None))
            rest = (await session.execute(count)).scalar_one()
            for key_id in key_ids:
                texts = (await session.execute(count.where(column.startswith(f"v1.{key_id}.", autoescape=True)))).scalar_one()
                found[key_id] += texts
                rest -= texts
            found[""] += rest
    return found


async def _pass(backend: Backend, vault: Vault, sealed: _Sealed, total: Rotated, report: Callable[[int], object]) -> None:
    table, column = sealed.table, sealed.table.c[sealed.column]
    columns = [table.c.id, column.label("sealed"), *(table.c[name] for name in sealed.needs)]
    last: Any = None
    while True:
        query = select(*columns).where(_is_old(column, vault), true() if last is None else table.c.id > last)
        async with backend.db.reading() as session:
            rows = (await session.execute(query.order_by(table.c.id).limit(A_BATCH))).all()
        if not rows:
            return
        last = rows[-1].id
        async with backend.db.writing.begin() as session:
            for row in rows:
                try:
                    fresh = vault.seal(vault.open(row.sealed, sealed.about(row)), sealed.about(row))
                except AuthenticationError:
                    total.unreadable += 1
                    continue
                same = update(table).where(table.c.id == row.id, column == row.sealed, *_at_rest(table))
                changed = await session.execute(same.values({sealed.column: fresh}))
                assert isinstance(changed, CursorResult)
                total.resealed += changed.rowcount
                total.left += 1 - changed.rowcount
        report(total.resealed)


def _is_old(column: ColumnElement[Any], vault: Vault) -> ColumnElement[bool]:
    return column.is_not(None) & ~column.startswith(vault.newest_mark, autoescape=True)


def _at_rest(table: Table) -> list[ColumnElement[bool]]:
    """Nobody is renewing the row's sign-in: what a store gave instead of it would be dropped by whoever finds it changed."""
    if table is not accounts:
        return []
    long_ago = datetime.now(UTC) - _RENEWAL_IS_DEAD_AFTER
    return [or_(accounts.c.renewed_by.is_(None), accounts.c.renewed_since < long_ago)]

"""What happened, noted inside the transaction it happens in, and told once that is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from integ_server.contract.events import AccountChanged, EventName, LibraryChanged, PreferencesChanged, ProtonChanged
from integ_server.copies import Copies
from integ_server.db import Database
from integ_server.models.tables import jobs
from integ_server.services import deliveries
from integ_server.services.event_hub import EventHub
from integ_server.services.rows import among_given, given

MOST_KEYS = 50
_HUB, _COPIES, _NOTED = "integ.events", "integ.copies", "integ.noted"
_IN_STATUS = {EventName.LIBRARY_CHANGED, EventName.JOB_CHANGED, EventName.ACCOUNT_CHANGED}
OF_A_JOB = (jobs.c.user_id, jobs.c.id, jobs.c.kind, jobs.c.provider, jobs.c.state, jobs.c.stage, jobs.c.done, jobs.c.total)
"""What is told of it, and whom."""


@dataclass(slots=True)
class _Noted:
    """The events of one transaction; of several about the same thing the last one is told."""

    events: dict[tuple[str | None, EventName, str], dict[str, Any]] = field(default_factory=dict)
    job_ids: dict[str, None] = field(default_factory=dict)
    shut: list[str] = field(default_factory=list)
    """Copies that nobody may make before this transaction has ended."""
    mark: str = ""


def tell_through(db: Database, hub: EventHub, copies: Copies) -> None:
    """Let what is noted in the sessions of *db* go to *hub*, and end *copies* of what it is about."""
    db.writing.configure(info={_HUB: hub, _COPIES: copies})


def revision_copy(user_id: str) -> str:
    """Where the copy of the library's revision is."""
    return f"revision/{user_id}"


def status_copy(user_id: str) -> str:
    """Where the copy of the `SyncStatus` is."""
    return f"sync-status/{user_id}"


def library_changed(session: AsyncSession, user_id: str, revision: int) -> None:
    _noted(session).events[user_id, EventName.LIBRARY_CHANGED, ""] = LibraryChanged(revision=revision).model_dump(mode="json")


def job_changed(session: AsyncSession, job_id: str) -> None:
    """Told as its row stands at the commit."""
    _noted(session).job_ids[job_id] = None


def job_stands(session: AsyncSession | Session, columns: Iterable[Any]) -> None:
    """Told as its *columns* stand, which are those of `OF_A_JOB`; the backend's own work is nobody's news."""
    user_id, job_id, kind, provider, state, stage, done, total = columns
    if user_id is not None:  # a `JobChanged`, made by hand: two for each job are what a worker does most
        told = {"id": job_id, "kind": kind, "provider": provider, "state": state, "stage": stage, "done": done, "total": total}
        _noted(session).events[user_id, EventName.JOB_CHANGED, job_id] = told


def account_changed(session: AsyncSession, user_id: str, provider: str, account: str, state: str) -> None:
    told = AccountChanged(provider=provider, account=account, state=state)
    _noted(session).events[user_id, EventName.ACCOUNT_CHANGED, f"{provider}:{account}"] = told.model_dump(mode="json")


def preferences_changed(session: AsyncSession, user_id: str, keys: Iterable[str] = ()) -> None:
    """*keys* are the releases it is about; none: the user's own preferences."""
    first = sorted(keys)[:MOST_KEYS]
    about = "games" if first else "user"
    _noted(session).events[user_id, EventName.PREFERENCES_CHANGED, about] = PreferencesChanged(keys=first).model_dump(mode="json")


def proton_changed(session: AsyncSession, version: str, mirror_state: str) -> None:
    told = ProtonChanged(version=version, mirror_state=mirror_state)
    _noted(session).events[None, EventName.PROTON_CHANGED, version] = told.model_dump(mode="json")


def _noted(session: AsyncSession | Session) -> _Noted:
    noted: _Noted | None = session.info.get(_NOTED)
    if noted is None:
        noted = session.info[_NOTED] = _Noted()
        listening = session.sync_session if isinstance(session, AsyncSession) else session
        event.listen(listening, "before_commit", _complete)
        event.listen(listening, "after_commit", _tell)
        event.listen(listening, "after_rollback", _forget)
    return noted


@lru_cache
def _jobs(dialect: str) -> Any:
    return select(*OF_A_JOB).where(among_given(dialect, jobs.c.id, "ids"))


def _complete(session: Session) -> None:
    """With the last of the transaction's statements: read how the jobs stand, and write down what webhooks are to hear."""
    if session.in_nested_transaction():
        return
    noted: _Noted = session.info[_NOTED]
    if noted.job_ids:
        session.flush()
        dialect = session.get_bind().dialect.name
        for row in session.execute(_jobs(dialect), {"ids": given(dialect, list(noted.job_ids))}):
            job_stands(session, row)
        noted.job_ids.clear()
    deliveries.note(session, ((user_id, name, data) for (user_id, name, _), data in noted.events.items()))
    copies: Copies | None = session.info.get(_COPIES)
    if copies is not None:
        names = {status_copy(who) for who, name, _ in noted.events if who and name in _IN_STATUS}
        names |= {revision_copy(who) for who, name, _ in noted.events if who and name is EventName.LIBRARY_CHANGED}
        noted.shut = sorted(names)
        noted.mark = await_only(copies.shut(noted.shut)) if names else ""


def _tell(session: Session) -> None:
    if session.in_nested_transaction():
        return
    noted: _Noted = session.info[_NOTED]
    _end_copies(session, noted)  # whoever hears of it, or that it is done, is to find the new state
    hub: EventHub | None = session.info.get(_HUB)
    events, noted.events = noted.events, {}
    for (user_id, name, _), data in events.items():
        if hub is not None:
            hub.publish(user_id, name, data)


def _forget(session: Session) -> None:
    if session.in_nested_transaction():
        return
    noted: _Noted = session.info[_NOTED]
    noted.events.clear()
    noted.job_ids.clear()
    _end_copies(session, noted)


def _end_copies(session: Session, noted: _Noted) -> None:
    copies: Copies | None = session.info.get(_COPIES)
    if copies is not None and noted.shut:
        shut, noted.shut = noted.shut, []
        await_only(copies.forget(shut, noted.mark))

"""What a client hears of at once: names and data of the events of `GET /events` and of webhooks."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from integ_server.contract.types import JobKind, JobState, Wire


class EventName(StrEnum):
    LIBRARY_CHANGED = "library.changed"
    JOB_CHANGED = "job.changed"
    ACCOUNT_CHANGED = "account.changed"
    PREFERENCES_CHANGED = "preferences.changed"
    PROTON_CHANGED = "proton.changed"
    RESET = "reset"
    """Events may have been missed: ask again for everything, by revision. Never sent to a webhook."""


class LibraryChanged(Wire):
    revision: int
    """`GET /games/changes` reaches this one now."""


class JobChanged(Wire):
    id: str
    kind: JobKind
    provider: str
    state: JobState
    stage: str = ""
    done: int = 0
    total: int | None = None


class AccountChanged(Wire):
    provider: str
    account: str
    state: str
    """An `AccountState`."""


class PreferencesChanged(Wire):
    keys: list[str] = []
    """The releases whose preferences changed, the first of them when there are many; empty: the user's own."""


class ProtonChanged(Wire):
    version: str
    mirror_state: str


class Event(Wire):
    """One event as a client reads it. It says that something changed and is never the only place where that stands."""

    id: str = ""
    """Opaque; hand it back as `Last-Event-ID`."""
    event: str
    """An `EventName`; a newer backend may have more."""
    data: dict[str, Any] = Field(default_factory=dict)

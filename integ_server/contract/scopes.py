"""What a sign-in may be used for. Every route names the scope that it takes; a session has all of them, a token those it was made with."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    LIBRARY_READ = "library:read"
    """Games, changes, achievements, events, jobs, the state of a sync, the profile."""
    LIBRARY_WRITE = "library:write"
    """Preferences, merge and split."""
    SYNC = "sync"
    """Start and cancel syncs."""
    DOWNLOADS = "downloads"
    """Plans with signed links to what the player owns."""
    PROTON = "proton"
    """The catalogue of Proton versions, the mirror's archives, and asking the mirror for a version."""
    ACCOUNTS = "accounts"
    """Sign in to and out of stores."""
    WEBHOOKS = "webhooks"
    """Webhooks and their deliveries."""
    USER = "user"
    """Sessions, personal tokens, export and deletion of all data."""


ALL_SCOPES = frozenset(Scope)
EXPLAINED: dict[Scope, str] = {
    Scope.LIBRARY_READ: "read the library",
    Scope.LIBRARY_WRITE: "organise the library",
    Scope.SYNC: "start syncs",
    Scope.DOWNLOADS: "get download links of owned games",
    Scope.PROTON: "use the Proton catalogue and mirror",
    Scope.ACCOUNTS: "sign in to and out of stores",
    Scope.WEBHOOKS: "manage webhooks",
    Scope.USER: "manage sessions and tokens, export and delete all data",
}

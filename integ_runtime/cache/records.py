"""The rows of the library as both front ends see them; the fields are those of `integ list --json`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A game at one store. Moments are RFC 3339 text in UTC."""

    key: str
    provider: str
    provider_game_id: str
    title: str
    installed: bool = False
    install_path: str | None = None
    platforms: tuple[str, ...] = ()
    playtime_min: int = 0
    """The larger of the store's figure and Integ's own record."""
    last_played_at: str | None = None
    update_available: bool = False
    proton: str | None = None


@dataclass(frozen=True, slots=True)
class TitleRow:
    """A title with its releases, in a fixed order: by provider, then by key."""

    title_id: str
    title: str
    favourite: bool
    hidden: bool
    tags: tuple[str, ...]
    playtime_min: int
    """The sum of its releases'."""
    last_played_at: str | None
    installed: bool
    releases: tuple[ReleaseRow, ...]


@dataclass(frozen=True, slots=True)
class LocalFact:
    """What this machine alone knows of a release, from Steam's own files or from Integ's installs and play records."""

    key: str
    title: str = ""
    """Used only for a release that no store told us of."""
    platforms: tuple[str, ...] = ()
    installed: bool = False
    install_path: str | None = None
    playtime_min: int = 0
    last_played_at: str | None = None
    update_available: bool = False
    proton: str | None = None

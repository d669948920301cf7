"""The rows of the library as both front ends see them; the fields are those of `integ list --json`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple


class ReleaseRow(NamedTuple):
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


class TitleRow(NamedTuple):
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

    def as_dict(self) -> dict[str, Any]:
        return {**self._asdict(), "releases": [each._asdict() for each in self.releases]}


class LocalFact(NamedTuple):
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


class Waiting(NamedTuple):
    """A decision of the player's that the backend has not heard of, or whose outcome was not read yet."""

    what: Literal["game", "user", "merge", "split", "unsplit"]
    games: tuple[str, ...] = ()
    """Keys of releases; to be split, also a title's id."""
    wishes: Mapping[str, Any] = MappingProxyType({})
    """The fields of `GameWishes`, or for `user` of `UserWishes`, that were named."""
    at: str = ""
    """When it was decided: RFC 3339, UTC."""


class LaunchWishes(NamedTuple):
    """What counts when a release is started, as far as the library knows."""

    required_proton: str | None = None
    """The version that the store's metadata ask for."""
    proton: str | None = None
    """The version that the player chose, on whichever device."""
    proton_at: str | None = None
    """When this machine heard of that choice, or of its end; None: of none."""
    launch_options: str | None = None
    """What the player adds to the game's command line, quoted as for a shell."""


class Decided(NamedTuple):
    """What the player decided about one release and the title it is in."""

    key: str
    title_id: str
    title: str
    favourite: bool
    hidden: bool
    tags: tuple[str, ...]
    notes: str
    proton: str | None
    launch_options: str | None
    speaks_for_title: bool
    """True for one release of each title."""
    is_loose: bool = False
    """No store tells of it."""

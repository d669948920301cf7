"""What a player decides: about games, about which releases are one, and for all devices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from integ_server.contract.types import Wire

MOST_TAGS = 50
LONGEST_TAG = 60
LONGEST_NOTES = 10_000
LONGEST_OPTIONS = 2_000
MOST_MERGED = 100

Tag = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TAG)]
Version = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~ ()-]*$")]
Language = Annotated[str, StringConstraints(min_length=2, max_length=35, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
GameName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A release's key or a title's id."""


class Wishes(Wire):
    """A change: what is left out stays as it is, and what is not known is refused rather than lost."""

    model_config = ConfigDict(extra="forbid")


class UserWishes(Wishes):
    """Body of `PATCH /users/preferences`; null takes a wish back."""

    default_proton: Version | None = None
    platform: Literal["linux", "windows"] | None = None
    language: Language | None = None


class GameWishes(Wishes):
    """
    Body of `PUT /games/{key}/preferences`.

    Favourite, hidden, tags and notes are the whole title's; `proton` and `launch_options` are the release's, or all the title's
    releases' when a title is named.
    """

    favourite: bool = False
    hidden: bool | None = None
    """null: as the store has it."""
    tags: list[Tag] = Field(default=[], max_length=MOST_TAGS)
    """All of them, instead of those there were."""
    add_tags: list[Tag] = Field(default=[], max_length=MOST_TAGS)
    remove_tags: list[Tag] = Field(default=[], max_length=MOST_TAGS)
    notes: str = Field(default="", max_length=LONGEST_NOTES)
    proton: Version | None = None
    launch_options: str | None = Field(default=None, max_length=LONGEST_OPTIONS)


class ReleaseWishes(Wire):
    key: str
    proton: str | None = None
    launch_options: str | None = None


class GamePreferences(Wire):
    """What the player decided about a title, as it is in force."""

    title_id: str
    """Empty for a game that no store told the backend of."""
    favourite: bool = False
    hidden: bool | None = None
    """The player's decision; None: as the store has it."""
    tags: list[str] = []
    notes: str = ""
    releases: list[ReleaseWishes] = []


class MergeWish(Wishes):
    """Body of `POST /games/merge`: the games become one title, the first one's."""

    games: list[GameName] = Field(min_length=2, max_length=MOST_MERGED)


class SplitWish(Wishes):
    """Body of `POST /games/split`: a release leaves its title; or the merges that made a title are undone."""

    game: GameName
    undo: bool = False
    """Put back what was split off."""


class Arrangement(Wire):
    """A title after a merge or split, and the releases in it."""

    title_id: str
    keys: list[str]


class Arranged(Wire):
    changed: bool
    titles: list[Arrangement]
    """Those that the request was about."""

"""What a store has to be able to do, and the plain data it hands out. A store sees no table, session or user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, Protocol, runtime_checkable

import httpx

from integ_server.contract.achievements import Achievement
from integ_server.contract.types import DownloadPlan, DownloadRequest, SignInAnswer, SignInWay, TitleDetails


@dataclass(slots=True)
class Credentials:
    """One account's sign-in, as a store needs it for a call."""

    account: str
    """The store's own id of the account."""
    secret: str = field(repr=False)
    """What lasts: a Web API key, a refresh token."""
    access_token: str = field(default="", repr=False)
    """What is short-lived, for stores that have it; kept fresh by the caller through `RenewsAccess`."""
    access_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoreProfile:
    """How a store shows an account to people."""

    display_name: str
    avatar_url: str = ""
    profile_url: str = ""


@dataclass(frozen=True, slots=True)
class SignedInAccount:
    credentials: Credentials
    display_name: str
    avatar_url: str = ""
    profile_url: str = ""


@dataclass(frozen=True, slots=True)
class QrSession:
    """A sign-in that waits for the player's phone."""

    address: str
    """What the QR code says; it may change while the session lives."""
    handle: str = field(repr=False)
    """What the store needs to ask for the outcome; whoever has it is given the account's tokens."""
    poll_every_s: float
    """Not to be asked for more often."""
    is_scanned: bool = False
    """The phone has read the code, and the player has not answered yet."""


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """What the backend's settings say to the stores."""

    steam_api_key: str = field(default="", repr=False)
    gog_client_id: str = ""
    gog_client_secret: str = field(default="", repr=False)
    """Empty: the public pair that every open client uses."""


@dataclass(frozen=True, slots=True)
class OwnedGame:
    provider_game_id: str
    title: str
    """May be empty when the store's list has no titles; metadata fills it."""
    kind: Literal["game", "dlc", "tool"] = "game"
    parent_id: str | None = None
    playtime_min: int = 0
    last_played_at: datetime | None = None
    platforms: tuple[str, ...] = ()
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class GameMetadata:
    """What a store, or the cross-store database, knows of one game."""

    provider_game_id: str
    found: bool
    """False: asked, and there is nothing; not to be asked again for a week."""
    title: str = ""
    kind: Literal["game", "dlc", "tool"] = "game"
    parent_id: str | None = None
    group_id: str | None = None
    """Same text for the same game at every store (GamesDB's game id)."""
    siblings: tuple[tuple[str, str], ...] = ()
    """(provider, provider_game_id) of the same game elsewhere, as far as the group knows them."""
    year: int | None = None
    platforms: tuple[str, ...] = ()
    required_proton: str | None = None
    details: TitleDetails | None = None


class GameProvider(Protocol):
    """A store. A module of this folder, or of an `integ.providers` entry point, that sets `PROVIDER` to such a class is one."""

    slug: ClassVar[str]
    title: ClassVar[str]
    ways: ClassVar[tuple[SignInWay, ...]]

    def __init__(self, http: httpx.AsyncClient, config: ProviderConfig = ...) -> None: ...

    def sign_in_address(self, way: SignInWay, return_to: str, state: str) -> str:
        """The page for the player's browser; empty for ways that need none."""
        ...

    async def sign_in(self, answer: SignInAnswer, *, return_to: str) -> SignedInAccount:
        """
        Turn what the player brought back into an account; `return_to` is the callback address with its `state`, as it was issued.

        Raises:
            AuthenticationError: The store, or one of our own checks, refused it.
            ProviderUnavailableError: The store could not be asked; the player may try again.
        """
        ...

    def owned_games(self, login: Credentials) -> AsyncIterator[OwnedGame]:
        """
        Yield everything that *login* owns, in no particular order.

        Raises:
            AuthenticationError: The store refused *login*.
            PrivateProfileError: The store hides the library from *login*.
            ProviderError: It answered with something that is no library, or with half of one.
            ProviderUnavailableError: It is down or asks for a pause.
        """
        ...


@runtime_checkable
class RenewsAccess(Protocol):
    """A store whose access tokens run out."""

    def runs_out(self, login: Credentials) -> bool:
        """Whether this sign-in has a short-lived half at all; a key, for one, has none and is never renewed."""
        ...

    async def renew(self, login: Credentials) -> Credentials:
        """
        A fresh access token, and the secret to keep from now on; the caller stores both before using either.

        Raises:
            AuthenticationError: The store says that the sign-in is over. Nothing else means that.
        """
        ...


@runtime_checkable
class SignsInByQr(Protocol):
    """A store whose app on the player's phone signs in others, by a code that it scans; its `ways` name `SignInWay.QR`."""

    async def begin_qr(self, device: str) -> QrSession:
        """
        A new code. *device* is what the phone shows beside it.

        Raises:
            ProviderUnavailableError: The store could not be asked.
        """
        ...

    async def poll_qr(self, session: QrSession) -> QrSession | SignedInAccount:
        """
        The session as it is now, or the account once the player agreed; that is answered once.

        Raises:
            AuthenticationError: The player said no, or the session is over. Nothing else ends it.
            ProviderError: The store answered oddly, or not at all; ask again after the pause.
        """
        ...


@runtime_checkable
class ReadsMetadata(Protocol):
    """A store that can tell more about games than their names."""

    metadata_batch: ClassVar[int]
    """How many ids to ask for at once."""

    async def metadata(self, ids: Sequence[str]) -> list[GameMetadata]:
        """One answer for each of *ids* that could be asked; an id whose lookup failed for now is left out."""
        ...


@runtime_checkable
class ReadsProfiles(Protocol):
    """A store whose accounts have names and pictures that change."""

    async def profile(self, login: Credentials) -> StoreProfile | None:
        """
        How the account is shown today; None when the store does not say.

        Raises:
            AuthenticationError: The store refused *login*.
            ProviderError: It answered oddly, is down, or asks for a pause.
        """
        ...


@runtime_checkable
class ReadsAchievements(Protocol):
    """A store that keeps achievements."""

    async def achievements(self, login: Credentials, game_id: str) -> list[Achievement]:
        """
        All achievements of a game and which of them the account has; empty for a game without any.

        Raises:
            AuthenticationError: The store refused *login*.
            PrivateProfileError: It hides them from *login*.
            ProviderError: It answered oddly, is down, or asks for a pause.
        """
        ...


@runtime_checkable
class PlansDownloads(Protocol):
    """A store that can say what to download."""

    async def download_plan(self, login: Credentials, game_id: str, wanted: DownloadRequest) -> DownloadPlan: ...

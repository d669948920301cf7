"""What crosses the wire between the backend and its clients. Pydantic models only; a table never appears here."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


def utc_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Wire(BaseModel):
    """Base of everything here: unknown fields are ignored, so that an older client understands a newer backend."""

    model_config = ConfigDict(extra="ignore")


class Envelope(Wire, Generic[T]):
    """A success; failures are `contract.errors.to_envelope()`."""

    status: Literal["ok"] = "ok"
    data: T
    timestamp: datetime = Field(default_factory=utc_now)


class Page(Wire, Generic[T]):
    items: list[T]
    next_cursor: str | None = None
    """Opaque; hand it back as `cursor`. None on the last page."""


# --- sign-in -------------------------------------------------------------------------------------------------------


class SignInWay(StrEnum):
    OPENID = "openid"
    """A page in the browser that comes back to an address of ours."""
    API_KEY = "api_key"
    """A key that the player pastes, with the account it belongs to."""
    CODE = "code"
    """A page in the browser that ends on an address which the player pastes, or the code in it."""
    QR = "qr"
    """A code that the store's app on the player's phone scans; whoever waits polls for the outcome."""


class ProviderInfo(Wire):
    slug: str
    title: str
    ways: list[SignInWay]
    needs_api_key: bool = False
    """True when an openid sign-in also has to bring the player's own key, since the backend has none."""
    api_key_page: str = ""
    """Where a player gets such a key."""


class SignInStart(Wire):
    """Body of `POST /auth/{provider}/login`."""

    way: SignInWay
    return_to: str = ""
    """For openid: the callback address, loopback or the backend's own."""


class SignInPage(Wire):
    provider: str
    way: SignInWay
    address: str
    """To be opened in a browser; already rewritten when INTEG_UPSTREAM_URL is set. qr: what the code says, exactly."""
    state: str
    """One-time; hand it back in the answer. qr: in each poll, until the answer is no longer a `SignInPending`."""
    poll_every_s: float | None = None
    """qr: how long to wait before each poll."""


class SignInAnswer(Wire):
    """Body of `POST /auth/{provider}/callback`: what the player or the browser brought back."""

    way: SignInWay
    state: str = ""
    query: str = Field(default="", repr=False)
    """openid: the raw query string of the request that reached `return_to`."""
    code: str = Field(default="", repr=False)
    """code: the pasted landing address, or the bare code."""
    api_key: str = Field(default="", repr=False)
    account: str = ""
    """api_key: the account, as the store's id, profile address or name."""


class SignedIn(Wire):
    provider: str
    account: str
    display_name: str


class AccountState(StrEnum):
    OK = "ok"
    SIGNED_OUT = "signed_out"
    """The store refused the stored sign-in: sign in again."""
    PRIVATE = "private"
    """The store hides the library from the key in use."""


class AccountInfo(Wire):
    provider: str
    account: str
    display_name: str
    avatar_url: str | None = None
    profile_url: str | None = None
    state: AccountState = AccountState.OK
    last_sync_at: datetime | None = None


class SignOut(Wire):
    """Body of `POST /auth/logout`: out of stores, where what is left out means all, or out of Integ."""

    provider: str | None = Field(default=None, max_length=200, pattern=r"^[^\x00]*$")
    account: str | None = Field(default=None, max_length=200, pattern=r"^[^\x00]*$")
    session: bool = False
    """End the session that asks, and leave the stores as they are; only without the others."""


class UserInfo(Wire):
    id: str
    name: str
    avatar_url: str | None = None
    revision: int
    """Of the library, as in `Changes`."""


class Health(Wire):
    state: Literal["ok"] = "ok"


# --- library -------------------------------------------------------------------------------------------------------


class TitleDetails(Wire):
    """What `show` adds to an item; everything may be missing."""

    description: str = ""
    """Plain text, markup removed."""
    genres: list[str] = []
    developers: list[str] = []
    publishers: list[str] = []
    release_date: str | None = None
    """ISO date, or a year alone."""
    cover_url: str | None = None
    links: dict[str, str] = {}


class TitleRecord(Wire):
    """A title in the changes feed: the whole of it, replacing what the client had."""

    id: str
    """Slug, unique in the library, never reused for another title."""
    title: str
    year: int | None = None
    favourite: bool = False
    hidden: bool = False
    tags: list[str] = []
    notes: str = ""
    guessed: bool = False
    """True when its releases were joined by name and year instead of by GamesDB."""
    details: TitleDetails | None = None


class ReleaseRecord(Wire):
    """A release in the changes feed: the whole of it, replacing what the client had."""

    key: str
    """`provider:provider_game_id`."""
    provider: str
    provider_game_id: str
    title_id: str
    title: str
    kind: Literal["game", "dlc", "tool"] = "game"
    parent_key: str | None = None
    """For a DLC: the release it belongs to, when known."""
    accounts: list[str] = []
    """The player's accounts that own it."""
    platforms: list[str] = []
    """Of `linux`, `windows`, `mac`; empty when unknown."""
    playtime_min: int = 0
    last_played_at: datetime | None = None
    required_proton: str | None = None
    proton: str | None = None
    """The version that the player chose for it."""
    launch_options: str | None = None
    """What the player adds to its command line."""
    removed: bool = False
    """A tombstone: no account owns it any more."""


class OwnedRelease(ReleaseRecord):
    """Answer of `GET /games/{key}`."""

    details: TitleDetails | None = None


class UserPreferences(Wire):
    """What follows the player to every device; None: no wish."""

    default_proton: str | None = None
    """For games with no choice of their own, on devices that set none."""
    platform: Literal["linux", "windows"] | None = None
    """Which version of a game to install where there are both."""
    language: str | None = None
    """Of games to be installed, as `integ install --language` takes it."""


class LoosePreferences(Wire):
    """What the player decided about a game that no store told the backend of: one that is on a device's disk only."""

    key: str
    favourite: bool = False
    hidden: bool = False
    tags: list[str] = []
    notes: str = ""
    proton: str | None = None
    launch_options: str | None = None


class Changes(Wire):
    """Answer of `GET /games/changes?since=REV`: titles first, then the releases that point at them."""

    revision: int
    """Ask next with this."""
    more: bool = False
    """True when the answer was cut: ask again at once."""
    reset: bool = False
    """True when `since` is not of this backend: forget what came before, this answer starts from nothing."""
    titles: list[TitleRecord] = []
    releases: list[ReleaseRecord] = []
    preferences: UserPreferences | None = None
    """The user's; None: unchanged."""
    loose: list[LoosePreferences] | None = None
    """All of them; None: unchanged."""


# --- jobs ----------------------------------------------------------------------------------------------------------


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobKind(StrEnum):
    SYNC = "sync"
    METADATA = "metadata"
    ACHIEVEMENTS = "achievements"
    PROTON_FEED = "proton-feed"
    PROTON_MIRROR = "proton-mirror"
    CLEAN_UP = "clean-up"


class SyncCounts(Wire):
    added: int = 0
    changed: int = 0
    removed: int = 0
    total: int = 0


class JobInfo(Wire):
    id: str
    kind: JobKind
    provider: str
    account: str
    """Empty for work that belongs to no account."""
    state: JobState
    stage: str = ""
    """A short word for people: `reading`, `writing`, `matching`."""
    done: int = 0
    total: int | None = None
    counts: SyncCounts | None = None
    error: dict[str, Any] | None = None
    """The failure as an error envelope; of one that is `queued` again, what it waits for."""
    waits_until: datetime | None = None
    """When it is tried again; None: as soon as somebody is free."""
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


class SyncRequest(Wire):
    """Body of `POST /games/sync`."""

    providers: list[str] = []
    """Empty: all that are signed in."""
    full: bool = False
    """Read metadata again, known or not."""
    later: bool = False
    """Only write the jobs down; `python -m integ_server.worker` does them."""


class SyncStatus(Wire):
    revision: int
    accounts: list[AccountInfo]
    jobs: list[JobInfo]
    """Not finished yet, and the newest finished one of each account."""


# --- what to download ----------------------------------------------------------------------------------------------


class DownloadRequest(Wire):
    """Body of `POST /games/{key}/download`; an empty field means the backend's choice."""

    platform: Literal["linux", "windows"] | None = None
    language: str | None = None
    dlc: list[str] | Literal["all", "none"] = "all"
    branch: str | None = None
    build: str | None = None


class CdnEndpoint(Wire):
    """One signed way to a product's chunks: append `/aa/bb/hash` to `parameters["path"]`, then fill `url_format`."""

    endpoint_name: str
    url_format: str
    parameters: dict[str, Any] = Field(repr=False)
    priority: int = 0
    fallback_only: bool = False


class DepotRef(Wire):
    product_id: str
    manifest_url: str
    size_bytes: int
    compressed_bytes: int


class InstallerFile(Wire):
    """One file of an offline installer."""

    url: str = Field(repr=False)
    """Signed and short-lived."""
    file_name: str
    size_bytes: int | None = None
    """Exact, from the checksum file; None when there is none."""
    md5: str | None = None


class DownloadPlan(Wire):
    """What a client needs to fetch a game by itself; no store token is in it."""

    key: str
    title: str
    kind: Literal["galaxy", "linux_installer", "steam_client"]
    build: str = ""
    version: str = ""
    platform: Literal["linux", "windows"] = "windows"
    language: str = "en-US"
    dlc: list[str] = []
    folder_name: str = ""
    """Suggested name of the game's folder; hostile until checked by the client."""
    download_bytes: int = 0
    disk_bytes: int = 0
    depots: list[DepotRef] = []
    """galaxy: in the order they are laid down; a later one wins."""
    endpoints: dict[str, list[CdnEndpoint]] = Field(default={}, repr=False)
    """galaxy: by product id."""
    installer: InstallerFile | None = None
    """linux_installer."""
    dlc_installers: list[InstallerFile] = []
    """linux_installer: those of the DLC in `dlc`, in the same order; each is laid over the game."""
    steam_url: str | None = None
    """steam_client: the `steam://` address."""

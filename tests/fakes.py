"""Stand-ins for what lies at the border. A `FakeStore` is a store as the services see one; behind it is what a test put there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import httpx

from integ_server.contract.achievements import Achievement
from integ_server.contract.errors import AuthenticationError
from integ_server.contract.types import DownloadPlan, DownloadRequest, SignInAnswer, SignInWay
from integ_server.providers.base import Credentials, GameMetadata, GameProvider, OwnedGame, ProviderConfig, SignedInAccount


@dataclass
class Shelf:
    """What a fake store has, and how it behaves; a test changes it while the backend runs."""

    games: dict[str, list[OwnedGame]] = field(default_factory=dict)
    """By account."""
    metadata: dict[str, GameMetadata] = field(default_factory=dict)
    """By the store's id; an id that is not here has no answer for now."""
    fails: Exception | None = None
    """Raised after half of the list."""
    metadata_fails: Exception | None = None
    before_list: Callable[[], Awaitable[None]] | None = None
    """Awaited before the first game is told."""
    before_renewal: Callable[[], Awaitable[None]] | None = None
    access: dict[str, str] = field(default_factory=dict)
    """The access token that an account has now; a store without any takes all."""
    renewals: int = 0
    refresh: dict[str, str] = field(default_factory=dict)
    lists_read: int = 0
    asked_at_once: int = 0
    most_at_once: int = 0
    asked: list[list[str]] = field(default_factory=list)
    """The ids of each call for metadata."""
    plans: list[str] = field(default_factory=list)
    achievements: dict[tuple[str, str], list[Achievement]] = field(default_factory=dict)
    """By account and the store's id of the game."""
    achievements_fail: Exception | None = None
    achievements_asked: list[tuple[str, str]] = field(default_factory=list)


def fake_store(
    shelf: Shelf, slug: str = "fake", *, renews: bool = False, reads_metadata: bool = True, reads_achievements: bool = False
) -> type[GameProvider]:
    """A store's class over *shelf*; its accounts sign in with any key, or with the code `code-ACCOUNT`."""

    class FakeStore:
        title: ClassVar[str] = slug.capitalize()
        ways: ClassVar[tuple[SignInWay, ...]] = (SignInWay.API_KEY, SignInWay.CODE, SignInWay.OPENID)

        def __init__(self, http: httpx.AsyncClient, config: ProviderConfig | None = None) -> None:
            self.http = http

        def sign_in_address(self, way: SignInWay, return_to: str, state: str) -> str:
            return f"https://{slug}.example/sign-in?to={return_to}"

        async def sign_in(self, answer: SignInAnswer, *, return_to: str) -> SignedInAccount:
            if answer.way is SignInWay.OPENID:
                account = answer.query.partition("account=")[2].partition("&")[0]
            else:
                account = answer.account or answer.code.removeprefix("code-")
            if account not in shelf.games:
                raise AuthenticationError("no such account")
            if not renews:
                return SignedInAccount(Credentials(account, answer.api_key or "secret"), f"{account}'s games")
            shelf.access[account], shelf.refresh[account] = "access-0", "refresh-0"
            soon = datetime.now(UTC) + timedelta(hours=1)
            return SignedInAccount(Credentials(account, "refresh-0", "access-0", soon), f"{account}'s games")

        async def owned_games(self, login: Credentials) -> AsyncIterator[OwnedGame]:
            shelf.lists_read += 1
            if shelf.before_list is not None:
                await shelf.before_list()
            if renews and login.access_token != shelf.access.get(login.account):
                raise AuthenticationError("that access token is over")
            owned = list(shelf.games[login.account])
            for at, game in enumerate(owned):
                if shelf.fails is not None and at >= len(owned) // 2:
                    raise shelf.fails
                yield game
            if shelf.fails is not None:
                raise shelf.fails

        async def download_plan(self, login: Credentials, game_id: str, wanted: DownloadRequest) -> DownloadPlan:
            shelf.plans.append(login.account)
            if renews and login.access_token != shelf.access.get(login.account):
                raise AuthenticationError("that access token is over")
            return DownloadPlan(key="", title="", kind="steam_client", steam_url=f"steam://install/{game_id}")

    class ReadingStore(FakeStore):
        metadata_batch: ClassVar[int] = 2

        async def metadata(self, ids: Sequence[str]) -> list[GameMetadata]:
            shelf.asked.append(list(ids))
            shelf.asked_at_once += 1
            shelf.most_at_once = max(shelf.most_at_once, shelf.asked_at_once)
            await asyncio.sleep(0)
            shelf.asked_at_once -= 1
            if shelf.metadata_fails is not None:
                raise shelf.metadata_fails
            return [shelf.metadata[each] for each in ids if each in shelf.metadata]

    async def renew(self: FakeStore, login: Credentials) -> Credentials:
        if shelf.before_renewal is not None:
            await shelf.before_renewal()
        if login.secret != shelf.refresh.get(login.account):
            raise AuthenticationError("that sign-in is over")
        shelf.renewals += 1
        shelf.refresh[login.account] = f"refresh-{shelf.renewals}"
        shelf.access[login.account] = f"access-{shelf.renewals}"
        soon = datetime.now(UTC) + timedelta(hours=1)
        return Credentials(login.account, shelf.refresh[login.account], shelf.access[login.account], soon)

    async def achievements(self: FakeStore, login: Credentials, game_id: str) -> list[Achievement]:
        shelf.achievements_asked.append((login.account, game_id))
        if renews and login.access_token != shelf.access.get(login.account):
            raise AuthenticationError("that access token is over")
        if shelf.achievements_fail is not None:
            raise shelf.achievements_fail
        return shelf.achievements.get((login.account, game_id), [])

    made = ReadingStore if reads_metadata else FakeStore
    more = {"renew": renew, "runs_out": lambda self, login: True} if renews else {}
    more |= {"achievements": achievements} if reads_achievements else {}
    return type(f"{slug.capitalize()}Store", (made,), {"slug": slug, **more})


def owned(game_id: str, title: str = "", **more: object) -> OwnedGame:
    return OwnedGame(game_id, title or f"Game {game_id}", **more)  # type: ignore[arg-type]


def told(game_id: str, **more: object) -> GameMetadata:
    return GameMetadata(game_id, found=True, **more)  # type: ignore[arg-type]

"""The runtime's parts as the browser sees them, held in memory: what they answer, fail with and were asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from integ_runtime.cache.records import ReleaseRow, TitleRow
from integ_runtime.progress import Progress, Report, unheard
from integ_server.contract.errors import PartialError
from integ_server.contract.sessions import DeviceCode
from integ_server.contract.sign_in import SignInPending
from integ_server.contract.types import AccountInfo, ProviderInfo, SignedIn, SignInPage, SignInWay, UserInfo
from integ_tui.app import IntegApp

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class Gate:
    """Something a fake waits for until the test lets it go on."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self.waiting = asyncio.Event()

    async def wait(self) -> None:
        self.waiting.set()
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


def release(key: str, title: str, **fields: Any) -> ReleaseRow:
    provider, game_id = key.split(":")
    return ReleaseRow(key=key, provider=provider, provider_game_id=game_id, title=title, **fields)


def title_row(title_id: str, title: str, *releases: ReleaseRow, **fields: Any) -> TitleRow:
    played = [each.last_played_at for each in releases if each.last_played_at]
    return TitleRow(
        title_id=title_id,
        title=title,
        favourite=fields.get("favourite", False),
        hidden=False,
        tags=fields.get("tags", ()),
        playtime_min=sum(each.playtime_min for each in releases),
        last_played_at=max(played, default=None),
        installed=any(each.installed for each in releases),
        releases=releases,
    )


def some_titles() -> list[TitleRow]:
    """A small library, sorted by title, with what the screens have to cope with."""
    both = ("linux", "windows")
    return [
        title_row("amber-road", "Amber Road", release("gog:1100", "Amber Road", platforms=both, playtime_min=35)),
        title_row(
            "clockwork-harbour",
            "Clockwork Harbour: The Complete and Definitive Anniversary Edition",
            release(
                "gog:1200", "Clockwork Harbour", platforms=("windows",), installed=True, install_path="/home/ada/Games/Clockwork Harbour"
            ),
            release("steam:2200", "Clockwork Harbour", platforms=both, playtime_min=1260, last_played_at="2026-11-21T20:00:00Z"),
        ),
        title_row("elan", "Élan Vital™", release("steam:2300", "Élan Vital™", platforms=("windows", "mac"), playtime_min=72_300)),
        title_row(
            "foxglove",
            "Foxglove [beta]",
            release(
                "steam:2400",
                "Foxglove [beta]",
                platforms=both,
                installed=True,
                update_available=True,
                last_played_at="2026-11-22T08:00:00Z",
            ),
        ),
        title_row(
            "kuu",
            "空の物語",
            release("gog:1300", "空の物語", platforms=("windows",), playtime_min=540, last_played_at="2024-02-03T00:00:00Z"),
        ),
        title_row("lantern", "Lantern\x1b[31m Keep\u202e", release("steam:2500", "Lantern Keep")),
        title_row(
            "moss",
            "Moss & Iron",
            release(
                "gog:1400", "Moss & Iron", platforms=("linux",), installed=True, playtime_min=95, last_played_at="2026-11-10T12:00:00Z"
            ),
        ),
        title_row(
            "orbit", "Orbit's Edge", release("gog:1500", "Orbit's Edge", platforms=("windows",)), release("steam:2600", "Orbit's Edge")
        ),
        title_row("zephyr", "Zephyr", release("steam:2700", "Zephyr", platforms=("linux",), playtime_min=9)),
    ]


SOME_DETAILS: dict[str, Any] = {
    "description": "A quiet game about a harbour\nand the clocks that keep it.\n\nWind them all, [bold]or none[/].",
    "genres": ["Adventure", "Puzzle"],
    "developers": ["Tin Lantern"],
    "publishers": ["Tin Lantern"],
    "release_date": "2021-05-06",
    "dlc": [{"key": "gog:1201", "title": "The Far Pier"}],
    "guessed": False,
}


@dataclass
class FakeLibrary:
    rows: list[TitleRow] = field(default_factory=some_titles)
    fails: Exception | None = None
    changes: int = 1
    gate: Gate | None = None
    slow_details: dict[str, Gate] = field(default_factory=dict)
    notes: str = ""
    """On every title."""

    async def titles(self) -> list[TitleRow]:
        if self.gate:
            await self.gate.wait()
        if self.fails:
            raise self.fails
        return list(self.rows)

    async def find_title(self, game: str, /) -> TitleRow | None:
        if game in self.slow_details:
            await self.slow_details[game].wait()
        return next((row for row in self.rows if game in {row.title_id, *(each.key for each in row.releases)}), None)

    async def details(self, title_id: str, /) -> dict[str, Any]:
        return {**(SOME_DETAILS if title_id == "clockwork-harbour" else {}), "notes": self.notes}

    async def stamp(self) -> int:
        return self.changes

    def put(self, rows: list[TitleRow]) -> None:
        """Change the library as another process would."""
        self.rows = rows
        self.changes += 1


STORES = [
    ProviderInfo(
        slug="steam",
        title="Steam",
        ways=[SignInWay.OPENID, SignInWay.API_KEY, SignInWay.QR],
        needs_api_key=True,
        api_key_page="https://steamcommunity.com/dev/apikey",
    ),
    ProviderInfo(slug="gog", title="GOG", ways=[SignInWay.CODE]),
]
ADA = AccountInfo(provider="steam", account="76561198000000001", display_name="Ada", last_sync_at=datetime(2026, 11, 20, tzinfo=UTC))
STEAM_PAGE = "https://steamcommunity.com/openid/login?openid.mode=checkid_setup&openid.return_to=http%3A%2F%2F127.0.0.1%3A41999%2Fback"
GOG_PAGE = "https://auth.gog.com/auth?client_id=46899977096215655&redirect_uri=https%3A%2F%2Fembed.gog.com%2Fon_login_success&state=st4te"


QR_PAGE = "https://s.team/q/1/5713928841207733190"
DEVICE_CODE = DeviceCode(
    device_code="integ_dc_secret",
    user_code="WDJB-MJHT",
    verification_uri="https://games.example/device",
    verification_uri_complete="https://games.example/device?user_code=WDJB-MJHT",
    expires_in=600,
    interval=5,
)


@dataclass(frozen=True)
class FakeSignedInDevice:
    user: UserInfo = field(default_factory=lambda: UserInfo(id="u1", name="Ada", created_at=NOW, revision=1))
    place: str = "keyring"


@dataclass
class FakeDevice:
    """This device at a backend for many."""

    is_in: bool = True
    answer: Gate | None = None
    """What the player's yes waits for."""
    fails: list[Exception] = field(default_factory=list)
    """Each ends one try."""
    place: str = "keyring"
    began: int = 0

    async def begin(self) -> DeviceCode:
        self.began += 1
        return DEVICE_CODE

    async def finish(self, code: DeviceCode) -> FakeSignedInDevice:
        assert code is DEVICE_CODE
        if self.answer:
            await self.answer.wait()
        if self.fails:
            raise self.fails.pop(0)
        self.is_in = True
        return FakeSignedInDevice(place=self.place)


@dataclass
class FakeAccounts:
    accounts: list[AccountInfo] = field(default_factory=lambda: [ADA])
    fails: Exception | None = None
    answer: Gate | None = None
    """What the browser's or the phone's answer waits for."""
    scan: Gate | None = None
    """What the scan of a code waits for."""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def providers(self) -> list[ProviderInfo]:
        return STORES

    async def all(self) -> list[AccountInfo]:
        return list(self.accounts)

    async def begin(self, provider: str, way: SignInWay, return_to: str = "") -> SignInPage:
        self.asked.append(("begin", provider, way.value))
        return SignInPage(provider=provider, way=way, address=GOG_PAGE, state="st4te")

    async def sign_in_with_key(self, provider: str, api_key: str, account: str) -> SignedIn:
        self.asked.append(("key", provider, api_key, account))
        return self._signed(provider)

    async def sign_in_with_code(self, provider: str, pasted: str, state: str = "") -> SignedIn:
        self.asked.append(("code", provider, pasted, state))
        return self._signed(provider)

    async def sign_in_by_browser(
        self, provider: str, *, show: Callable[[str], None], api_key: str = "", timeout_s: float = 300
    ) -> SignedIn:
        self.asked.append(("browser", provider, api_key))
        show(STEAM_PAGE)
        if self.answer:
            await self.answer.wait()
        return self._signed(provider)

    async def sign_in_by_qr(self, provider: str, *, show: Callable[[SignInPending], None]) -> SignedIn:
        self.asked.append(("qr", provider))
        show(SignInPending(stage="waiting", address=QR_PAGE, poll_every_s=5))
        if self.scan:
            await self.scan.wait()
            show(SignInPending(stage="scanned", address=QR_PAGE, poll_every_s=5))
        if self.answer:
            await self.answer.wait()
        return self._signed(provider)

    async def sign_out(self, provider: str | None = None, account: str | None = None) -> list[AccountInfo]:
        self.asked.append(("out", str(provider), str(account)))
        self.accounts = [each for each in self.accounts if each.account != account]
        return self.accounts

    def _signed(self, provider: str) -> SignedIn:
        if self.fails:
            raise self.fails
        return SignedIn(provider=provider, account="76561198000000001", display_name="Ada")


@dataclass(frozen=True)
class FakeBuild:
    version: str
    family: str = "ge"
    size_bytes: int | None = 480_000_000
    published_at: str = "2026-11-15T00:00:00Z"


@dataclass(frozen=True)
class FakeInstalled:
    version: str
    already_installed: bool = False


@dataclass(frozen=True)
class FakeOwnBuild:
    version: str
    family: str
    path: Path
    source: str
    placed_by_integ: bool = True


def _items() -> list[dict[str, Any]]:
    return [
        {"version": "GE-Proton10-26", "family": "ge", "path": "/p/10", "default": True, "used_by": [], "size_bytes": 1_420_000_000},
        {
            "version": "GE-Proton8-26",
            "family": "ge",
            "path": "/p/8",
            "default": False,
            "used_by": ["gog:1200"],
            "size_bytes": 1_180_000_000,
        },
        {
            "version": "Proton 9.0",
            "family": "proton",
            "path": "/s/9",
            "default": False,
            "used_by": [],
            "size_bytes": 1_300_000_000,
        },
    ]


@dataclass
class FakeProton:
    items: list[dict[str, Any]] = field(default_factory=_items)
    published: list[FakeBuild] = field(
        default_factory=lambda: [FakeBuild("GE-Proton10-27"), FakeBuild("GE-Proton10-26"), FakeBuild("GE-Proton9-27", size_bytes=None)]
    )
    fails: Exception | None = None
    fails_to_list: Exception | None = None
    fails_to_remove: Exception | None = None
    gate: Gate | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    async def installed(self) -> list[FakeOwnBuild]:
        return [
            FakeOwnBuild(
                item["version"],
                item["family"],
                path,
                "steam" if path.is_relative_to("/s") else "integ",
                path.parent != Path("/s"),
            )
            for item in self.items
            for path in [Path(item["path"])]
        ]

    async def list_items(self) -> list[dict[str, Any]]:
        return list(self.items)

    async def available(self, *, family: str = "ge", limit: int = 30, refresh: bool = False) -> Sequence[FakeBuild]:
        self.asked.append(("available", family, refresh))
        if self.fails_to_list:
            raise self.fails_to_list
        return self.published if family == "ge" else []

    async def install(
        self, version: str = "latest", *, family: str = "ge", unverified: bool = False, report: Report = unheard
    ) -> FakeInstalled:
        self.asked.append(("install", version, family))
        report(Progress("download", done_bytes=120_000_000, total_bytes=480_000_000))
        try:
            if self.gate:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.asked.append(("cancelled", version))
            raise
        if self.fails:
            raise self.fails
        self.items.append(
            {"version": version, "family": family, "path": f"/p/{version}", "default": False, "used_by": [], "size_bytes": 1_400_000_000}
        )
        return FakeInstalled(version)

    async def use(self, version: str, *, game: str | None = None) -> None:
        self.asked.append(("use", version))
        self.items = [{**item, "default": item["version"] == version} for item in self.items]

    async def remove(self, version: str, *, force: bool = False) -> None:
        self.asked.append(("remove", version, force))
        if self.fails_to_remove and not force:
            raise self.fails_to_remove
        self.items = [item for item in self.items if item["path"] != version]


@dataclass
class FakeGames:
    fails: Exception | None = None
    gate: Gate | None = None
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def plan(self, key: str, options: Any, /) -> Mapping[str, Any]:
        self.asked.append(("plan", key))
        return {
            "key": key,
            "platform": "linux",
            "language": "en-US",
            "download_bytes": 1_200_000_000,
            "disk_bytes": 3_400_000_000,
            "path": "/home/ada/Games/Amber Road",
        }

    async def install(self, key: str, options: Any, /, report: Report = unheard) -> Mapping[str, Any]:
        self.asked.append(("install", key))
        report(Progress("download", done_bytes=300_000_000, total_bytes=1_200_000_000))
        if self.gate:
            await self.gate.wait()
        if self.fails:
            raise self.fails
        return {"key": key, "path": "/home/ada/Games/Amber Road"}

    async def uninstall(self, key: str, /, *, purge: bool = False, report: Report = unheard) -> Mapping[str, Any]:
        self.asked.append(("uninstall", key))
        return {"key": key}


@dataclass(frozen=True)
class FakePlan:
    key: str
    runner: str = "native"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FakeOutcome:
    exit_code: int = 0
    log_path: Path | None = None
    seconds: float = 754


@dataclass(frozen=True)
class FakePlay:
    key: str
    title: str = "Tea Time"


@dataclass
class FakeLauncher:
    plays: list[FakePlay] = field(default_factory=list)
    """What others started."""
    outcome: FakeOutcome = field(default_factory=FakeOutcome)
    fails: Exception | None = None
    runner: str = "native"
    notes: tuple[str, ...] = ()
    gate: Gate | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    async def plan(self, key: str, /) -> FakePlan:
        if self.fails:
            raise self.fails
        return FakePlan(key, self.runner, self.notes)

    def running(self) -> list[FakePlay]:
        return list(self.plays)

    async def stop(self, key: str, /) -> int:
        self.asked.append(("stop", key))
        self.plays = [play for play in self.plays if play.key != key]
        if self.gate:
            self.gate.open()
        return 1

    async def run(self, plan: FakePlan, /, *, attach: bool, stop_when_asked: bool = True) -> FakeOutcome:
        self.asked.append(("run", plan.key, attach))
        if self.gate:
            await self.gate.wait()
        return self.outcome


@dataclass(frozen=True)
class FakeSynced:
    accounts: list[dict[str, Any]] = field(
        default_factory=lambda: [{"provider": "steam", "account": "1", "added": 2, "changed": 0, "removed": 1, "total": 214, "error": None}]
    )

    def raise_if_failed(self) -> None:
        for each in self.accounts:
            if each["error"]:
                raise PartialError(f"{each['provider']}: {each['error']['message']}", hint="integ sync", data={"accounts": self.accounts})


@dataclass
class FakeSteam:
    found: list[str] = field(default_factory=list)

    def roots(self) -> list[str]:
        return self.found


@dataclass
class FakeRuntime:
    """Everything together; a test replaces the part it is about."""

    library: FakeLibrary = field(default_factory=FakeLibrary)
    accounts: FakeAccounts = field(default_factory=FakeAccounts)
    proton: FakeProton = field(default_factory=FakeProton)
    games: FakeGames = field(default_factory=FakeGames)
    launcher: FakeLauncher = field(default_factory=FakeLauncher)
    steam: FakeSteam = field(default_factory=FakeSteam)
    device: FakeDevice = field(default_factory=FakeDevice)
    sync_fails: Exception | None = None
    outcome: FakeSynced = field(default_factory=FakeSynced)
    sync_gate: Gate | None = None
    local: list[TitleRow] | None = None
    """What `refresh_local` finds on this machine."""
    synced: list[tuple[str, ...]] = field(default_factory=list)

    async def sync(self, providers: Sequence[str] = (), *, full: bool = False, report: Report = unheard) -> FakeSynced:
        self.synced.append(tuple(providers))
        report(Progress("reading", done=90, total=214, about="Steam"))
        if self.sync_gate:
            await self.sync_gate.wait()
        if self.sync_fails:
            raise self.sync_fails
        return self.outcome

    async def needs_device_login(self) -> bool:
        return not self.device.is_in

    async def refresh_local(self) -> bool:
        if self.local is None:
            return False
        self.library.put(self.local)
        return True


@dataclass
class Browser:
    """Stands for the desktop's web browser."""

    works: bool = True
    opened: list[str] = field(default_factory=list)

    async def open(self, address: str) -> bool:
        self.opened.append(address)
        return self.works


def app_with(runtime: FakeRuntime | None = None, *, theme: str = "integ-dark", browser: Browser | None = None) -> IntegApp:
    """The browser on *runtime*, at a fixed moment, looking at the cache only when the test says so."""
    return IntegApp(
        runtime or FakeRuntime(),
        clock=lambda: NOW,
        watch_s=0,
        theme=theme,
        open_url=(browser or Browser()).open,
        install_options=lambda: None,
    )


def shown_toasts(app: IntegApp) -> list[str]:
    """The messages of the toasts that stand there, oldest first."""
    return [notice.message for notice in app._notifications]


QUESTIONS = {"ask", "screen", "welcome", "cancel", "sign-in", "sign-out", "change"}
"""Groups of workers that may wait for an answer of the player's."""


async def settled(pilot: Pilot[int]) -> None:
    """Wait until everything is read and drawn; what a gate or a question holds back goes on waiting."""
    for _ in range(3):
        await pilot.pause()
        for worker in list(pilot.app.workers):
            if worker.group not in QUESTIONS and not worker.group.startswith("activity-"):
                with contextlib.suppress(WorkerCancelled):
                    await worker.wait()
        await pilot.pause()


async def until(pilot: Pilot[int], holds: Callable[[], object]) -> None:
    """Wait until *holds*, for what goes through a thread; the test's own time limit is the only one."""
    while not holds():
        await pilot.pause(0.005)
    await settled(pilot)

"""The one place where the runtime's parts are put together. A part is made when it is first asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from integ_runtime import late_loop
from integ_runtime.cache.store import LibraryCache
from integ_runtime.progress import Report, unheard
from integ_runtime.settings import RuntimeSettings, shown_address
from integ_server.contract.errors import UsageError

if TYPE_CHECKING:
    import asyncio

    from integ_runtime.accounts import Accounts
    from integ_runtime.achievements import Achievements
    from integ_runtime.checks import Check
    from integ_runtime.client.api import ApiClient
    from integ_runtime.content.games import Games
    from integ_runtime.content.installed import InstalledGames
    from integ_runtime.device_login import DeviceLogin
    from integ_runtime.launch.launcher import Launcher
    from integ_runtime.launch.umu_ids import UmuIds
    from integ_runtime.organising import Organising
    from integ_runtime.prefix.prefixes import Prefixes
    from integ_runtime.prefix.programs import PrefixPrograms
    from integ_runtime.proton.store import ProtonStore
    from integ_runtime.proton.upkeep import Upkeep
    from integ_runtime.saves.locate import Saves
    from integ_runtime.session_store import SessionStore
    from integ_runtime.state.apply import ApplyOutcome
    from integ_runtime.state.document import DeclaredState
    from integ_runtime.steam.editor import SteamEditor
    from integ_runtime.steam.library import SteamFiles
    from integ_runtime.syncing import SyncOutcome


class Runtime:
    """Everything Integ can do on this machine. Made by `open_runtime`."""

    def __init__(self, settings: RuntimeSettings, opened: AsyncExitStack) -> None:
        self.settings = settings
        self.paths = settings.paths
        self._opened = opened
        self._api: ApiClient | None = None

    @cached_property
    def _opening(self) -> asyncio.Lock:
        import asyncio  # what is begun without an event loop does not wait for it

        return asyncio.Lock()

    async def api(self) -> ApiClient:
        """The backend, opened with the first call: embedded that takes most of a second."""
        async with self._opening:
            if self._api is None:
                from integ_runtime.client.api import ApiClient
                from integ_runtime.client.transport import open_http

                self._api = ApiClient(await self._opened.enter_async_context(open_http(self.settings, self.session_store)))
        return self._api

    @cached_property
    def library(self) -> LibraryCache:
        return LibraryCache(self.paths.cache_db)

    @cached_property
    def session_store(self) -> SessionStore | None:
        """Where the sign-in to the backend is kept; None when it is embedded, which needs none."""
        if self.settings.backend_url is None:
            return None
        from integ_runtime.session_store import SessionStore

        return SessionStore(self.paths, self.settings.backend_url)

    @property
    def has_backend(self) -> bool:
        """Whether there is a backend for many, rather than the one in this process."""
        return self.settings.backend_url is not None

    @property
    def has_device_login(self) -> bool:
        """Whether this device is, or could be, signed in to a backend for many."""
        return self.session_store is not None and not self.settings.token

    async def needs_device_login(self) -> bool:
        """Whether nothing works before `device` signs in."""
        return self.has_device_login and not await self.device.is_signed_in()

    @cached_property
    def device(self) -> DeviceLogin:
        """
        Raises:
            UsageError: The backend is embedded, or a personal token says who is asking.
        """
        from integ_runtime.device_login import DeviceLogin

        if self.session_store is None:
            raise UsageError("there is no backend to sign in to: Integ runs by itself", hint="integ config set backend_url https://…")
        if self.settings.token:
            raise UsageError("a personal token is set, which says already who you are", hint="unset INTEG_TOKEN")
        return DeviceLogin(self.api, self.session_store, self.library)

    @cached_property
    def accounts(self) -> Accounts:
        from integ_runtime.accounts import Accounts

        return Accounts(self.api)

    @cached_property
    def achievements(self) -> Achievements:
        from integ_runtime.achievements import Achievements

        return Achievements(self.api, self.paths.cache / "achievements")

    @cached_property
    def organising(self) -> Organising:
        from integ_runtime.organising import Organising

        return Organising(self.api, self.library, self.paths.data / f"decisions-{self.paths.cache_db.stem}.jsonl")

    @cached_property
    def steam(self) -> SteamFiles:
        from integ_runtime.steam.library import SteamFiles

        return SteamFiles(self.paths.home, os.environ)

    @cached_property
    def steam_editor(self) -> SteamEditor:
        from integ_runtime.steam.editor import SteamEditor

        return SteamEditor(self.paths, self.steam, self.installed, os.environ)

    @cached_property
    def proton(self) -> ProtonStore:
        from integ_runtime.proton.store import ProtonStore

        async def tell(key: str, version: str | None) -> bool:
            return await self.organising.choose_proton(key, version)

        return ProtonStore(self.settings, self.steam, self.api if self.has_backend else None, self.library, tell)

    @cached_property
    def upkeep(self) -> Upkeep:
        from integ_runtime.proton.upkeep import Upkeep

        return Upkeep(self.settings, self.proton)

    @cached_property
    def installed(self) -> InstalledGames:
        from integ_runtime.content.installed import InstalledGames

        return InstalledGames(self.paths)

    @cached_property
    def games(self) -> Games:
        from integ_runtime.content.games import Games

        return Games(self.settings, self.api, self.installed, self.library, self.umu_ids)

    @cached_property
    def umu_ids(self) -> UmuIds:
        from integ_runtime.launch.umu_ids import UmuIds

        return UmuIds(self.installed, self.settings.upstream_url)

    @cached_property
    def launcher(self) -> Launcher:
        from integ_runtime.launch.launcher import Launcher

        return Launcher(self.settings, self.installed, lambda: self.proton, lambda: self.steam, self.library)

    @cached_property
    def prefixes(self) -> Prefixes:
        from integ_runtime.prefix.prefixes import Prefixes

        return Prefixes(self.installed)

    @cached_property
    def saves(self) -> Saves:
        from integ_runtime.saves.locate import Saves

        return Saves(self.paths, self.installed, lambda: self.steam, self.settings.save_manifest)

    @cached_property
    def prefix_programs(self) -> PrefixPrograms:
        from integ_runtime.prefix.programs import PrefixPrograms

        return PrefixPrograms(self.installed, self.launcher)

    async def sync(self, providers: Sequence[str] = (), *, full: bool = False, report: Report = unheard) -> SyncOutcome:
        """Pull the libraries and wait; see `syncing.run_sync`. Failures of single accounts stand in the outcome."""
        from integ_runtime.syncing import run_sync

        await self.refresh_local()
        await self.organising.send_waiting()
        outcome = await run_sync(await self.api(), self.library, providers, full=full, report=report)
        await self.umu_ids.learn_due(await late_loop.in_thread(self.installed.all))
        return outcome

    async def sync_in_background(self, providers: Sequence[str] = (), *, full: bool = False) -> int:
        """Let a process of its own do the sync, which outlives this one; answers its pid."""
        words = [sys.executable, "-m", "integ_cli", "sync", *providers, *(["--full"] if full else []), "--quiet", "--no-input"]

        def start() -> int:
            import subprocess

            # not by asyncio: its transport kills a child that nobody waits for
            nothing = subprocess.DEVNULL
            child = subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
            child.returncode = 0  # let go of on purpose: init collects it
            return child.pid

        return await late_loop.in_thread(start)

    async def follow(self) -> int:
        """Take what changed at the backend into the cache, without a sync; answers the revision reached."""
        from integ_runtime.syncing import follow

        await self.organising.send_waiting()
        return await follow(await self.api(), self.library)

    async def refresh_local(self) -> bool:
        """Look at Steam's files and at Integ's own records again, if they changed; True when the library did."""
        from integ_runtime.freshness import bring_up_to_date

        return await late_loop.in_thread(bring_up_to_date, self.paths, dict(os.environ))

    async def set_setting(self, name: str, value: str) -> None:
        """Write one setting into the file, as text the way the environment would hold it; see `config_file.write_setting`."""
        from integ_runtime.config_file import write_setting

        await late_loop.in_thread(write_setting, self.paths.config_file, name, value)

    async def export(self) -> dict[str, Any]:
        """Everything out again; see `state.export.export`."""
        from integ_runtime.state.export import export

        return await export(self)

    async def apply(self, state: DeclaredState, *, dry_run: bool = False, report: Report = unheard) -> ApplyOutcome:
        """Bring *state* about; see `state.apply.apply`."""
        from integ_runtime.state.apply import apply

        return await apply(self, state, dry_run=dry_run, report=report)

    async def status(self) -> dict[str, Any]:
        """As `integ status --json` prints it."""
        known = await (await self.api()).sync_status()
        upstream = self.settings.upstream_url
        return {
            **await self.who(),
            "upstream_url": shown_address(upstream) if upstream else None,
            "accounts": [account.model_dump(mode="json") for account in known.accounts],
            "jobs": [job.model_dump(mode="json") for job in known.jobs],
            "cache_revision": await self.library.revision(),
        }

    async def who(self) -> dict[str, Any]:
        """The `backend`, and the name of the `user` who is signed in there; an embedded one has a single user without a name."""
        backend = self.settings.backend_url
        if backend is None:
            return {"backend": "embedded", "user": None}
        return {"backend": shown_address(backend), "user": (await (await self.api()).me()).name}

    async def doctor(self) -> list[Check]:
        """What is missing on this machine."""
        from integ_runtime.doctor import examine

        return await examine(self)


@asynccontextmanager
async def open_runtime(settings: RuntimeSettings) -> AsyncIterator[Runtime]:
    """The runtime for *settings*; what it opened is closed on the way out."""
    async with AsyncExitStack() as opened:
        yield Runtime(settings, opened)

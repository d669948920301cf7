"""Games on this disk: installed, taken over, removed. The store's own client does it for Steam's games."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integ_runtime.content import imports
from integ_runtime.content.install import Installation
from integ_runtime.content.installed import InstalledGame, InstalledGames, check_key, is_key
from integ_runtime.content.installer_files import names_of
from integ_runtime.content.plan import InstallOptions, Place, check_place, choose_place, dry_run, kept_dlc, with_before, with_wishes
from integ_runtime.content.uninstall import Removed, purge_game, remove_game
from integ_runtime.downloads.background import Stop, in_background
from integ_runtime.launch.run import PLAY_LOCK, play_lock
from integ_runtime.locks import only_one
from integ_runtime.progress import Progress, Report, unheard
from integ_runtime.settings import RuntimeSettings
from integ_server.contract.errors import NotFoundError, ProviderError, UsageError, WouldLoseDataError, utc_now_text

if TYPE_CHECKING:
    from integ_runtime.cache.store import LibraryCache
    from integ_runtime.client.api import ApiClient
    from integ_runtime.launch.umu_ids import UmuIds
    from integ_runtime.steam.installation import Handover, SteamInstallation
    from integ_server.contract.types import DownloadPlan

__all__ = ["Games", "InstallOptions"]

LOCK = ".lock"


class Games:
    """One process at a time works on a game's files; a second one is told so."""

    def __init__(
        self,
        settings: RuntimeSettings,
        api: Callable[[], Awaitable[ApiClient]],
        installed: InstalledGames,
        library: LibraryCache | None = None,
        umu_ids: UmuIds | None = None,
    ) -> None:
        self._settings = settings
        self._api = api
        self._installed = installed
        self._library = library
        self._umu_ids = umu_ids

    async def installed(self) -> list[InstalledGame]:
        """What is wholly installed, by key."""
        return [game for game in self._installed.all() if game.whole]

    async def plan(self, key: str, options: InstallOptions = InstallOptions()) -> dict[str, Any]:  # noqa: B008 - frozen
        """
        What `install` would do, as `install --dry-run` prints it; nothing is touched.

        Raises:
            WouldLoseDataError, ProviderError: As `install` would.
        """
        check_key(key)
        if key.startswith("steam:"):
            return _steam_plan(key)
        before = self._find_own(key)
        plan = await self._ask(key, await self._wanted(key, options, before))
        return dry_run(plan, self._choose_place(plan, before, options))

    async def install(
        self,
        key: str,
        options: InstallOptions = InstallOptions(),  # noqa: B008 - frozen
        report: Report = unheard,
        *,
        wait: bool = False,
    ) -> dict[str, Any]:
        """
        Bring a game to the disk, or bring it up to date, or go on with what was cut short; all the same work.

        Steam's games are its client's to install: *wait* tells how far it is until they are there.

        Raises:
            WouldLoseDataError: Something else is in its folder.
            BusyError: Another process works on the game, or it is being played.
            StorageError: There is no room, or the disk fails; what is whole is kept.
            IntegrityError: What the store sends is damaged, or would write outside of the game's folder.
            ProviderError: The store can't or won't deliver.
        """
        check_key(key)
        if key.startswith("steam:"):
            return _handed_over(key, await self._by_steam().install(_steam_id(key), wait=wait, report=report))
        async with self._alone(key, "installing it"):
            before = self._find_own(key)
            report(Progress("plan"))
            wanted = await self._wanted(key, options, before)
            plan = await self._ask(key, wanted)
            place = self._choose_place(plan, before, options)
            if before is not None and before.whole and _same_content(before, plan):
                if kept_dlc(wanted) != before.dlc_asked:  # nothing to fetch for it today
                    self._installed.save(before._replace(dlc_asked=kept_dlc(wanted)))
                return _result(before, files=0, fetched=0)

            async def again() -> DownloadPlan:
                return await self._ask(key, replace(wanted, build=plan.build or wanted.build))

            work = Installation(plan, place, before, self._installed, settings=self._settings, again=again, wanted=wanted)
            async with self._naming(key, plan.platform):
                done = await work.run(report)
            return _result(done.game, files=done.files, fetched=done.bytes_fetched)

    async def install_by_steamcmd(
        self, key: str, title: str, options: InstallOptions, *, login: str, report: Report = unheard
    ) -> dict[str, Any]:
        """
        Bring a game of Steam's into a folder below the library folder without the client, which knows nothing of it then.

        Raises:
            UsageError: It is not Steam's.
            NotFoundError: steamcmd is not on this machine.
            BusyError, WouldLoseDataError: As for `install`.
            AuthenticationError, ProviderError, StorageError...: See `Steamcmd.install`.
        """
        from integ_runtime.steam.steamcmd import Steamcmd
        from integ_server.contract.types import DownloadPlan

        check_key(key)
        if not key.startswith("steam:"):
            raise UsageError(f"{key} is not a game of Steam's", hint=f"integ install {key}")
        steamcmd, game_id = Steamcmd(), _steam_id(key)
        plan = DownloadPlan(key=key, title=title, kind="steam_client", language="")
        async with self._alone(key, "installing it"):
            place = choose_place(plan, self._settings.games_root, None, options.directory)
            if not (place.path / "steamapps" / f"appmanifest_{game_id}.acf").exists():
                check_place(place, key, None, self._installed.all())

            done = await steamcmd.install(
                game_id, place.path, login=login, platform=options.platform or "linux", branch=options.branch, report=report
            )
        path = os.fsencode(done.path).decode("utf-8", "replace")
        known = {"files": 0, "bytes_fetched": 0, "bytes_on_disk": done.bytes_on_disk, "state": "installed"}
        return {"key": key, "path": path, "build": done.build, **known}

    async def uninstall(self, key: str, *, purge: bool = False, report: Report = unheard, wait: bool = False) -> dict[str, Any]:
        """
        Take what Integ wrote off the disk. Changed files go to the trash; the player's own stay, and prefix and saves too without *purge*.

        Of a game that was taken over only Integ's record goes.

        Raises:
            NotFoundError: It is not installed.
            BusyError: It is being played, or another process works on it.
        """
        check_key(key)
        if key.startswith("steam:"):
            return _handed_over(key, await self._by_steam().uninstall(_steam_id(key), wait=wait, report=report))
        async with self._alone(key, "removing it"):
            game = self._installed.find(key)
            if game is None and not purge:
                raise NotFoundError(f"{key} is not installed", hint="integ list --installed")
            if game is None and not any((self._installed.folder(key) / each).exists() for each in ("prefix", "saves")):
                raise NotFoundError(f"{key} is not installed, and there is nothing else of it", hint="integ list --installed")
            report(Progress("remove"))
            folder = self._installed.folder(key)

            def work(stop: Stop) -> Removed:
                done = remove_game(game, self._installed, stop.check) if game else Removed()
                if purge:
                    purge_game(folder)
                return done

            done = await in_background(work, name=f"uninstall {key}")
            return {"key": key, "path": str(game.path) if game else None, "purged": purge, **done.as_dict()}

    async def import_game(self, key: str, title: str, path: Path, exe: Path | None = None) -> dict[str, Any]:
        """
        Take over a game that lies in *path*; nothing there is changed.

        *key* is that of a release, or any name, which then becomes a key of its own for a program that no store knows.

        Raises:
            UsageError: *path* is no folder, or *exe* can't be started.
            NotFoundError: Nothing in *path* says what starts it.
            WouldLoseDataError: Integ itself has installed the game.
        """
        key = key if is_key(key) else imports.local_key(key)
        folder = path.expanduser()
        folder = Path(os.path.normpath(folder if folder.is_absolute() else Path.cwd() / folder))
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder", hint="--path names the folder that the game is in")
        async with self._alone(key, "taking it over"):
            before = self._installed.find(key)
            if before is not None and before.source == "integ":
                raise WouldLoseDataError(f"{before.title} is installed in {before.path} already", hint=f"integ uninstall {key}")
            start = imports.named_start(folder, exe) if exe is not None else imports.find_start(folder, key)
            if start is None:
                again = f"integ import {key} --path {shlex.quote(str(folder))} --exe FILE"
                raise NotFoundError(f"nothing in {folder} says what starts the game", hint=again)
            told = imports.describe(folder, key)
            game = InstalledGame(
                key=key,
                title=title or told.title or folder.name,
                path=folder,
                platform=start.platform,
                source="imported",
                executable=start.executable,
                arguments=start.arguments,
                working_dir=start.working_dir,
                build=told.build,
                version=told.version,
                language=told.language,
                installed_at=utc_now_text(),
            )
            self._installed.save(game)
            async with self._naming(key, game.platform):
                pass
        return {
            "key": key,
            "title": game.title,
            "path": str(folder),
            "platform": game.platform,
            "executable": str(start.executable),
            "build": game.build,
        }

    def _find_own(self, key: str) -> InstalledGame | None:
        """What Integ itself has installed of *key*, in whatever state."""
        found = self._installed.find(key)
        if found is not None and found.source == "imported":
            raise WouldLoseDataError(
                f"{found.title} was taken over from {found.path}", hint=f"integ uninstall {key} forgets it; its files stay"
            )
        return found

    def _choose_place(self, plan: DownloadPlan, before: InstalledGame | None, options: InstallOptions) -> Place:
        place = choose_place(plan, self._settings.games_root, before, options.directory)
        check_place(place, plan.key, before, self._installed.all(), left=self._installed.left_of(plan.key))
        return place

    async def _wanted(self, key: str, options: InstallOptions, before: InstalledGame | None) -> InstallOptions:
        """*options*, filled up by what is installed already, else by what the player wishes for all games."""
        if before is not None or self._library is None:
            return with_before(options, before)
        title = await self._library.find_title(key)
        platforms = [name for release in (title.releases if title else ()) if release.key == key for name in release.platforms]
        return with_wishes(options, await self._library.preferences(), platforms)

    async def _ask(self, key: str, options: InstallOptions) -> DownloadPlan:
        plan = await (await self._api()).download_plan(key, options.request())
        if plan.key != key or plan.kind not in {"galaxy", "linux_installer"}:
            raise ProviderError(f"the backend answered with a plan that is not for {key}", hint="integ doctor")
        return plan

    def _by_steam(self) -> SteamInstallation:
        from integ_runtime.steam.installation import SteamInstallation
        from integ_runtime.steam.library import SteamFiles

        return SteamInstallation(SteamFiles(self._settings.paths.home, os.environ))

    def _naming(self, key: str, platform: str) -> AbstractAsyncContextManager[None]:
        """Meanwhile what umu calls the game is learned."""
        return self._umu_ids.learning(key, platform) if self._umu_ids is not None else nullcontext()

    @asynccontextmanager
    async def _alone(self, key: str, doing: str) -> AsyncIterator[None]:
        folder = self._installed.folder(key)
        async with only_one(folder / LOCK, wait_s=0, doing=doing):
            with play_lock(folder):
                try:
                    yield
                finally:
                    _drop_if_bare(folder)


def _drop_if_bare(folder: Path) -> None:
    """Remove a game's own folder when nothing but its locks is in it; for the holder of both."""
    with suppress(OSError):
        if {each.name for each in folder.iterdir()} <= {LOCK, PLAY_LOCK}:
            for name in (LOCK, PLAY_LOCK):
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()


def _same_content(before: InstalledGame, plan: DownloadPlan) -> bool:
    now = (plan.build, plan.version, plan.platform, plan.language, tuple(sorted(plan.dlc)), names_of(plan))
    return now == (before.build, before.version, before.platform, before.language, tuple(sorted(before.dlc)), before.installers)


def _result(game: InstalledGame, *, files: int, fetched: int) -> dict[str, Any]:
    return {
        "key": game.key,
        "path": str(game.path),
        "build": game.build,
        "files": files,
        "bytes_fetched": fetched,
        "bytes_on_disk": game.size_bytes,
    }


def _steam_id(key: str) -> str:
    return key.partition(":")[2]


def _handed_over(key: str, done: Handover) -> dict[str, Any]:
    """The result of what Steam's client did, or was asked to do."""
    here = done.app if done.state == "installed" else None
    return {
        "key": key,
        "path": os.fsencode(here.path).decode("utf-8", "replace") if here is not None and here.path is not None else None,
        "build": here.build_id if here is not None else "",
        "files": 0,
        "bytes_fetched": here.bytes_downloaded if here is not None and done.uri else 0,
        "bytes_on_disk": here.size_bytes if here is not None else 0,
        "state": done.state,
        **({"handed_to": done.uri} if done.uri else {}),
    }


def _steam_plan(key: str) -> dict[str, Any]:
    from integ_server.contract.types import DownloadPlan

    return dry_run(DownloadPlan(key=key, title="", kind="steam_client", language=""), None)

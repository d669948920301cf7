"""One install from its plan to its done mark; a second run goes on where the first was cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from integ_runtime.content import imports, linux_installer
from integ_runtime.content.chunks import Links
from integ_runtime.content.galaxy import GalaxyBuild, Moved, with_has
from integ_runtime.content.installed import InstalledGame, InstalledGames
from integ_runtime.content.installer_files import InstallerFiles, names_of
from integ_runtime.content.ledger import LEDGER, Entry, Ledger, Root, drop_ledger
from integ_runtime.content.names import STAGING, Parts
from integ_runtime.content.plan import InstallOptions, Place, kept_dlc
from integ_runtime.content.sums import size_in
from integ_runtime.content.trash import Trash
from integ_runtime.content.tree import Tree
from integ_runtime.content.uninstall import roots_of
from integ_runtime.downloads.background import Stop, in_background
from integ_runtime.downloads.fetch import check_space, storage_errors
from integ_runtime.downloads.throttle import open_door
from integ_runtime.progress import Progress, Report
from integ_runtime.settings import RuntimeSettings
from integ_server.contract.errors import IntegrityError, ProviderError, ProviderUnavailableError, utc_now_text

if TYPE_CHECKING:
    from integ_server.contract.types import CdnEndpoint, DownloadPlan
    from integ_server.upstream import BulkDoor

_RENEWAL_S = 60.0


@dataclass(frozen=True, slots=True)
class Installed:
    game: InstalledGame
    files: int
    bytes_fetched: int


class Installation:
    """*again* asks the backend for the same plan with fresh links."""

    def __init__(
        self,
        plan: DownloadPlan,
        place: Place,
        before: InstalledGame | None,
        installed: InstalledGames,
        *,
        settings: RuntimeSettings,
        again: Callable[[], Awaitable[DownloadPlan]],
        wanted: InstallOptions,
    ) -> None:
        self._plan = plan
        self._before = before
        self._installed = installed
        self._settings = settings
        self._again = again
        self._folder = installed.folder(plan.key)
        self._game = InstalledGame(
            key=plan.key,
            title=plan.title,
            path=place.path,
            platform=plan.platform,
            source="integ",
            state="installing",
            build=plan.build,
            version=plan.version,
            language=plan.language,
            dlc=tuple(plan.dlc),
            installers=names_of(plan),
            dlc_asked=kept_dlc(wanted),
            branch=wanted.branch or "",
            library_root=place.library_root,
        )
        self._roots = roots_of(self._game, self._folder)
        self._moved = Moved()
        self._stage = "download"

    async def run(self, report: Report) -> Installed:
        with open_door(self._settings) as door:
            telling = asyncio.create_task(self._tell(report))
            try:
                if self._plan.kind == "galaxy":
                    done = await self._galaxy(door)
                else:
                    done = await self._linux_installer(door, report)
            finally:
                telling.cancel()
        report(Progress("done", self._moved.done, self._moved.total or None))
        return done

    async def _galaxy(self, door: BulkDoor) -> Installed:
        loop = asyncio.get_running_loop()

        def renew() -> dict[str, list[CdnEndpoint]]:
            asked = asyncio.run_coroutine_threadsafe(self._fresh(), loop)
            try:
                return asked.result(_RENEWAL_S).endpoints
            except TimeoutError:
                asked.cancel()
                raise ProviderUnavailableError("the store takes too long to renew its links") from None

        def work(stop: Stop) -> Installed:
            build = GalaxyBuild(self._plan, self._roots, door)
            entries = build.read(stop)
            with self._writing(entries, stop) as (planned, tree):
                build.write(planned, tree, Links(self._plan.endpoints, renew), self._moved, stop)
            return self._finish(entries, build.layout.disk_bytes, build.bytes_fetched)

        try:
            return await in_background(work, name=f"install {self._plan.key}")
        finally:
            self._abandon()

    async def _linux_installer(self, door: BulkDoor, report: Report) -> Installed:
        staging = self._game.path / STAGING
        files = InstallerFiles(self._plan, staging, door, self._fresh)
        if self._before is None or not self._before.whole:
            self._claim()  # else what is there can be played until the first of it is replaced
        with storage_errors(staging):
            staging.mkdir(parents=True, exist_ok=True)

        def work(stop: Stop, fetched: int) -> Installed:
            try:
                return self._lay_down(files.paths, fetched, stop)
            except (IntegrityError, ProviderError):
                for each in files.paths:
                    each.unlink(missing_ok=True)  # not to be taken for a whole one the next time
                raise

        try:
            fetched = await files.fetch(report)
            return await in_background(lambda stop: work(stop, fetched), name=f"install {self._plan.key}")
        finally:
            self._abandon()

    def _lay_down(self, installers: list[Path], fetched: int, stop: Stop) -> Installed:
        """Unpack *installers* over each other, none of them before all are known to be sound."""
        with ExitStack() as opened:
            archives = []
            for each in installers:
                linux_installer.check_head(each)
                archives.append(opened.enter_context(linux_installer.opened(each)))
            found = [linux_installer.members(archive, file.stat().st_size) for archive, file in zip(archives, installers, strict=True)]
            layers = linux_installer.laid_over(found)
            entries = [member.entry() for layer in layers for member in layer]
            size = sum(member.size_bytes for layer in layers for member in layer)
            self._stage, self._moved.done, self._moved.total = "unpack", 0, size
            with self._writing(entries, stop) as (planned, tree):
                for archive, layer in zip(archives, layers, strict=True):
                    linux_installer.unpack(archive, layer, planned, tree=tree, moved=self._moved.add, check=stop.check)
        return self._finish(entries, size, fetched)

    async def _fresh(self) -> DownloadPlan:
        fresh = await self._again()
        if fresh.build != self._plan.build or fresh.kind != self._plan.kind:
            raise ProviderError("the store has replaced this build meanwhile", hint=f"integ install {self._plan.key}")
        return fresh

    def _claim(self) -> None:
        """From now on the folder is this game's, and the game is not whole."""
        kept = self._game._replace(installed_at=self._before.installed_at) if self._before else self._game
        self._installed.save(kept)

    @contextmanager
    def _writing(self, entries: list[Entry], stop: Stop) -> Iterator[tuple[dict[tuple[Root, Parts], Entry], Tree]]:
        """The part in which the disk changes: room checked, ledger first, what is no longer wanted gone, all of it synced at the end."""
        stop.check()  # nobody may wait for us any more, and another process have the game's lock
        with Ledger(self._folder / LEDGER) as ledger:
            planned = with_has(entries, ledger.entries())
            check_space(self._game.path, sum(size_in(each.wanted) for each in planned.values() if not each.done))
            self._claim()
            ledger.plan(entries)
            tree = Tree(self._roots, ledger, Trash(self._game, "changed before it was replaced"), stop.check)
            tree.prepare()
            tree.remove([each for each in ledger.entries() if not each.wanted])
            yield planned, tree
            ledger.flush()
            tree.to_disk()
            tree.drop_staging()

    def _abandon(self) -> None:
        """As if it had never been tried, when a first attempt came to nothing that is worth going on with."""
        if self._before is not None:
            return
        game = self._installed.find(self._game.key)
        if game is not None and game.whole:
            return
        staging = self._game.path / STAGING
        if staging.is_dir() and any(staging.iterdir()):
            return
        with Ledger(self._folder / LEDGER) as ledger:
            if ledger.entries():
                return
        drop_ledger(self._folder / LEDGER)
        self._installed.remove(self._game.key)
        for place in (staging, self._game.path):
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()

    def _finish(self, entries: list[Entry], size: int, fetched: int) -> Installed:
        start = imports.find_start(self._game.path, self._game.key)
        told = imports.describe(self._game.path, self._game.key)
        done = self._game._replace(
            state="installed",
            executable=start.executable if start else None,
            arguments=start.arguments if start else (),
            working_dir=start.working_dir if start else None,
            version=self._game.version or told.version,
            installed_at=utc_now_text(),
            size_bytes=size,
        )
        if start is not None and start.platform != self._game.platform and start.platform == "linux":
            done = done._replace(platform="linux")
        self._installed.save(done)  # the done mark: last
        return Installed(done, sum(1 for each in entries if each.kind == "file"), fetched)

    async def _tell(self, report: Report) -> None:
        before = -1
        while True:
            if self._moved.total and self._moved.done != before:
                before = self._moved.done
                report(Progress(self._stage, self._moved.done, self._moved.total))
            await asyncio.sleep(0.1)

"""Keep the installed builds up to date, and find those that nothing needs any more."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from integ_runtime.content.installed import USED, write_whole
from integ_runtime.progress import Progress, Report, unheard
from integ_runtime.proton.choices import processes_from
from integ_runtime.proton.installed import LATEST, InstalledBuild, size_of
from integ_runtime.proton.store import ProtonStore
from integ_runtime.settings import RuntimeSettings
from integ_server.contract.errors import BuildNotFoundError, IntegError, PartialError, WouldLoseDataError
from integ_server.releases.families import FAMILIES, Wanted, parse_version, this_arch, version_name

_MOVE = ".integ-update.json"
"""In the folder of builds: [the default that is to move on, the version that it moves on to]."""


@dataclass(slots=True)
class Update:
    """What became of one line of builds: those of one family and variant for one kind of machine."""

    family: str
    arch: str
    before: str
    """The version that was the newest here."""
    version: str
    """The one that is now."""
    updated: bool = False
    default_moved: bool = False
    bytes_fetched: int = 0
    error: dict[str, Any] | None = None
    """As the envelope has it."""


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    items: list[Update]
    failures: list[IntegError]
    remarks: list[str]
    """What a player should hear besides, such as that a list is an old one."""

    def check(self) -> None:
        """Raise the first error when no line could be looked at, PartialError with `data["items"]` when one of several could not."""
        if not self.failures:
            return
        if len(self.failures) == len(self.items):
            raise self.failures[0]
        failed = [each.family for each in self.items if each.error]
        told = f"{', '.join(failed)} could not be brought up to date: {self.failures[0].message}"
        raise PartialError(told, hint=self.failures[0].hint, data={"items": [asdict(each) for each in self.items]})


@dataclass(frozen=True, slots=True)
class _Line:
    wanted: Wanted
    """The newest of it."""
    here: Sequence[InstalledBuild]
    """At least one, the newest first."""


class Upkeep:
    def __init__(self, settings: RuntimeSettings, store: ProtonStore) -> None:
        self._settings, self._paths, self._store = settings, settings.paths, store

    async def update(self, asked: str | None = None, *, report: Report = unheard) -> UpdateOutcome:
        """
        Install the newest build of each family in use, or of the one that *asked* names: `umu`, `ge-9`, or an installed version.

        The default and `latest` move on where they were the newest one before; games that are set to a version stay with it.

        Raises:
            BuildNotFoundError: Nothing that *asked* names is installed.
        """
        own = [build for build in await self._store.installed() if build.source == "integ" and build.family in FAMILIES]
        await self._finish_moves(own)
        lines = list(_lines(own)) if asked is None else [await self._line(own, asked)]
        items, failures, remarks = [], [], dict[str, None]()
        asked_for: set[str] = set()
        for line in lines:
            newest = line.here[0]
            item = Update(newest.family, _arch_of(newest), newest.version, newest.version)
            items.append(item)
            try:
                await self._bring_up_to_date(line, item, report, refresh=newest.family not in asked_for)
                asked_for.add(newest.family)
                remarks.update(dict.fromkeys(self._store.published.remarks))
            except IntegError as error:
                item.error = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
                failures.append(error)
        return UpdateOutcome(items, failures, list(remarks))

    async def _bring_up_to_date(self, line: _Line, item: Update, report: Report, *, refresh: bool) -> None:
        report(Progress("resolve", message=line.wanted.family.title))
        newest = line.here[0]
        archive = await self._store.published.find_newest(line.wanted, report, refresh=refresh)
        order = line.wanted.family.order
        if archive is None or order(archive.tag) <= order(newest.tag):
            return
        tools = self._paths.proton_dir
        default, latest = await self._store.default_here(), await asyncio.to_thread(_latest, tools)
        point = latest in {None, newest.version}
        moves = default is not None and default.path == newest.path
        if moves:  # so that a run that is killed after the build has its name is made up for by the next
            await asyncio.to_thread(write_whole, tools / _MOVE, json.dumps([newest.version, version_name(archive.tag, archive.arch)]))
        done = await self._store.published.install(archive, tools, unverified=False, point=point, report=report)
        item.version, item.updated, item.bytes_fetched = done.version, not done.already_installed, done.bytes_fetched
        if moves:
            await self._store.set_default(done.version)
            await asyncio.to_thread((tools / _MOVE).unlink, missing_ok=True)
            item.default_moved = True

    async def _finish_moves(self, own: Sequence[InstalledBuild]) -> None:
        """Move the default where a run that was killed meant to, when the build that it installed is there."""
        note = self._paths.proton_dir / _MOVE
        try:
            before, after = map(str, json.loads(await asyncio.to_thread(note.read_text, "utf-8")))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, RecursionError):
            before = after = ""
        default = await self._store.default_here()
        if default is not None and default.version == before and after in {each.version for each in own}:
            await self._store.set_default(after)
            if await asyncio.to_thread(_latest, self._paths.proton_dir) in {None, before}:
                await self._store.mark_used(next(each for each in own if each.version == after))
        await asyncio.to_thread(note.unlink, missing_ok=True)

    async def _line(self, own: Sequence[InstalledBuild], asked: str) -> _Line:
        wanted, name = parse_version(asked), asked.strip()
        lines = list(_lines([each for each in own if each.family == wanted.family.slug]))
        if wanted.tags:
            named = await self._store.find(name)
            for line in lines:
                if named is not None and any(each.path == named.path for each in line.here):
                    return line
        else:
            begin, arch = (wanted.newest_of or "").casefold(), wanted.arch or this_arch()
            mine = (each for line in lines for each in line.here if _arch_of(each) == arch)
            here = [each for each in mine if each.tag.casefold().startswith(begin) and _variant_of(each) == wanted.variant]
            if here:
                return _Line(wanted, here)
        raise BuildNotFoundError(f"Proton {name} is not installed", hint=f"integ install-proton {name}")

    async def unused(self, *, keep: int = 0) -> list[InstalledBuild]:
        """
        The builds that Integ installed, into Steam's folder too, and that no game is set to, in Integ or in Steam, no prefix was last used
        with and nothing runs from, and that are neither the default nor `latest`; of each place the newest *keep* of each family are not
        among them either.
        """
        installed = await self._store.installed()
        own = [build for build in installed if build.placed_by_integ]
        default = await self._store.default()
        users = await self._store.choices()
        needed = {each.casefold() for each in [*users, *await asyncio.to_thread(self._needed_by_prefixes)]}
        meant = {build.version.casefold(): build.path for build in reversed(installed)}  # of one name Integ's own is meant
        spared = {meant[each] for each in needed & meant.keys()} | ({default.path} if default is not None else set())
        lines: dict[tuple[Path, str], list[Path]] = {}
        for build in own:
            lines.setdefault((build.path.parent, build.family), []).append(build.path)
        spared.update(path for line in lines.values() for path in line[:keep])

        def free() -> list[InstalledBuild]:
            return [
                each._replace(size_bytes=each.size_bytes if each.size_bytes is not None else size_of(each.path))
                for each in own
                if each.path not in spared and next(processes_from(each.path), None) is None and not self._store.steam_users(each)
            ]

        return await asyncio.to_thread(free)

    async def prune(self, *, keep: int = 0, only: Iterable[Path] | None = None) -> list[InstalledBuild]:
        """Remove what is unused at the moment, of the folders in *only* when those are given; which ones went."""
        asked = None if only is None else set(only)
        gone = []
        for build in await self.unused(keep=keep):
            if asked is None or build.path in asked:
                with suppress(WouldLoseDataError, BuildNotFoundError):  # somebody began to use it just now, or removed it
                    await self._store.remove_build(build)
                    gone.append(build)
        return gone

    def _needed_by_prefixes(self) -> set[str]:
        """What each game's prefix was last used with, and where `latest` leads."""
        found = {_latest(self._paths.proton_dir) or ""}
        for file in self._paths.games_dir.glob(f"*/{USED}"):
            with suppress(OSError, ValueError, RecursionError):
                body = json.loads(file.read_text("utf-8"))
                found.add(str(body.get("proton", "")) if isinstance(body, dict) else "")
        return found


def _lines(own: Sequence[InstalledBuild]) -> Iterable[_Line]:
    """One for each family, variant and kind of machine among *own*, which is in order."""
    lines: dict[tuple[str, str, str], list[InstalledBuild]] = {}
    for build in own:
        lines.setdefault((build.family, _variant_of(build), _arch_of(build)), []).append(build)
    for (family, variant, arch), here in lines.items():
        newest = parse_version(variant or "latest", family=family)
        yield _Line(newest._replace(arch=arch), here)


def _variant_of(build: InstalledBuild) -> str:
    return FAMILIES[build.family].variant_of(build.tag)


def _arch_of(build: InstalledBuild) -> str:
    return build.arch or this_arch()


def _latest(tools: Path) -> str | None:
    try:
        return os.readlink(tools / LATEST)  # noqa: PTH115 - a name, not a path
    except OSError:
        return None

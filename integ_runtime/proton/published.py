"""Builds that can be had: the backend's catalogue or the publisher's feed, which archive is meant, and how it gets onto the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from integ_runtime.progress import Progress, Report, unheard
from integ_runtime.proton.installed import read_build
from integ_runtime.proton.processor import can_run
from integ_runtime.settings import RuntimeSettings
from integ_server.contract.errors import BuildNotFoundError, IntegError, IntegrityError, UsageError
from integ_server.releases.families import NEWER_X86, X86, Family, Wanted, get_family, this_arch, version_name

if TYPE_CHECKING:
    from integ_runtime.client.api import ApiClient
    from integ_runtime.proton.install import Copy, InstallOutcome
    from integ_runtime.proton.mirror import Catalogue
    from integ_runtime.proton.releases import Releases
    from integ_server.releases.feed import Archive, Feed


@dataclass(frozen=True, slots=True)
class _Options:
    unverified: bool
    point: bool
    for_steam: bool


class PublishedBuilds:
    """*api* opens the backend for many that there may be, whose catalogue and copies come before the publisher's."""

    def __init__(self, settings: RuntimeSettings, api: Callable[[], Awaitable[ApiClient]] | None = None) -> None:
        self._settings, self._api = settings, api
        self._catalogue: Catalogue | None = None
        self.notice = ""
        """Why the last list may be out of date; empty when it is not."""
        self.remarks: list[str] = []
        """What a player should hear of the last choice: that the list was an old one, that a newer release has no build yet."""

    async def feed(self, family: Family, *, refresh: bool = False) -> Feed:
        """Everything published of *family*; see `Releases.feed` for what is raised."""
        if self._api is not None:
            from integ_runtime.proton.mirror import read_catalogue

            self._catalogue = await read_catalogue(await self._api(), family)
            if self._catalogue is not None:
                self.notice = ""
                return self._catalogue
        feed = await self._releases().feed(family, refresh=refresh)
        self.notice = feed.notice
        return feed

    async def get(self, wanted: Wanted, typed: str, report: Report = unheard) -> Archive:
        """
        The archive that *wanted* asks for, as *typed* by the player.

        Raises:
            BuildNotFoundError: Nothing of that name is published for the machine in question.
            UsageError: It is for newer processors than this machine's.
        """
        if wanted.arch in NEWER_X86 and this_arch() == X86 and not can_run(wanted.arch):
            raise UsageError(
                f"this machine's processor can't run builds for {wanted.arch}", hint=f"integ install-proton {typed.partition('@')[0]}"
            )
        for refresh in (False, True):  # what is not in the kept list may have been published since
            feed = await self.feed(wanted.family, refresh=refresh)
            found = self._among(feed, wanted, report)
            if found is not None:
                return found
            if feed.notice:
                break
        named = wanted.choose(feed.tags(wanted.family))
        look = "integ proton available" if wanted.family.slug == "ge" else f"integ proton available --family {wanted.family.slug}"
        if wanted.variant:
            look += f" --variant {wanted.variant}"
        if named is not None:
            raise BuildNotFoundError(f"{named} has no build for {wanted.arch or this_arch()}", hint=look)
        raise BuildNotFoundError(f"no published Proton version is called {typed.strip()}", hint=f"{look} --refresh")

    async def find_newest(self, wanted: Wanted, report: Report = unheard, *, refresh: bool = True) -> Archive | None:
        """What *wanted* asks for, by a list that is asked for now when *refresh*; None when nothing of it is published."""
        return self._among(await self.feed(wanted.family, refresh=refresh), wanted, report)

    def _among(self, feed: Feed, wanted: Wanted, report: Report) -> Archive | None:
        """The archive in *feed* that *wanted* asks for; a newer release that has none yet is told."""
        self.remarks = [feed.notice] if feed.notice else []
        archives = feed.archives(wanted.family, wanted.arch or this_arch())
        tag = wanted.choose(archives)
        newest = wanted.choose(feed.tags(wanted.family, usable=True))
        if tag is not None and newest is not None and newest != tag:
            self.remarks.append(f"{newest} has no build for this machine yet; {tag} is taken")
        for remark in self.remarks:
            report(Progress("resolve", message=remark))
        return archives[tag] if tag is not None else None

    async def install(
        self, archive: Archive, tools: Path, *, unverified: bool, point: bool = True, for_steam: bool = False, report: Report
    ) -> InstallOutcome:
        """
        Put *archive* below *tools*, and `latest` onto it when *point*, or into Steam's folder; see `proton.install.install`.

        Raises:
            IntegrityError: It is not what was published, or nobody says what it should be and *unverified* is not set.
        """
        options = _Options(unverified, point and not for_steam, for_steam)
        try:
            return await self._install(archive, tools, options, report)
        except IntegrityError:
            fresh = await self._changed_since(archive)  # a build is at times uploaded anew, and lists are kept for an hour
            if fresh is None:
                raise
        return await self._install(fresh, tools, options, report)

    async def _install(self, archive: Archive, tools: Path, options: _Options, report: Report) -> InstallOutcome:
        from integ_runtime.downloads.throttle import open_door
        from integ_runtime.proton.install import Order, install

        checksum = None
        if await asyncio.to_thread(read_build, tools / version_name(archive.tag, archive.arch)) is None:
            checksum = await self._releases().checksum(archive)
            if checksum is None and not options.unverified:
                raise IntegrityError(
                    f"nobody publishes a checksum of {archive.tag}",
                    hint=f"integ install-proton {archive.tag} --unverified takes it all the same",
                )
        order = Order(archive, get_family(archive.family), checksum, for_steam=options.for_steam)
        with open_door(self._settings) as door:
            return await install(order, tools, door=door, report=report, copy=await self._copier(archive, report), point=options.point)

    async def _copier(self, archive: Archive, report: Report) -> Copy | None:
        """What brings the backend's copy of *archive*; None when it has none."""
        if self._api is None or self._catalogue is None:
            return None
        from integ_runtime.proton.mirror import copier

        version = self._catalogue.copy_of(archive)
        return copier(await self._api(), version, report, self._settings.bandwidth_limit) if version is not None else None

    async def _changed_since(self, archive: Archive) -> Archive | None:
        """What is published in place of *archive* by now; None when that is the same."""
        family = get_family(archive.family)
        try:
            feed = await self.feed(family, refresh=True)
        except IntegError:  # what went wrong before is the better story
            return None
        now = feed.archives(family, archive.arch).get(archive.tag)
        return now if now != archive else None

    def _releases(self) -> Releases:
        from integ_runtime.proton.releases import Releases

        kept = self._settings.paths.cache / "releases"
        return Releases(kept, upstream_url=self._settings.upstream_url, token=self._settings.github_token)

"""The Proton versions of this machine: which there are, which can be had, which one a game gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from integ_runtime import late_loop
from integ_runtime.progress import Progress, Report, unheard
from integ_runtime.proton.choices import DEFAULT_SETTING, Choices, check_unused
from integ_runtime.proton.installed import InstalledBuild, not_installed, own_builds, size_of, steam_builds, the_removable
from integ_runtime.settings import RuntimeSettings
from integ_runtime.steam.library import SteamFiles
from integ_runtime.steam.roots import TOOLS_FOLDER, get_root
from integ_server.contract.errors import BuildNotFoundError, UsageError
from integ_server.releases.families import Wanted, get_family, parse_version, this_arch, version_name

if TYPE_CHECKING:
    from integ_runtime.cache.store import LibraryCache
    from integ_runtime.client.api import ApiClient
    from integ_runtime.proton.in_steam import SteamInstall
    from integ_runtime.proton.install import InstallOutcome
    from integ_runtime.proton.published import PublishedBuilds
    from integ_runtime.proton.verify import VerifyOutcome


class PublishedBuild(NamedTuple):
    version: str
    family: str
    published_at: str | None
    size_bytes: int
    installed: bool


class UsedBuild(NamedTuple):
    """What a game, or all without a choice of their own, run with from now on."""

    build: InstalledBuild
    queued: bool
    """Other devices hear of it once the backend can be reached."""


class ProtonStore:
    """Everything about Proton versions: Integ's own lie in the cache folder, *steam* finds the others."""

    def __init__(
        self,
        settings: RuntimeSettings,
        steam: SteamFiles,
        api: Callable[[], Awaitable[ApiClient]] | None = None,
        library: LibraryCache | None = None,
        tell: Callable[[str, str | None], Awaitable[bool]] | None = None,
    ) -> None:
        """
        *api* opens the backend for many that there may be, whose catalogue and copies come before the publisher's; *library* knows what
        was chosen on other devices, which *tell* tells of a choice for one game; it answers whether they can hear of it yet.
        """
        self._settings = settings
        self._library, self._tell = library, tell
        self._api = api
        self._paths = settings.paths
        self._tools = settings.paths.proton_dir
        self._steam = steam
        self._choices = Choices(settings, library)

    @cached_property
    def published(self) -> PublishedBuilds:
        from integ_runtime.proton.published import PublishedBuilds  # a launch asks nobody

        return PublishedBuilds(self._settings, self._api)

    @property
    def notice(self) -> str:
        """Why the last list of published builds may be out of date; empty when it is not."""
        return self.published.notice

    def variants(self, family: str) -> tuple[str, ...]:
        """The variants in which releases of *family* are built besides the one that is meant when none is named."""
        return get_family(family).variants

    async def installed(self) -> list[InstalledBuild]:
        """Integ's own builds, newest first, and then Steam's."""
        return await late_loop.in_thread(self._installed)

    async def available(self, *, family: str = "ge", variant: str = "", limit: int = 30, refresh: bool = False) -> list[PublishedBuild]:
        """
        The published builds for this machine, newest first, of the family's *variant* where it has several; `notice` says when an old list
        had to do.

        Raises:
            UsageError: The family has no such variant.
        """
        kind = get_family(family)
        if variant and variant not in kind.variants:
            there = f"{kind.title} has: {', '.join(kind.variants)}" if kind.variants else f"{kind.title} has none"
            raise UsageError(f"there is no variant {variant!r}; {there}", hint=f"integ proton available --family {kind.slug}")
        feed = await self.published.feed(kind, refresh=refresh)
        here = {build.version for build in await late_loop.in_thread(own_builds, self._tools)}
        fitting = [each for each in feed.archives(kind, this_arch()).items() if kind.variant_of(each[0]) == variant]
        return [
            PublishedBuild(tag, kind.slug, archive.published_at, archive.size_bytes, tag in here)
            for tag, archive in fitting[: max(0, limit)]
        ]

    async def install(
        self, version: str = "latest", *, family: str | None = None, unverified: bool = False, report: Report = unheard
    ) -> InstallOutcome:
        """
        Install *version* below the cache folder, unless it is there; of *family*, else of the one that its name says.

        Raises:
            BuildNotFoundError: Nothing of that name is published for this machine.
            IntegrityError: The archive is not what was published, or nobody says what it should be and *unverified* is not set.
            ProviderError, StorageError: See `proton.install.install`.
        """
        from integ_runtime.proton.folder import point_latest
        from integ_runtime.proton.install import InstallOutcome

        wanted = parse_version(version, family=family)
        here = await late_loop.in_thread(self._own, wanted) if wanted.newest_of is None else None
        if here is None and wanted.tags:
            here = await late_loop.in_thread(self._own, Wanted(wanted.family, wanted.tags, arch=wanted.arch))
        if here is not None:
            await late_loop.in_thread(point_latest, self._tools, here.version)
            return InstallOutcome(here.version, here.family, here.path, already_installed=True, bytes_fetched=0)
        report(Progress("resolve", message=version))
        archive = await self.published.get(wanted, version, report)
        return await self.published.install(archive, self._tools, unverified=unverified, report=report)

    async def install_into_steam(
        self,
        version: str = "latest",
        *,
        family: str | None = None,
        steam: str | None = None,
        unverified: bool = False,
        report: Report = unheard,
    ) -> SteamInstall:
        """
        Install *version* where Steam looks for compatibility tools, unless it has one of that name; it offers it from its next start.

        *steam* is the folder or the flavour of one of several Steams; without it the first one is taken, as the answer tells.

        Raises:
            NotFoundError: There is no Steam here.
            UsageError: *steam* is none of those that are, or Steam could not start such a build.
        """
        from integ_runtime.proton.in_steam import SteamInstall, check_kind, find_there, names_of
        from integ_runtime.proton.install import InstallOutcome

        wanted = parse_version(version, family=family)
        check_kind(wanted, version)
        roots, tools = await late_loop.in_thread(lambda: (self._steam.roots(), self._steam.tools()))
        root = get_root(roots, steam)
        several = steam is None and len(roots) > 1
        notice = f"Of {len(roots)} Steams that in {root.path} was taken: --steam names another." if several else ""
        report(Progress("resolve", message=version))
        there = find_there(tools, root, [version_name(tag, wanted.arch or this_arch()) for tag in wanted.tags])
        if there is None:
            archive = await self.published.get(wanted, version, report)
            there = find_there(tools, root, names_of(archive))
        if there is not None:
            here = InstallOutcome(there.name, wanted.family.slug, there.path, already_installed=True, bytes_fetched=0)
            return SteamInstall(here, notice)
        folder = root.tools / TOOLS_FOLDER
        done = await self.published.install(archive, folder, unverified=unverified, for_steam=True, report=report)
        return SteamInstall(done, notice)

    async def use(self, version: str, *, game: str | None = None) -> UsedBuild:
        """
        Make *version* this machine's default, or the player's choice for the one game with the key *game*, which follows to other devices.

        Raises:
            BuildNotFoundError: It is not installed.
        """
        build = await self._get(version)
        if game is not None:
            return UsedBuild(build, queued=await self.choose(game, build.version))
        await self.set_default(build.version)
        await self.mark_used(build)
        return UsedBuild(build, queued=False)

    async def mark_used(self, build: InstalledBuild) -> None:
        """Point `latest` to *build*, when it is one of Integ's own."""
        from integ_runtime.proton.folder import point_latest

        if build.source == "integ":
            await late_loop.in_thread(point_latest, self._tools, build.version)

    async def default(self) -> InstalledBuild | None:
        """
        The build for games with no choice of their own: as this machine is set, else as the player wishes for all devices, else the
        newest of Integ's, else one of Steam's; plain Wine only where there is no Proton. None: there is none, or the one that was chosen
        is not installed.
        """
        chosen = await self._choices.default()
        if chosen:
            return await self.find(chosen)
        usable = [build for build in await self.installed() if build.runs_here]
        return min(usable, key=lambda build: build.kind != "proton", default=None)

    async def default_here(self) -> InstalledBuild | None:
        """The one build that this machine's settings name as the default; None when they name none, or rather "the newest"."""
        chosen = await self._choices.settable_default()
        try:
            moves_by_itself = not chosen or not parse_version(chosen).tags
        except BuildNotFoundError:  # a name of Steam's
            moves_by_itself = False
        return None if moves_by_itself else await self.find(chosen)

    async def set_default(self, version: str) -> None:
        """Make *version* this machine's default; an empty text takes it back."""
        from integ_runtime.config_file import write_setting

        await late_loop.in_thread(write_setting, self._paths.config_file, DEFAULT_SETTING, version)

    async def choice_for(self, key: str) -> str | None:
        """The version that the player chose for the game *key*; it may not be installed any more."""
        return await self._choices.read(key)

    async def forget(self, *, game: str | None = None) -> bool:
        """Take this machine's default back, or the choice for *game*; True when other devices hear of that later."""
        if game is not None:
            return await self.choose(game, None)
        await self.set_default("")
        return False

    async def choose(self, key: str, version: str | None) -> bool:
        """
        Set the game *key* to *version*, installed or not, or None to the default, here and on other devices; True when those hear of it
        later.
        """
        await self._choices.write(key, version)
        return self._tell is not None and not await self._tell(key, version)

    async def remove(self, version: str, *, force: bool = False, source: str | None = None) -> InstalledBuild:
        """
        Remove a build that Integ installed, of its own or into Steam's folder; *source* says which of the two where there are both, its
        folder in place of *version* which one of all.

        Raises:
            BuildNotFoundError: It is not installed.
            AmbiguousError: Several Steams have one of that name.
            UsageError: It belongs to Steam, or somebody else put it there.
            WouldLoseDataError: A game is set to it, in Integ or in Steam, or something runs from it, and *force* is not set.
        """
        build = await self._get(version, source)
        if not version.startswith("/"):
            build = the_removable(build, await self.installed())
        await self.remove_build(build, force=force)
        return build

    async def remove_build(self, build: InstalledBuild, *, force: bool = False) -> None:
        """As `remove`, for one build of several that may have its name."""
        if not build.placed_by_integ:
            raise UsageError(f"{build.version} belongs to Steam, which has to remove it", hint="in Steam: Library, Tools, Uninstall")
        from integ_runtime.proton.in_steam import check_unused_by_steam
        from integ_runtime.proton.removal import remove

        meant = await self.find(build.version)
        users = (await self.choices()).get(build.version, []) if meant is not None and meant.path == build.path else []

        def check() -> None:
            if not force:
                check_unused(build, users)
                check_unused_by_steam(build, self.steam_users(build))

        await remove(build.path, check)

    def steam_users(self, build: InstalledBuild) -> list[int]:
        """The apps that Steam is set to run with *build*, where it lies in Steam's folder; 0 is all without a choice."""
        from integ_runtime.proton.in_steam import steam_users

        return steam_users(build, self._steam)

    async def verify(self, version: str) -> VerifyOutcome:
        """
        Compare a build of Integ's with what was written down as it was installed.

        Raises:
            BuildNotFoundError: It is not installed.
            IntegrityError: Nothing was written down of it.
        """
        from integ_runtime.downloads.background import in_background
        from integ_runtime.proton.verify import verify

        build = await self._get(version)
        if not build.placed_by_integ:
            raise UsageError(f"{build.version} belongs to Steam, which verifies it by itself", hint="in Steam: Library, Tools, Properties")
        return await in_background(lambda stop: verify(build.path, stop), name=f"verify {build.version}")

    async def build_for(self, key: str | None, *, asked: str | None = None, required: str | None = None) -> InstalledBuild:
        """
        The build that the game *key* gets: *asked* for now > chosen by the player > *required* by the game > the default > Steam's.

        Raises:
            BuildNotFoundError: The one that counts is not installed, or none is.
        """
        chosen = await self.choice_for(key) if key is not None else None
        for version in (asked, chosen, required):
            if version:
                return await self._get(version)
        found = await self.default()
        if found is not None:
            return found
        missing = await self._choices.default()
        if missing:
            raise not_installed(missing)
        raise BuildNotFoundError("no Proton version is installed", hint="integ install-proton")

    async def list_items(self) -> list[dict[str, Any]]:
        """The items of `integ proton list`; who uses one is told by Integ's choices, and for those in Steam's folders by Steam's too."""
        default, users = await self.default(), await self.choices()

        def items() -> list[dict[str, Any]]:
            installed = self._installed()
            meant = {build.version: build.path for build in reversed(installed)}  # of one name Integ's own is meant
            return [
                {
                    "version": build.version,
                    "family": build.family,
                    "path": str(build.path),
                    "default": default is not None and build.path == default.path,
                    "used_by": sorted(
                        {
                            *(users.get(build.version, []) if meant[build.version] == build.path else ()),
                            *(f"steam:{app}" for app in self.steam_users(build) if app),
                        }
                    ),
                    "size_bytes": build.size_bytes if build.size_bytes is not None else size_of(build.path),
                }
                for build in installed
            ]

        return await late_loop.in_thread(items)

    def _installed(self) -> list[InstalledBuild]:
        return [*own_builds(self._tools), *steam_builds(self._steam.tools(), self._tools)]

    def _own(self, wanted: Wanted) -> InstalledBuild | None:
        """The build of Integ's own that *wanted* asks for."""
        arch = wanted.arch or this_arch()
        mine = (build for build in own_builds(self._tools) if build.family == wanted.family.slug)
        fitting = {build.tag: build for build in mine if build.arch in {"", arch}}
        tag = wanted.choose(fitting)
        return fitting[tag] if tag is not None else None

    async def find(self, version: str, source: str | None = None) -> InstalledBuild | None:
        """The installed build that *version* names: as it is called, by its folder, else as an alias; Integ's own come before Steam's."""

        def search() -> InstalledBuild | None:
            builds = [build for build in self._installed() if source in {None, build.source}]
            name = version.strip().casefold()
            for build in builds:
                if name in {build.version.casefold(), build.path.name.casefold()} or version == str(build.path):
                    return build
            try:
                wanted = parse_version(version)
            except BuildNotFoundError:
                return None
            found = self._own(wanted) if source != "steam" else None
            if found is None:
                steams = {build.version: build for build in reversed(builds) if build.source == "steam"}
                tag = wanted.choose(steams)
                found = steams[tag] if tag is not None else None
            return found

        return await late_loop.in_thread(search)

    async def _get(self, version: str, source: str | None = None) -> InstalledBuild:
        build = await self.find(version, source)
        if build is None:
            raise not_installed(version.strip())
        return build

    async def name_of(self, version: str) -> str:
        """What *version* is called once it is installed; as it stands when it is not."""
        build = await self.find(version)
        return build.version if build is not None else version

    async def choices(self) -> dict[str, list[str]]:
        """The games that are set to each version, whatever the version was called when it was chosen."""
        users: dict[str, list[str]] = {}
        for version, keys in (await self._choices.users()).items():
            users.setdefault(await self.name_of(version), []).extend(keys)
        return {version: sorted(keys) for version, keys in users.items()}

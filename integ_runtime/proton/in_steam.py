"""Builds that Integ puts into Steam's own folder of compatibility tools, so that Steam offers them for its games."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from integ_runtime.proton.install import InstallOutcome
from integ_runtime.proton.installed import InstalledBuild
from integ_runtime.steam.library import SteamFiles
from integ_runtime.steam.roots import TOOLS_FOLDER, SteamRoot
from integ_runtime.steam.tools import SteamTool
from integ_runtime.steam.users import read_chosen_tools
from integ_server.contract.errors import UsageError, WouldLoseDataError
from integ_server.releases.families import Wanted, archive_stem, version_name
from integ_server.releases.feed import Archive


@dataclass(frozen=True, slots=True)
class SteamInstall:
    outcome: InstallOutcome
    notice: str = ""
    """Which of several Steams was taken, when nobody said which; else empty."""


def check_kind(wanted: Wanted, typed: str) -> None:
    """
    Raises:
        UsageError: Steam can't start what *wanted*, *typed* by the player, asks for.
    """
    if wanted.family.kind != "proton":
        raise UsageError(
            f"{wanted.family.title} is plain Wine, which Steam can't run: it starts games by a proton script alone",
            hint=f"integ install-proton {typed.strip()} --family {wanted.family.slug}, for games that Integ starts",
        )


def find_there(tools: Iterable[SteamTool], root: SteamRoot, names: Iterable[str]) -> SteamTool | None:
    """The tool that the Steam of *root* knows by one of *names*, whoever put it there: two of one name would hide each other."""
    wanted = {name.casefold() for name in names}
    mine = (tool for tool in tools if tool.is_proton and tool.root in {None, root.path})
    return next((tool for tool in mine if {tool.name.casefold(), tool.path.name.casefold()} & wanted), None)


def names_of(archive: Archive) -> tuple[str, ...]:
    """What the build of *archive* may be called in Steam: GE's by its tag, others' by their archive."""
    return version_name(archive.tag, archive.arch), archive_stem(archive.name) or archive.name


def steam_users(build: InstalledBuild, steam: SteamFiles) -> list[int]:
    """The apps that the Steam in whose folder *build* lies is set to run with it, in order; 0 is all without a choice of their own."""
    users: set[int] = set()
    for root in steam.roots() if build.source == "steam" else ():
        if build.path.is_relative_to((root.tools / TOOLS_FOLDER).resolve()):
            users |= {app for app, tool in read_chosen_tools(root, []).items() if tool.casefold() == build.version.casefold()}
    return sorted(users)


def check_unused_by_steam(build: InstalledBuild, users: Sequence[int]) -> None:
    """
    Raises:
        WouldLoseDataError: There are *users*, apps that Steam is set to run with *build*.
    """
    if users:
        told = ", ".join(f"steam:{app}" if app else "all games without a choice" for app in users[:5])
        raise WouldLoseDataError(
            f"Steam runs {told} with {build.version}",
            hint="integ steam tools use, or in Steam: Properties, Compatibility; or add --force",
            data={"used_by": [f"steam:{app}" for app in users if app]},
        )

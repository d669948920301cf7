"""Builds that Integ puts into Steam's own folder of compatibility tools, so that Steam offers them for its games."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from integ_runtime.proton.install import InstallOutcome
from integ_runtime.proton.installed import InstalledBuild
from integ_runtime.steam.library import SteamFiles
from integ_runtime.steam.roots import SteamRoot
from integ_runtime.steam.tool_choice import pick_root
from integ_runtime.steam.tools import TOOLS_FOLDER, SteamTool
from integ_runtime.steam.users import read_chosen_tools
from integ_server.contract.errors import NotFoundError, UsageError, WouldLoseDataError
from integ_server.releases.families import archive_stem, version_name
from integ_server.releases.feed import Archive


@dataclass(frozen=True, slots=True)
class SteamInstall:
    outcome: InstallOutcome
    notice: str = ""
    """Which of several Steams was taken, when nobody said which; else empty."""


FLAVOURS = ("native", "flatpak", "snap")


def get_root(roots: Sequence[SteamRoot], asked: str | None) -> SteamRoot:
    """
    The Steam that *asked*, a folder or a flavour, names; else the first.

    Raises:
        NotFoundError: There is no Steam here.
        UsageError: *asked* is none of those that are.
    """
    if not roots:
        raise NotFoundError("Steam was not found on this machine", hint="start Steam once, or: export STEAM_DIR=/its/folder")
    if asked is None or asked in FLAVOURS:
        return pick_root(roots, asked)
    wanted = Path(asked).expanduser().resolve()
    found = next((root for root in roots if wanted in {root.path, root.tools / TOOLS_FOLDER}), None)
    if found is None:
        raise UsageError(f"{asked} is no Steam", hint=f"known: {', '.join(str(root.path) for root in roots)}")
    return found


def find_there(tools: Iterable[SteamTool], root: SteamRoot, names: Iterable[str]) -> SteamTool | None:
    """The tool that the Steam of *root* knows by one of *names*, whoever put it there: two of one name would hide each other."""
    wanted = {name.casefold() for name in names}
    mine = (tool for tool in tools if tool.is_proton and tool.root in {None, root.path})
    return next((tool for tool in mine if {tool.name.casefold(), tool.path.name.casefold()} & wanted), None)


def names_of(archive: Archive) -> tuple[str, ...]:
    """What the build of *archive* may be called in Steam: GE's by its tag, others' by their archive."""
    return version_name(archive.tag, archive.arch), archive_stem(archive.name) or archive.name


def check_unused_by_steam(build: InstalledBuild, steam: SteamFiles) -> None:
    """
    Raises:
        WouldLoseDataError: Steam is set to run something with *build*.
    """
    for root in steam.roots():
        if not build.path.is_relative_to((root.tools / TOOLS_FOLDER).resolve()):
            continue
        users = sorted(app for app, tool in read_chosen_tools(root, []).items() if tool.casefold() == build.version.casefold())
        if users:
            told = ", ".join(f"steam:{app}" if app else "all games without a choice" for app in users[:5])
            raise WouldLoseDataError(
                f"Steam runs {told} with {build.version}",
                hint="integ steam tools use, or in Steam: Properties, Compatibility; or add --force",
                data={"used_by": [f"steam:{app}" for app in users if app]},
            )

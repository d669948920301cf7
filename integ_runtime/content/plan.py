"""Before anything is written: what the player asked for, where it goes, and why it may not go there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from integ_runtime.content.installed import InstalledGame
from integ_runtime.content.names import STAGING, safe_folder_name
from integ_runtime.downloads.fetch import storage_errors
from integ_server.contract.errors import UsageError, WouldLoseDataError

if TYPE_CHECKING:
    from integ_server.contract.types import DownloadPlan, DownloadRequest


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """What `integ install` was asked for; None leaves it to the backend, or to what is installed already."""

    platform: Literal["linux", "windows"] | None = None
    language: str | None = None
    dlc: Sequence[str] | Literal["all", "none"] | None = None
    """None is all of them, unless something else was asked for earlier."""
    branch: str | None = None
    build: str | None = None
    directory: Path | None = None
    """The library folder that the game's own folder is made in, instead of the first of the settings."""

    def request(self) -> DownloadRequest:
        from integ_server.contract.types import DownloadRequest

        dlc: Any = "all" if self.dlc is None else self.dlc if isinstance(self.dlc, str) else list(self.dlc)
        return DownloadRequest(platform=self.platform, language=self.language, dlc=dlc, branch=self.branch, build=self.build)


def with_before(options: InstallOptions, before: InstalledGame | None) -> InstallOptions:
    """*options* for an update or a second attempt: what it is not told anew stays as it was."""
    if before is None:
        return options
    return replace(
        options,
        platform=options.platform or before.platform,
        language=options.language or before.language or None,
        dlc=_asked_dlc(before.dlc_asked) if options.dlc is None else options.dlc,
        branch=options.branch or before.branch or None,
        build=options.build or (before.build if before.state == "installing" else None) or None,
    )


def with_wishes(options: InstallOptions, wishes: Mapping[str, Any], platforms: Sequence[str]) -> InstallOptions:
    """
    *options* for a first install of a game that is there for *platforms*, filled up by the player's *wishes* for all games: the fields
    of `UserPreferences`. A wish for Linux is how it is anyway, and one for Windows counts where the game is there for it.
    """
    platform = options.platform
    if platform is None and wishes.get("platform") == "windows" and "windows" in platforms:
        platform = "windows"
    return replace(options, platform=platform, language=options.language or wishes.get("language"))


def kept_dlc(options: InstallOptions) -> tuple[str, ...]:
    """The choice of DLC as the game's record keeps it: ids, or one word."""
    if options.dlc is None:
        return ()
    return (options.dlc,) if isinstance(options.dlc, str) else tuple(options.dlc) or ("none",)


def _asked_dlc(kept: tuple[str, ...]) -> Sequence[str] | Literal["all", "none"] | None:
    if kept == ("none",):
        return "none"
    return None if kept in {(), ("all",)} else kept


@dataclass(frozen=True, slots=True)
class Place:
    path: Path
    library_root: Path


def choose_place(plan: DownloadPlan, games_root: Path, before: InstalledGame | None, directory: Path | None) -> Place:
    """
    The game's folder: where it is already, else a folder of its own in the library folder.

    Raises:
        UsageError: It is installed elsewhere.
    """
    if before is not None:
        wanted = _plain(directory) if directory else None
        if wanted is not None and wanted not in {before.path, before.path.parent}:
            raise UsageError(
                f"{before.title} is installed in {before.path} already", hint=f"integ uninstall {before.key}, then install it there"
            )
        return Place(before.path, before.library_root or before.path.parent)
    root = _plain(directory or games_root)
    name = safe_folder_name(plan.folder_name, plan.title, plan.key.replace(":", " "))
    return Place(root / name, root)


def _plain(folder: Path) -> Path:
    """Absolute, and without `..`: it is kept, and compared with other games' folders."""
    return Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as they are


def check_place(place: Place, key: str, before: InstalledGame | None, others: Iterable[InstalledGame], *, left: Path | None = None) -> None:
    """
    *left* is where an earlier uninstall of this game left the player's own files: it may come back there, and what is in
    its way goes to the trash.

    Raises:
        WouldLoseDataError: Something that is not this game's is there.
    """
    path = place.path
    for other in others:
        if other.key != key and (path == other.path or path.is_relative_to(other.path) or other.path.is_relative_to(path)):
            raise WouldLoseDataError(f"{path} belongs to {other.title}", hint="choose another folder with --dir")
    if before is not None:
        return
    with storage_errors(path):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise WouldLoseDataError(f"{path} is there already, and is no folder", hint="choose another folder with --dir")
        if path != left and path.is_dir() and any(each.name != STAGING for each in path.iterdir()):
            raise WouldLoseDataError(
                f"{path} holds files that Integ did not put there",
                hint=f"integ import {key} --path {shlex.quote(str(path))}, or choose another --dir",
            )


def dry_run(plan: DownloadPlan, place: Place | None) -> dict[str, Any]:
    """As `install --dry-run` prints it."""
    return {
        "key": plan.key,
        "build": plan.build,
        "platform": plan.platform,
        "language": plan.language,
        "dlc": list(plan.dlc),
        "download_bytes": plan.download_bytes,
        "disk_bytes": plan.disk_bytes,
        "path": str(place.path) if place else None,
    }

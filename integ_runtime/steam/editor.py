"""What Integ changes in Steam's own files when it is told to: the tool that an app runs with, and shortcuts to Integ's games."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from integ_runtime.paths import Paths
from integ_runtime.steam.changes import Change, Edit, SteamChanges
from integ_runtime.steam.library import SteamFiles, SteamSnapshot
from integ_runtime.steam.roots import SteamRoot, get_root, is_app_id
from integ_runtime.steam.shortcuts import Shortcut, Wish, edit_added, edit_removed, read_shortcuts, revert_shortcut
from integ_runtime.steam.tool_choice import DEFAULT, choosable, edit_choice, get_tool, revert_choice
from integ_runtime.steam.users import SteamUser, find_users, read_chosen_tools
from integ_server.contract.errors import IntegrityError, NotFoundError, UsageError

if TYPE_CHECKING:
    from integ_runtime.content.installed import InstalledGame, InstalledGames

ART = {
    "p": ("library_600x900.jpg", "library_600x900.png", "library_capsule.jpg"),
    "": ("header.jpg", "library_header.jpg"),
    "_hero": ("library_hero.jpg",),
    "_logo": ("logo.png",),
}
"""What follows the id in the name of a grid image, and the files of Steam's own cache that it can be a copy of."""
_ICONS = ("support/icon.png", "goggame-*.ico")


@dataclass(frozen=True, slots=True)
class ToolRow:
    name: str
    title: str
    path: str
    steam: str | None
    """The flavour of the Steam it belongs to; None for all of them."""
    default: bool
    used_by: tuple[str, ...]
    """Keys of games."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    tool: str | None
    """Its internal name; None: the choice is taken back."""
    key: str | None
    """None: for all games without a choice of their own."""
    steam: str
    file: str
    changed: bool


@dataclass(frozen=True, slots=True)
class ShortcutChange:
    key: str
    app_id: int
    user: str
    file: str
    changed: bool
    needs_permission: bool = False
    """Whether Steam's Flatpak has to be allowed to start programs of the host."""


class SteamEditor:
    """Everything here is refused while a Steam client runs, but for the lists."""

    def __init__(self, paths: Paths, files: SteamFiles, installed: InstalledGames, environ: Mapping[str, str]) -> None:
        self._paths = paths
        self._files = files
        self._installed = installed
        self._environ = environ
        self._changes = SteamChanges(paths, environ, {"tool": revert_choice, "shortcut": revert_shortcut})

    async def tools(self) -> list[ToolRow]:
        """The compatibility tools that Steam offers for a game, by name, and which game is set to which."""

        def look() -> list[ToolRow]:
            known = self._files.snapshot()
            flavours = {root.path: root.flavour for root in known.roots}
            chosen = {root.path: read_chosen_tools(root, []) for root in known.roots}
            rows = []
            for tool in choosable(known.tools):
                using = [each for root, each in chosen.items() if tool.root in {None, root}]
                users = sorted({app for each in using for app, name in each.items() if app and name == tool.name})
                is_default = any(each.get(0) == tool.name for each in using)
                steam = flavours.get(tool.root) if tool.root else None
                rows.append(ToolRow(tool.name, tool.title, str(tool.path), steam, is_default, tuple(f"steam:{app}" for app in users)))
            return sorted(rows, key=lambda row: (row.name.casefold(), row.path))

        return await asyncio.to_thread(look)

    async def use_tool(self, tool: str | None, *, key: str | None = None, title: str = "", steam: str | None = None) -> ToolChoice:
        """
        Set the game *key*, or all without a choice of their own, to *tool*: its internal name, title or folder. None takes the choice back.

        *steam* is the flavour or the folder of the Steam that is meant; else the one that has the game.

        Raises:
            UsageError: *key* is not Steam's.
            NotFoundError: No such tool or Steam, or it was never started.
            AmbiguousError, IntegrityError: See `get_tool`.
            BusyError, StorageError: See `SteamChanges.make`.
        """
        app = DEFAULT if key is None else _app_of(key)
        known = await asyncio.to_thread(self._files.snapshot)
        root = _root_of(known, app, steam)
        file = root.path / "config" / "config.vdf"
        name = get_tool(known.tools, tool, root).name if tool is not None else None
        told = title or ("all without a choice" if key is None else key)
        change = await self._changes.make(file, lambda content: edit_choice(content, app, name, told, where=str(file)))
        return ToolChoice(name, key, root.flavour, str(file), change is not None)

    async def shortcuts(self, *, user: str | None = None, steam: str | None = None) -> tuple[SteamUser, list[Shortcut]]:
        """
        Every non-Steam shortcut of *user*: an account id, Steam id or name; None: who signed in last.

        Raises:
            NotFoundError: No such user.
            IntegrityError: Their file is damaged.
        """

        def look() -> tuple[SteamUser, list[Shortcut]]:
            _, found = self._user(user, steam)
            return found, _read(shortcuts_file(found))

        return await asyncio.to_thread(look)

    async def has_shortcut(self, key: str) -> bool:
        """Whether any user of any Steam here has a shortcut for the game *key*; files that can't be read have none."""

        def look() -> bool:
            for root in self._files.roots():
                for user in find_users(root, []):
                    with contextlib.suppress(IntegrityError):
                        if any(each.key == key for each in _read(shortcuts_file(user))):
                            return True
            return False

        return await asyncio.to_thread(look)

    async def add_shortcut(
        self, key: str, *, steam_twins: Sequence[str] = (), user: str | None = None, steam: str | None = None
    ) -> ShortcutChange:
        """
        Put a game of Integ's into Steam's library; one that is there already stays as it is, changed by the player or not.

        *steam_twins* are keys of the same title at Steam, whose images in Steam's cache serve for it too.

        Raises:
            UsageError: It is Steam's own.
            NotFoundError: It is not installed, or there is no such user.
            BusyError, StorageError, IntegrityError: See `SteamChanges.make`.
        """
        if key.startswith("steam:"):
            raise UsageError(f"{key} is in Steam's library already", hint=f"integ install {key}")
        game = self._installed.get(key)
        root, found = await asyncio.to_thread(self._user, user, steam)
        file = shortcuts_file(found)
        wish = self._wish(game, root)
        art = await asyncio.to_thread(_cached_art, root, steam_twins)
        change = await self._changes.make(file, lambda content: edit_added(content, wish, art, file.parent / "grid", where=str(file)))
        app_id = next(each.app_id for each in await asyncio.to_thread(_read, file) if each.key == key)
        return ShortcutChange(key, app_id, found.steam_id, str(file), change is not None, root.flavour == "flatpak")

    async def remove_shortcut(
        self, key: str, *, steam_twins: Sequence[str] = (), user: str | None = None, steam: str | None = None
    ) -> ShortcutChange:
        """
        Take a game's shortcut out of Steam's library, with the images that `add_shortcut` gave it.

        Raises:
            NotFoundError: It has none, or there is no such user.
            BusyError, StorageError, IntegrityError: See `SteamChanges.make`.
        """
        root, found = await asyncio.to_thread(self._user, user, steam)
        file = shortcuts_file(found)
        art = await asyncio.to_thread(_cached_art, root, steam_twins)

        def edit(content: bytes | None) -> Edit:
            return edit_removed(content, key, list(art.values()), file.parent / "grid", where=str(file))

        change = await self._changes.make(file, edit)
        assert change is not None  # a shortcut less is always another file
        return ShortcutChange(key, int(change.id), found.steam_id, str(file), True)

    async def undo(self, *, force: bool = False) -> Change:
        """Take the last change back; see `SteamChanges.undo`."""
        return await self._changes.undo(force=force)

    def _user(self, named: str | None, steam: str | None) -> tuple[SteamRoot, SteamUser]:
        roots = self._files.roots()
        first = get_root(roots, steam)
        several = [first] if steam or named is None else roots
        for root in several:
            for user in find_users(root, []):
                account = user.folder.name
                if named is None or named in {account, user.steam_id} or named.casefold() == user.persona_name.casefold():
                    return root, user
        if named is not None:
            raise NotFoundError(f"no Steam user here is called {named}", hint=f"ls {first.path / 'userdata'}")
        raise NotFoundError(f"nobody has signed in to the Steam in {first.path}", hint="start Steam once and sign in, then end it")

    def _wish(self, game: InstalledGame, root: SteamRoot) -> Wish:
        program, arguments = _own_command(self._environ)
        if root.flavour == "flatpak":  # its programs see no other ones of the host, but may ask for one
            program, arguments = Path("/usr/bin/flatpak-spawn"), ("--host", str(program), *arguments)
        return Wish(game.key, game.title, program, arguments, game.path, _icon(game.path))


def shortcuts_file(user: SteamUser) -> Path:
    return user.folder / "config" / "shortcuts.vdf"


def _own_command(environ: Mapping[str, str]) -> tuple[Path, tuple[str, ...]]:
    """The absolute path of what starts Integ, and its first words."""
    if flatpak := environ.get("FLATPAK_ID"):
        return Path("/usr/bin/flatpak"), ("run", flatpak)
    found = shutil.which("integ", path=environ.get("PATH", os.defpath)) or shutil.which("integ", path=str(Path(sys.executable).parent))
    return (Path(found).absolute(), ()) if found else (Path(sys.executable).absolute(), ("-m", "integ_cli"))


def _icon(game: Path) -> str:
    return next((str(each) for pattern in _ICONS for each in sorted(game.glob(pattern))), "")


def _cached_art(root: SteamRoot, twins: Sequence[str]) -> dict[str, Path]:
    """The images that Steam has of the first of *twins* for which it has any; by what follows the id in a grid image's name."""
    cache = root.path / "appcache" / "librarycache"
    for app in (key.partition(":")[2] for key in twins):
        found: dict[str, Path] = {}
        for stem, names in ART.items():
            places = [[cache / app / name, cache / f"{app}_{name}", *sorted((cache / app).glob(f"*/{name}"))] for name in names]
            hit = next((place for each in places for place in each if place.is_file()), None)
            if hit is not None:
                found[stem] = hit
        if found:
            return found
    return {}


def _read(file: Path) -> list[Shortcut]:
    try:
        return read_shortcuts(file.read_bytes(), where=str(file))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise IntegrityError(f"{file} can't be read: {error.strerror}") from error


def _app_of(key: str) -> str:
    provider, _, app = key.partition(":")
    if provider != "steam" or not is_app_id(app):
        raise UsageError(f"{key} is not a game of Steam's", hint=f"integ proton use VERSION --game {key}")
    return app


def _root_of(known: SteamSnapshot, app: str, steam: str | None) -> SteamRoot:
    if steam is None and app != DEFAULT:
        game = known.find_game(int(app))
        holder = next((root for root in known.roots if game is not None and root.path == game.root), None)
        if holder is not None:
            return holder
    return get_root(known.roots, steam)

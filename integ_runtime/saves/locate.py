"""Where a game keeps its saves on this machine, by what a manifest or the game itself tells."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from integ_runtime.content.installed import InstalledGames, check_key
from integ_runtime.downloads.background import Stop, in_background
from integ_runtime.launch.flatpak import INFO
from integ_runtime.launch.prefix import prefix_of
from integ_runtime.paths import Paths
from integ_runtime.saves.manifest import OWN_FILE, OWN_LIMIT_BYTES, Entry, Manifest, Match
from integ_runtime.saves.places import Ground, Looking, find, patterns
from integ_runtime.saves.registry import find_key
from integ_runtime.steam.roots import FLATPAK_HOME, is_app_id
from integ_server.contract.errors import IntegError, NotFoundError, UsageError

if TYPE_CHECKING:
    from integ_runtime.steam.library import SteamFiles

MANIFEST_URL = "https://raw.githubusercontent.com/mtkennerly/ludusavi-manifest/master/data/manifest.yaml"

Kind = Literal["file", "folder", "registry"]


@dataclass(frozen=True, slots=True)
class SavePlace:
    path: str
    """For people and scripts; with its wildcards where nothing is there."""
    kind: Kind | None
    """None when nothing is there."""
    exists: bool
    files: int
    size_bytes: int
    tags: tuple[str, ...]
    """save, config; empty when the manifest does not say."""
    rule: str
    """As the manifest has it."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    key: str
    title: str
    """As the manifest has it."""
    known_by: str
    """steam, gog, title, or own: a file in the game's folder."""
    manifest: str
    """The file that told it."""
    cloud: tuple[str, ...]
    """Stores that keep this game's saves themselves."""
    places: tuple[SavePlace, ...]
    whole: bool
    """False when there was more to look at than any game's saves are: sizes may be too small, and places missing."""
    notes: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Of everything that is there; what lies in a folder that counts already does not count again."""
        folders = [Path(each.path) for each in self.places if each.kind == "folder"]
        return sum(
            each.size_bytes
            for each in self.places
            if not any(Path(each.path) != folder and Path(each.path).is_relative_to(folder) for folder in folders)
        )

    def as_dict(self) -> dict[str, Any]:
        """As `saves where` prints it."""
        body = {**asdict(self), "size_bytes": self.size_bytes}
        return {**body, "cloud": list(self.cloud), "notes": list(self.notes), "places": [_as_dict(each) for each in self.places]}


class Saves:
    """Looks; it changes nothing."""

    def __init__(
        self,
        paths: Paths,
        installed: InstalledGames,
        steam: Callable[[], SteamFiles],
        manifest: Path | None,
        *,
        environ: Mapping[str, str] = os.environ,
        flatpak_info: Path = INFO,
    ) -> None:
        self._paths = paths
        self._installed = installed
        self._steam = steam
        self._manifest = manifest
        self._environ = environ
        self._flatpak_info = flatpak_info

    async def where(self, key: str, title: str, *, manifest: Path | None = None) -> Whereabouts:
        """
        The places where the installed game *key*, called *title* in the library, keeps saves; *manifest* counts before the one that is set.

        Raises:
            NotFoundError: The game is not installed, there is no such manifest, or it does not know the game.
            UsageError: Nothing says where games keep saves: there is no manifest at all.
            IntegrityError: The manifest is none.
        """
        check_key(key)
        return await in_background(lambda stop: self._where(key, title, manifest or self._manifest, stop), name="saves")

    def _where(self, key: str, title: str, manifest: Path | None, stop: Stop) -> Whereabouts:
        grounds = self._steam_grounds(key) if key.startswith("steam:") else [self._own_ground(key)]
        notes: list[str] = []
        match, told_by = self._own_match(grounds, notes)
        if match is None:
            match, told_by = self._match(key, title, manifest)
        looking = Looking(stop.check)
        found: dict[str, SavePlace] = {}
        for ground in grounds:
            for place in _files(match.entry, ground, looking):
                found.setdefault(place.path, place)
            for place in _registry(match.entry, ground):
                found.setdefault(f"{place.path} {place.rule}", place)
        return Whereabouts(
            key=key,
            title=match.entry.title,
            known_by=match.by,
            manifest=told_by,
            cloud=match.entry.cloud,
            places=tuple(sorted(found.values(), key=lambda each: (not each.exists, each.path, each.rule))),
            whole=not looking.is_over,
            notes=tuple(notes),
        )

    def _match(self, key: str, title: str, manifest: Path | None) -> tuple[Match, str]:
        if manifest is None:
            raise UsageError(
                "no manifest says where games keep their saves",
                hint=f"curl -LO {MANIFEST_URL} && integ config set save_manifest $PWD/manifest.yaml",
            )
        provider, _, game_id = key.partition(":")
        number = int(game_id) if game_id.isascii() and game_id.isdigit() else None
        found = Manifest.open(manifest).find(
            steam=number if provider == "steam" else None, gog=number if provider == "gog" else None, title=title
        )
        if found is None:
            raise NotFoundError(f"{manifest} does not know {title} ({key})", hint="a newer one may: --manifest FILE")
        return found, str(manifest)

    def _own_match(self, grounds: list[Ground], notes: list[str]) -> tuple[Match | None, str]:
        """What the game says itself; a file that can't be read is told, and does not count."""
        for base in dict.fromkeys(base for ground in grounds for base in ground.bases):
            file = base / OWN_FILE
            if file.is_symlink() or not file.is_file():
                continue
            try:
                entry = Manifest.open(file, limit_bytes=OWN_LIMIT_BYTES).first()
            except IntegError as error:
                notes.append(f"{error.message}; it is left out")
                continue
            if entry is not None and not entry.alias:
                return Match(entry, "own"), str(file)
        return None, ""

    def _own_ground(self, key: str) -> Ground:
        game = self._installed.get(key)
        is_linux = game.platform == "linux"
        provider, _, game_id = key.partition(":")
        return self._ground(
            provider,
            game_id,
            bases=(game.path, game.path / "game") if is_linux else (game.path,),
            roots=(game.library_root or game.path.parent,),
            pfx=None if is_linux else prefix_of(self._installed.folder(key)) / "pfx",
        )

    def _steam_grounds(self, key: str) -> list[Ground]:
        """Of a game that Steam may run both ways, both."""
        game_id = key.partition(":")[2]
        steam = self._steam()
        app = steam.find_app(int(game_id)) if is_app_id(game_id) else None
        if app is None or app.path is None or not app.installed:
            raise NotFoundError(f"{key} is not installed", hint=f"integ install {key}")
        root = next((each for each in steam.roots() if each.path == app.root), None)
        libraries = {app.root, app.library}
        pfx = app.path.parent.parent / "compatdata" / game_id / "pfx"
        grounds = []
        if not app.windows:
            home = self._paths.home / FLATPAK_HOME if root is not None and root.flavour == "flatpak" else None
            grounds.append(self._ground("steam", game_id, bases=(app.path,), roots=tuple(sorted(libraries)), pfx=None, flatpak_home=home))
        if app.windows or pfx.is_dir():
            grounds.append(self._ground("steam", game_id, bases=(app.path,), roots=tuple(sorted(libraries)), pfx=pfx))
        return grounds

    def _ground(
        self,
        store: str,
        game_id: str,
        *,
        bases: tuple[Path, ...],
        roots: tuple[Path, ...],
        pfx: Path | None,
        flatpak_home: Path | None = None,
    ) -> Ground:
        home = flatpak_home or self._paths.home
        data = home / "data" if flatpak_home else self._xdg("XDG_DATA_HOME", ".local/share")
        config = home / "config" if flatpak_home else self._xdg("XDG_CONFIG_HOME", ".config")
        return Ground(
            store=store,
            game_id=game_id,
            home=home,
            user=_user_name(),
            bases=bases,
            roots=roots,
            xdg_data=data,
            xdg_config=config,
            private=(self._paths.data, self._paths.config, home / ".ssh", home / ".gnupg", data / "keyrings"),
            pfx=pfx,
        )

    def _xdg(self, variable: str, default: str) -> Path:
        """The folder as games see it, which run outside of Integ's Flatpak."""
        asked = Path(self._environ.get(f"HOST_{variable}" if self._flatpak_info.exists() else variable, ""))
        return asked if asked.is_absolute() else self._paths.home / default


def _files(entry: Entry, ground: Ground, looking: Looking) -> Iterator[SavePlace]:
    for rule in entry.files:
        wanted = patterns(rule, ground, entry.install_dirs)
        found = {place.path: place for pattern in wanted for place in find(pattern, ground, looking)}
        for path, place in found.items():
            kind: Kind = "folder" if place.is_folder else "file"
            yield SavePlace(_text(path), kind, True, place.files, place.size_bytes, rule.tags, rule.path)
        if wanted and not found:
            yield SavePlace(_printable(wanted[0].shown), None, False, 0, 0, rule.tags, rule.path)


def _registry(entry: Entry, ground: Ground) -> Iterator[SavePlace]:
    for rule in entry.registry if ground.pfx is not None else ():
        assert ground.pfx is not None
        key = find_key(ground.pfx, rule.path) if rule.holds(os=ground.os, store=ground.store) else None
        if key is not None:
            there = key.size_bytes > 0
            yield SavePlace(_text(key.file), "registry" if there else None, there, int(there), key.size_bytes, rule.tags, rule.path)


def _as_dict(place: SavePlace) -> dict[str, Any]:
    return {**asdict(place), "tags": list(place.tags)}


def _text(path: Path) -> str:
    return _printable(os.fspath(path))


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "steamuser"  # in some containers nobody has a name

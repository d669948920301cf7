"""Where Steam keeps its things: the folders of every flavour of the client, and the libraries they name."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from integ_runtime.steam.vdf import Section, read_vdf
from integ_server.contract.errors import IntegrityError, NotFoundError, UsageError

FLATPAK_HOME = ".var/app/com.valvesoftware.Steam"
_CANDIDATES = (
    ("native", ".local/share/Steam"),
    ("debian", ".steam/debian-installation"),
    ("old", ".steam/steam"),
    ("old", ".steam/root"),
    ("old", ".steam"),
    ("flatpak", f"{FLATPAK_HOME}/.local/share/Steam"),
    ("flatpak", f"{FLATPAK_HOME}/data/Steam"),
    ("flatpak", f"{FLATPAK_HOME}/.steam/steam"),
    ("snap", "snap/steam/common/.local/share/Steam"),
    ("snap", "snap/steam/common/.steam/root"),
    ("snap", ".snap/data/steam/common/.local/share/Steam"),
)
FLAVOURS = ("native", "flatpak", "snap")
"""What people may call a Steam; every one that is neither of the last two is native."""
TOOLS_FOLDER = "compatibilitytools.d"
_CLIENT_PARTS = ("steam.sh", "ubuntu12_32", "ubuntu12_64")


class SteamRoot(NamedTuple):
    """One Steam installation; `path` is real, with no link in it."""

    flavour: str
    """native, debian, old, flatpak, snap or override."""
    path: Path
    steamapps: Path
    """Spelt as it is on this disk: `SteamApps` on old installs."""
    tools: Path
    """Where `compatibilitytools.d` is looked for; apart from `path` on very old installs only."""
    has_client: bool
    """Whether the client's own programs are here, so that it can be started."""


class SteamLibrary(NamedTuple):
    path: Path
    root: Path
    """The Steam installation that uses it."""
    steamapps: Path | None
    """None while its drive is not there."""
    listed_apps: tuple[int, ...] = ()
    """What Steam last knew to be installed in it; the manifests are the authority while the drive is there."""

    @property
    def online(self) -> bool:
        return self.steamapps is not None


def find_roots(home: Path, environ: Mapping[str, str]) -> list[SteamRoot]:
    """Every Steam on this machine: the player's override first, then native before Flatpak before Snap; none twice."""
    found: dict[Path, SteamRoot] = {}
    for flavour, candidate in _candidates(home, environ):
        path = _real_folder(candidate)
        if path is None or path in found:
            continue
        steamapps = find_folder(path, "steamapps")
        if steamapps is None:
            continue
        has_client = any((path / part).exists() for part in _CLIENT_PARTS)
        found[path] = SteamRoot(flavour, path, steamapps, _tools_folder(home, flavour, path), has_client)
    return list(found.values())


def get_root(roots: Sequence[SteamRoot], asked: str | None) -> SteamRoot:
    """
    The Steam that *asked*, its folder or one of `FLAVOURS`, names; else the first.

    Raises:
        NotFoundError: There is no Steam here, or none of that flavour.
        UsageError: *asked* is no folder of one.
    """
    if not roots:
        raise NotFoundError("Steam was not found on this machine", hint="start Steam once, or: export STEAM_DIR=/its/folder")
    if asked is None:
        return roots[0]
    known = f"known: {', '.join(str(root.path) for root in roots)}"
    if asked in FLAVOURS:
        for root in roots:
            if asked == (root.flavour if root.flavour in FLAVOURS else "native"):
                return root
        raise NotFoundError(f"there is no {asked} Steam here", hint=known)
    wanted = _real_folder(Path(asked).expanduser())
    found = next((root for root in roots if wanted in {root.path, _real_folder(root.tools / TOOLS_FOLDER)}), None)
    if wanted is None or found is None:
        raise UsageError(f"{asked} is no Steam", hint=known)
    return found


def find_libraries(root: SteamRoot, home: Path, warnings: list[str]) -> list[SteamLibrary]:
    """The libraries of *root*, itself first; a damaged list is told in *warnings* and the others count."""
    listed: dict[Path, set[int]] = {root.path: set()}
    for file in library_lists(root):
        try:
            content = read_vdf(file)
        except FileNotFoundError:
            continue
        except IntegrityError as damaged:
            warnings.append(damaged.message)
            continue
        for named, apps in _named_libraries(content):
            path = _seen_from_here(named, root, home)
            if path is not None:
                listed.setdefault(path, set()).update(apps)
    return [
        SteamLibrary(path, root.path, root.steamapps if path == root.path else _steamapps(path), tuple(sorted(apps)))
        for path, apps in listed.items()
    ]


def library_lists(root: SteamRoot) -> tuple[Path, ...]:
    """The files that name libraries, in the order in which they are read."""
    config = root.path / "config"
    return config / "libraryfolders.vdf", root.steamapps / "libraryfolders.vdf", config / "config.vdf"


def find_folder(parent: Path, name: str) -> Path | None:
    """The folder *name* in *parent* however it is spelt; the usual spelling wins over others."""
    exact = parent / name
    try:
        if exact.is_dir():
            return exact
        return next((each for each in sorted(parent.iterdir()) if each.name.casefold() == name and each.is_dir()), None)
    except OSError:
        return None


def candidate_folders(home: Path, environ: Mapping[str, str]) -> list[Path]:
    """Where a Steam would be looked for."""
    return [folder for _, folder in _candidates(home, environ)]


def _candidates(home: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    override = environ.get("STEAM_DIR", "")
    if override.startswith("/"):
        yield "override", Path(override)
    data = environ.get("XDG_DATA_HOME", "")
    if data.startswith("/"):
        yield "native", Path(data, "Steam")
    for flavour, below in _CANDIDATES:
        yield flavour, home / below


def _tools_folder(home: Path, flavour: str, path: Path) -> Path:
    """`~/.steam/root` may be a place of its own on very old installs; a tools folder of another flavour is never taken."""
    if flavour == "old" and path == _real_folder(home / ".steam/steam"):
        apart = _real_folder(home / ".steam/root")
        if apart is not None and find_folder(apart, "steamapps") is None:
            return apart
    return path


def _named_libraries(content: Section) -> Iterator[tuple[str, set[int]]]:
    folders = content.section("libraryfolders")
    for key, value in folders.items():
        if not (key.isascii() and key.isdigit()):
            continue
        if isinstance(value, str):
            yield value, set()
        else:
            yield value.text("path"), {int(app) for app, _ in value.section("apps").items() if is_app_id(app)}
    oldest = content.section("InstallConfigStore", "Software", "Valve", "Steam")
    for key, value in oldest.items():
        if key.casefold().startswith("baseinstallfolder_") and isinstance(value, str):
            yield value, set()


def is_app_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < len(text) <= 10 and 0 < int(text) < 2**32


def _seen_from_here(named: str, root: SteamRoot, home: Path) -> Path | None:
    """The real path of a library; Flatpak's Steam has its home elsewhere and writes down what it sees."""
    if not named.startswith("/") or "\0" in named:
        return None
    path = Path(named)
    if root.flavour == "flatpak" and path.is_relative_to(home) and not path.is_relative_to(home / FLATPAK_HOME):
        inside = home / FLATPAK_HOME / path.relative_to(home)
        if inside.exists() or not path.exists():
            path = inside
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a link in a circle
        return path


def _steamapps(library: Path) -> Path | None:
    return find_folder(library, "steamapps")


def _real_folder(path: Path) -> Path | None:
    try:
        real = path.resolve(strict=True)
        return real if stat.S_ISDIR(real.stat().st_mode) else None
    except (OSError, RuntimeError):
        return None

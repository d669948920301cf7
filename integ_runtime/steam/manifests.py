"""One installed app as its `appmanifest_<id>.acf` tells it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from integ_runtime.steam.roots import SteamLibrary, is_app_id
from integ_runtime.steam.vdf import Section, read_vdf
from integ_server.contract.errors import IntegrityError

NEVER_A_DATE = 86_400
"""What Steam writes for "played, nobody knows when"."""

# The bits that both traditions of naming them agree on; no other one carries logic here.
_UPDATE_REQUIRED, _FULLY_INSTALLED, _FILES_MISSING, _FILES_CORRUPT, _UNINSTALLING = 2, 4, 32, 128, 2048
_UPDATE_RUNNING, _UPDATE_PAUSED, _UPDATE_STARTED = 256, 512, 1024
_FILE = re.compile(r"appmanifest_(\d{1,10})\.acf", re.ASCII)

NOT_GAMES = frozenset(
    {
        *(228980, 891390, 250820, 221410, 1161040, 1826330, 1007020, 4690330),  # redistributables, manifests, SteamVR, client, anti-cheat
        *(1070560, 1391110, 1628350, 3810310, 4183110, 4185400),  # runtimes
        *(858280, 930400, 961940, 996510, 1054830, 1113280, 1245040, 1420170, 1580130, 1887720, 2348590, 2805730, 3658110),  # Proton
        *(4628710, 4628740, 1493710, 2180100, 2230260, 3086180, 3201940),
    }
)


AppState = Literal["installed", "update waiting", "updating", "installing", "waiting", "paused", "damaged", "uninstalling", "offline"]


class SteamApp(NamedTuple):
    """An app that a library holds, is getting or is losing. Times are Unix seconds, 0 when unknown or never."""

    app_id: int
    name: str
    path: Path | None
    """Its folder, whether or not it is there; None when the manifest names none that may be used."""
    library: Path
    root: Path
    state_flags: int = 0
    size_bytes: int = 0
    build_id: str = ""
    target_build_id: str = ""
    bytes_to_download: int = 0
    bytes_downloaded: int = 0
    updated_at: int = 0
    last_played_at: int = 0
    playtime_min: int = 0
    language: str = ""
    branch: str = ""
    windows: bool = False
    """Whether Steam was told to install the Windows build here."""
    tool: str = ""
    """The compatibility tool that the player chose for it in Steam; its internal name."""
    offline: bool = False
    """Its library's drive is not there: what is known of it is what Steam knew last."""

    @property
    def installed(self) -> bool:
        """Whole enough to be played; an update may be waiting."""
        broken = self.state_flags & (_FILES_MISSING | _FILES_CORRUPT | _UNINSTALLING)
        return self.offline or bool(self.state_flags & _FULLY_INSTALLED and not broken)

    @property
    def update_available(self) -> bool:
        return self.installed and bool(self.state_flags & _UPDATE_REQUIRED)

    @property
    def state(self) -> AppState:
        """What Steam does with it, in one word; whether it is played stands in no manifest, only in the processes."""
        flags = self.state_flags
        if self.offline:
            return "offline"
        if flags & _UNINSTALLING:
            return "uninstalling"
        if flags & (_FILES_MISSING | _FILES_CORRUPT):
            return "damaged"
        if flags & _UPDATE_PAUSED:
            return "paused"
        if flags & (_UPDATE_RUNNING | _UPDATE_STARTED):
            return "updating" if flags & _FULLY_INSTALLED else "installing"
        if flags & _FULLY_INSTALLED:
            return "update waiting" if flags & _UPDATE_REQUIRED else "installed"
        return "waiting"

    @property
    def progress(self) -> float | None:
        """How much of a running download is here, from 0 to 1; None when none is under way."""
        if not self.state_flags & _UPDATE_REQUIRED or not self.bytes_to_download:
            return None
        return min(1.0, self.bytes_downloaded / self.bytes_to_download)


def apps_in(library: SteamLibrary, warnings: list[str]) -> list[SteamApp]:
    """Every app of *library*, tools included; what can't be read is told in *warnings* and left out."""
    if library.steamapps is None:
        return [SteamApp(each, "", None, library.path, library.root, offline=True) for each in library.listed_apps]
    try:
        names = sorted(each.name for each in library.steamapps.iterdir())
    except OSError as error:
        warnings.append(f"{library.steamapps} can't be read: {error.strerror}")
        return []
    found: dict[int, SteamApp] = {}
    for name in names:
        match = _FILE.fullmatch(name)
        if match is None:
            continue
        try:
            app = _read_manifest(library.steamapps / name, match[1], library)
        except FileNotFoundError:  # uninstalled this moment
            continue
        except IntegrityError as damaged:
            warnings.append(damaged.message)
            continue
        found[app.app_id] = app
    return list(found.values())


def find_app(library: SteamLibrary, app_id: int) -> SteamApp | None:
    """One app of *library*; None when it is not there, or its manifest makes no sense this moment."""
    if library.steamapps is None:
        return SteamApp(app_id, "", None, library.path, library.root, offline=True) if app_id in library.listed_apps else None
    try:
        return _read_manifest(library.steamapps / f"appmanifest_{app_id}.acf", str(app_id), library)
    except (FileNotFoundError, IntegrityError):
        return None


def is_tool(app: SteamApp) -> bool:
    """Whether *app* is something that games need rather than a game."""
    if app.app_id in NOT_GAMES:
        return True
    try:
        return app.path is not None and (app.path / "toolmanifest.vdf").is_file()
    except OSError:
        return False


def with_play(app: SteamApp, playtime_min: int, last_played_at: int) -> SteamApp:
    """*app* with what a user's own file says of it; the larger and the later figures win."""
    return app._replace(
        playtime_min=max(app.playtime_min, playtime_min),
        last_played_at=max(app.last_played_at, last_played_at),
    )


def moment(seconds: int) -> int:
    """A Unix time as Steam writes it, with its ways of saying "unknown" and anything past the year 2200 as 0."""
    return seconds if NEVER_A_DATE < seconds < 7_258_118_400 else 0


def _read_manifest(file: Path, id_in_name: str, library: SteamLibrary) -> SteamApp:
    content = read_vdf(file)
    state = content.section("AppState")
    if not len(state):
        raise IntegrityError(f"{file} holds no AppState")
    written = state.text("appid")
    app_id = int(written) if is_app_id(written) else int(id_in_name) if is_app_id(id_in_name) else 0
    if not app_id:
        raise IntegrityError(f"{file} names no app")
    name = state.text("name") or state.text("UserConfig", "name")
    override = state.text("UserConfig", "platform_override_source") or state.text("MountedConfig", "platform_override_source")
    return SteamApp(
        app_id=app_id,
        name=name,
        path=_install_folder(state, file.parent),
        library=library.path,
        root=library.root,
        state_flags=max(0, state.number("StateFlags")),
        size_bytes=max(0, state.number("SizeOnDisk")),
        build_id=state.text("buildid"),
        target_build_id=state.text("TargetBuildID"),
        bytes_to_download=max(0, state.number("BytesToDownload")),
        bytes_downloaded=max(0, state.number("BytesDownloaded")),
        updated_at=moment(state.number("LastUpdated")),
        last_played_at=moment(state.number("LastPlayed")),
        language=state.text("UserConfig", "language"),
        branch=state.text("UserConfig", "BetaKey"),
        windows=override.casefold() == "windows",
    )


def _install_folder(state: Section, steamapps: Path) -> Path | None:
    """A plain name below `common` (or `music`, for a soundtrack); anything that leads elsewhere is not believed."""
    name = state.text("installdir")
    if not name or "/" in name or "\0" in name or name in {".", ".."}:
        return None
    common, music = steamapps / "common" / name, steamapps / "music" / name
    try:
        return music if not common.exists() and music.exists() else common
    except OSError:
        return common

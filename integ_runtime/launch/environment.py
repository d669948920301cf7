"""What of Integ's own environment a game is given: everything but what would break it and what is none of its business."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath

RESERVED = frozenset({"STEAM_COMPAT_DATA_PATH", "WINEPREFIX", "PROTONPATH", "GAMEID"})
"""Set by Integ alone: another value would let a game run in a prefix that nobody watches. `UMU_*` too, and `INTEG_*`."""

_DROPPED = frozenset(
    {
        # Proton and umu are Python programs, and a foreign interpreter's settings break them
        "PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE", "PYTHONSTARTUP", "PYTHONSAFEPATH", "__PYVENV_LAUNCHER__",
        "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT",
        # the overlay of a Steam that started Integ, or worse
        "LD_PRELOAD",
        # a terminal's size when Integ started; the game's own terminal, if any, is asked anew
        "COLUMNS", "LINES",
        # what a Windows program must not read
        "GITHUB_TOKEN", "GH_TOKEN", "STEAM_API_KEY", "GOG_CLIENT_ID", "GOG_CLIENT_SECRET", "DATABASE_URL", "REDIS_URL", "BACKEND_URL",
        # an outer Wine session's
        "WINEPREFIX", "WINEARCH", "WINESERVER", "WINELOADER", "PROTONPATH", "GAMEID", "PROTON_VERB", "RUNTIMEPATH",
        "STEAM_COMPAT_DATA_PATH", "STEAM_COMPAT_TOOL_PATHS", "STEAM_COMPAT_INSTALL_PATH", "STEAM_COMPAT_LIBRARY_PATHS",
        "STEAM_COMPAT_APP_ID", "STEAM_COMPAT_SHADER_PATH", "STEAM_COMPAT_CLIENT_INSTALL_PATH", "SteamAppId", "SteamGameId",
        "SteamOverlayGameId",
    }
)  # fmt: skip
_DROPPED_GROUPS = re.compile(r"INTEG_|CONDA_|BASH_FUNC_|TEXTUAL_|STEAM_[A-Z_]*KEY$|_PYI_|UMU_(?!LOG$|FOLDERS_PATH$|NO_RUNTIME$|HTTP_)")
_FROM_BUNDLES = re.compile(r"GDK_|GIO_|GTK_|QT_PLUGIN_PATH$|QML2_IMPORT_PATH$|GSETTINGS_|FONTCONFIG_|SSL_CERT_|LD_LIBRARY_PATH$")
_BUNDLE_MARKS = ("APPIMAGE", "APPDIR", "_PYI_ARCHIVE_FILE", "_MEIPASS2", "SNAP")


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """
    A copy of *environ* fit for a game; TERM is given back to one that gets our terminal.

    Source: what broke Proton and umu for others: umu-launcher 587; Heroic 310, 1401, 5299; Lutris' exported shell functions.
    """
    bundled = any(environ.get(mark) for mark in _BUNDLE_MARKS)
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _DROPPED and not _DROPPED_GROUPS.match(name) and not (bundled and _FROM_BUNDLES.match(name))
    }
    kept.pop("TERM", None)
    if environ.get("STEAM_RUNTIME"):
        kept.pop("LD_LIBRARY_PATH", None)  # of the Steam that started Integ; its old runtime's libraries
    if "LD_LIBRARY_PATH_ORIG" in kept:
        before = kept.pop("LD_LIBRARY_PATH_ORIG")
        kept.pop("LD_LIBRARY_PATH", None)
        if before:
            kept["LD_LIBRARY_PATH"] = before
    if "PATH" in kept:
        kept["PATH"] = _without_venv(kept["PATH"], environ)
    if kept.get("LC_ALL"):
        kept["HOST_LC_ALL"] = kept["LC_ALL"]  # Proton drops LC_ALL and takes this instead
    return kept


def in_gaming_mode(environ: Mapping[str, str]) -> bool:
    """
    Whether *environ* is that of a session that gamescope draws, as a Steam Deck's gaming mode is; `SteamDeck` is set on its desktop too.
    """
    if "gamescope" in {environ.get(name, "").casefold() for name in ("XDG_CURRENT_DESKTOP", "XDG_SESSION_DESKTOP")}:
        return True
    return bool(environ.get("GAMESCOPE_WAYLAND_DISPLAY")) or (environ.get("SteamOS") == "1" and environ.get("SteamGamepadUI") == "1")


def is_reserved(name: str) -> bool:
    return name in RESERVED or name.startswith(("UMU_", "INTEG_"))


def is_secret(name: str) -> bool:
    """Whether the value of a variable of this name is kept out of logs and of what is shown."""
    return bool(re.search(r"TOKEN|SECRET|PASSW|API_?KEY|CREDENTIAL|COOKIE|SESSION_ID|_KEY$", name, re.IGNORECASE))


def shown(env: Mapping[str, str]) -> dict[str, str]:
    """*env* for a log or a screen."""
    return {name: "***" if is_secret(name) else value for name, value in sorted(env.items())}


def masked(argv: Sequence[str]) -> list[str]:
    """Words such as `--password=x` and `--env=MY_TOKEN=x` without what stands behind the sign."""
    said = []
    for word in argv:
        name, sign, value = word.rpartition("=") if word.startswith("--env=") and word.count("=") == 2 else word.partition("=")
        said.append(f"{name}=***" if sign and value and is_secret(name) else word)
    return said


def for_commands(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* for what the player wants run around a game: no secret is handed to it."""
    return {name: value for name, value in environ.items() if not is_secret(name)}


def _without_venv(path: str, environ: Mapping[str, str]) -> str:
    homes = {environ.get("VIRTUAL_ENV", "")} | ({sys.prefix} if sys.prefix != sys.base_prefix else set())
    unwanted = {str(PurePath(home, "bin")) for home in homes if home}
    return os.pathsep.join(part for part in path.split(os.pathsep) if part.rstrip("/") not in unwanted)

"""
What is missing on this machine, and the command that mends it.

Every check looks, none changes anything. What it looks at stands below one root folder, so that a test can lay out a machine. What
games need of the machine itself stands in `gaming.py`.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integ_runtime import gaming
from integ_runtime.checks import Around, Check, State
from integ_runtime.content.installed import InstalledGames
from integ_runtime.packages import read_packages
from integ_runtime.secrets import key_place
from integ_runtime.settings import shown_address
from integ_runtime.steam.library import SteamSnapshot
from integ_server.contract.errors import IntegError

if TYPE_CHECKING:
    from integ_runtime.runtime import Runtime

SPACE_TIGHT_BYTES = 10 << 30
SPACE_NONE_BYTES = 1 << 30
DATA_TIGHT_BYTES = 500 << 20
DATA_NONE_BYTES = 50 << 20
_WARNINGS_SHOWN = 3
_UMU_RUNTIMES = ("steamrt2", "steamrt3", "steamrt4")


async def examine(runtime: Runtime, *, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> list[Check]:
    """Every check, in a fixed order; a check that fails by itself is told as one that found something wrong."""
    around = Around(runtime.settings, environ, read_packages(root), root)
    found = [await asyncio.to_thread(_looked, name, look, around) for name, look in _LOCAL.items()]
    snapshot = await asyncio.to_thread(runtime.steam.snapshot)
    found += [check_steam(around, snapshot), check_runtime(around, snapshot)]
    found.append(await _check_proton(runtime))
    found.append(await _check_backend(runtime))
    return found


def _looked(name: str, look: Callable[[Around], Check], around: Around) -> Check:
    try:
        return look(around)
    except (OSError, IntegError) as error:
        return _failed(name, error)


def _failed(name: str, error: OSError | IntegError, about: str = "") -> Check:
    """What is no command is told in words; and to call the doctor from the doctor mends nothing."""
    hint = getattr(error, "hint", "")
    is_command = hint.startswith("integ ")
    told = f"{about}{error}" if is_command or not hint else f"{about}{error}; {hint}"
    return Check(name, "fail", told, hint if is_command and hint != "integ doctor" else "")


# --- the machine ---------------------------------------------------------------------------------------------------


def check_python(around: Around) -> Check:
    version = ".".join(str(each) for each in sys.version_info[:3])
    return Check("python", "ok" if sys.version_info >= (3, 11) else "fail", version)


def check_folders(around: Around) -> Check:
    """That Integ may write where it keeps things."""
    paths = around.settings.paths
    for folder in (paths.data, paths.cache, paths.config, paths.state, around.settings.games_root):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            shown = shlex.quote(str(there))
            if os.statvfs(there).f_flag & os.ST_RDONLY:
                return Check("folders", "fail", f"{there} is on a disk that is read-only", f"findmnt --target {shown}")
            mend = f"sudo chown $USER {shown}" if there.is_dir() else f"mv {shown} {shlex.quote(f'{there}.old')}"
            return Check("folders", "fail", f"{there} can't be written", mend)
    return Check("folders", "ok", f"{paths.data}, {paths.cache} and {around.settings.games_root} can be written")


def check_space(around: Around) -> Check:
    tight: list[str] = []
    worst: State = "ok"
    shown: list[str] = []
    paths = around.settings.paths
    for folder, tight_bytes, none_bytes in (
        (around.settings.games_root, SPACE_TIGHT_BYTES, SPACE_NONE_BYTES),
        (paths.proton_dir, SPACE_TIGHT_BYTES, SPACE_NONE_BYTES),
        (paths.data, DATA_TIGHT_BYTES, DATA_NONE_BYTES),
    ):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        shown.append(f"{free / (1 << 30):.1f} GiB free for {folder}")
        if free < tight_bytes:
            tight.append(str(there))
            worst = "fail" if free < none_bytes else "warn" if worst == "ok" else worst
    return Check("disk-space", worst, "; ".join(shown), f"du -xh --max-depth=2 {shlex.quote(tight[0])} | sort -h | tail" if tight else "")


def check_secrets(around: Around) -> Check:
    """Where the key to the store sign-ins lies; without a keyring they are only as safe as the home folder."""
    place = key_place(around.settings.paths)
    if place == "secret-service":
        return Check("secrets", "ok", "the key to your sign-ins lies in the desktop's keyring")
    if place == "file":
        told = "the key to your sign-ins lies in a file: they are only as safe as your home folder"
        return Check("secrets", "warn", told)
    if around.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return Check("secrets", "ok", "not needed yet; a session bus is there to ask for a keyring")
    told = "no session bus, so no keyring: sign-ins will be only as safe as your home folder"
    return Check("secrets", "warn", told, around.packages.keyring)


def check_browser(around: Around) -> Check:
    found = around.program("xdg-open")
    if found:
        return Check("browser", "ok", found)
    return Check("browser", "warn", "xdg-open is not installed: sign-in pages are printed instead of opened", around.packages.xdg_utils)


def check_upstream(around: Around) -> Check:
    url = around.settings.upstream_url
    if url is None:
        return Check("upstream", "ok", "requests go to the stores themselves")
    mend = "unset INTEG_UPSTREAM_URL" if around.environ.get("INTEG_UPSTREAM_URL") else "integ config set upstream_url ''"
    return Check("upstream", "warn", f"every request to the outside goes to {shown_address(url)}", mend)


def check_games(around: Around) -> Check:
    """A record that can't be read hides its game from every list."""
    games = InstalledGames(around.settings.paths)
    if damaged := games.damaged():
        file = damaged[0].file
        more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        told = f"the record of an installed game can't be read: {file}: {damaged[0].reason}{more}"
        return Check("games", "fail", told, f"mv {shlex.quote(str(file))} {shlex.quote(f'{file}.damaged')}")
    unfinished = [game for game in games.all() if not game.whole]
    if unfinished:
        first = unfinished[0]
        mend = f"integ {'uninstall' if first.state == 'removing' else 'install'} {first.key}"
        return Check("games", "warn", f"half done: {', '.join(game.title or game.key for game in unfinished)}", mend)
    return Check("games", "ok", f"{len(games.all())} installed through Integ")


_LOCAL: dict[str, Callable[[Around], Check]] = {
    "python": check_python,
    "folders": check_folders,
    "disk-space": check_space,
    "secrets": check_secrets,
    "games": check_games,
    "upstream": check_upstream,
    "browser": check_browser,
    **gaming.LOOKS,
}


# --- Steam, Proton, the backend ------------------------------------------------------------------------------------


def check_steam(around: Around, snapshot: SteamSnapshot) -> Check:
    if not snapshot.roots:
        return Check("steam", "warn", "Steam is not installed for this user; its own games need it", around.packages.steam)
    where = ", ".join(f"{each.path} ({each.flavour})" for each in snapshot.roots)
    if snapshot.warnings:
        told = "; ".join(snapshot.warnings[:_WARNINGS_SHOWN])
        more = len(snapshot.warnings) - _WARNINGS_SHOWN
        return Check("steam", "warn", f"{where}; not understood: {told}{f' and {more} more' if more > 0 else ''}")
    return Check("steam", "ok", f"{where}; {len(snapshot.games)} games installed")


def check_runtime(around: Around, snapshot: SteamSnapshot) -> Check:
    """The container that present Proton versions run in, of Steam's or of umu's."""
    runtimes = [tool.title for tool in snapshot.tools if tool.is_runtime]
    if runtimes:
        return Check("steam-runtime", "ok", ", ".join(runtimes))
    data = Path(around.environ.get("XDG_DATA_HOME") or around.settings.paths.home / ".local/share")
    own = [name for name in _UMU_RUNTIMES if (data / "umu" / name).is_dir()]
    if own:
        return Check("steam-runtime", "ok", f"{', '.join(own)}, fetched by umu")
    if around.program("umu-run"):
        return Check("steam-runtime", "warn", "none yet; umu fetches one with the first Windows game", "umu-run winecfg")
    mend = "steam steam://install/1628350" if around.program("steam") else ""  # else Steam itself, or umu, comes first
    return Check("steam-runtime", "warn", "none: Proton 5.13 and later need one, of Steam's or of umu's", mend)


async def _check_proton(runtime: Runtime) -> Check:
    try:
        builds = await runtime.proton.list_items()
    except (OSError, IntegError) as error:
        return _failed("proton", error)
    if not builds:
        return Check("proton", "warn", "no Proton version is installed: Windows games can't run", "integ install-proton")
    default = next((each["version"] for each in builds if each["default"]), builds[0]["version"])
    return Check("proton", "ok", f"{len(builds)} installed, {default} is used by default")


async def _check_backend(runtime: Runtime) -> Check:
    where = shown_address(runtime.settings.backend_url) if runtime.settings.backend_url else "embedded"
    try:
        async with asyncio.timeout(30):
            known: dict[str, Any] = await runtime.status()
    except TimeoutError:
        return Check("backend", "fail", f"{where}: no answer within 30 seconds")
    except (OSError, IntegError) as error:
        return _failed("backend", error, f"{where}: ")
    expired = [each["provider"] for each in known["accounts"] if each["state"] != "ok"]
    if expired:
        return Check("backend", "warn", f"{where}; to be signed in again: {', '.join(expired)}", f"integ login {expired[0]}")
    if not known["accounts"]:
        return Check("backend", "warn", f"{where}; nobody is signed in", "integ login")
    return Check("backend", "ok", f"{where}; {len(known['accounts'])} accounts signed in")

"""Driving the Steam client: its command for each flavour, and how to see in /proc what it runs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from integ_runtime.errors import LaunchError
from integ_runtime.steam.processes import running
from integ_runtime.steam.roots import SteamRoot
from integ_server.contract.errors import UsageError

FLATPAK_ID = "com.valvesoftware.Steam"
_ID = re.compile(r"[0-9]{1,20}")
_ACTIONS = frozenset({"rungameid", "install", "uninstall", "validate"})
_NO_CLIENT = "install Steam, or its Flatpak com.valvesoftware.Steam; integ doctor knows the command"
OPENS_WITHIN_S = 10.0
APPEARS_WITHIN_S = 90.0
"""How long a client that runs may take to start a game: it may have to update or to sync saves first."""


@dataclass(frozen=True, slots=True)
class SteamCommand:
    argv: tuple[str, ...]
    flavour: str


def steam_uri(action: str, game_id: str) -> str:
    """
    The address that makes the client do *action* with the game.

    Raises:
        UsageError: *game_id* is no number.
    """
    if action not in _ACTIONS:
        raise ValueError(action)
    if not _ID.fullmatch(game_id):
        raise UsageError(f"{game_id!r} is not a Steam game's number", hint="a Steam key looks like steam:620")
    return f"steam://{action}/{game_id}"


def steam_command(uri: str, roots: Sequence[SteamRoot], environ: Mapping[str, str], *, holder: Path | None = None) -> SteamCommand:
    """
    The words that hand *uri* to the client; *holder* is the Steam folder that holds the game, whose flavour is asked first.

    Raises:
        LaunchError: There is no client.
    """

    def find(program: str) -> str | None:
        return shutil.which(program, path=environ.get("PATH", os.defpath) + ":/usr/games")

    flavours = [root.flavour for root in sorted(roots, key=lambda root: root.path != holder)]
    flavours += [each for each in ("native", "flatpak", "snap") if each not in flavours]
    has_flatpak = any(root.flavour == "flatpak" for root in roots)
    for flavour in flavours:
        if flavour == "flatpak" and has_flatpak and (program := find("flatpak")):
            return SteamCommand((program, "run", FLATPAK_ID, uri), "flatpak")
        if flavour == "snap" and any(root.flavour == "snap" for root in roots) and (program := find("snap")):
            return SteamCommand((program, "run", "steam", uri), "snap")
        if flavour not in {"flatpak", "snap"} and (program := find("steam")):
            return SteamCommand((program, uri), "native")
    if program := find("xdg-open"):
        return SteamCommand((program, uri), "portal")
    raise LaunchError("the Steam client is not on this machine", hint=_NO_CLIENT)


async def hand_over(command: SteamCommand, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """
    Start the client's command, detached: it may become the client itself, and then lives longer than we do.

    Raises:
        LaunchError: It could not be started, or the desktop knows nothing that opens Steam's addresses.
    """
    nothing = subprocess.DEVNULL

    def start() -> subprocess.Popen[bytes]:
        # not by asyncio, whose transport kills a child that nobody waits for when it is thrown away
        return subprocess.Popen(
            command.argv, stdin=nothing, stdout=nothing, stderr=nothing, env=dict(environ), start_new_session=True, cwd="/"
        )

    try:
        started = await asyncio.to_thread(start)
    except OSError as error:
        raise LaunchError(f"the Steam client could not be started: {error.strerror}", hint="start Steam by hand once") from error
    if PurePath(command.argv[0]).name == "xdg-open" and await asyncio.to_thread(_ended_badly, started):
        raise LaunchError("nothing on this machine opens Steam's addresses", hint=_NO_CLIENT)
    return started


def _ended_badly(opener: subprocess.Popen[bytes]) -> bool:
    """Whether the desktop's opener said no; one that is still there after a while is taken to have found something."""
    try:
        return opener.wait(OPENS_WITHIN_S) != 0
    except subprocess.TimeoutExpired:
        return False


async def wait_for_game(
    game_id: str,
    client: subprocess.Popen[bytes],
    client_runs: Callable[[], bool],
    *,
    appears_within_s: float = APPEARS_WITHIN_S,
    poll_s: float = 0.5,
) -> float:
    """
    Wait until the game that *client* was asked for has come and gone; the answer is how many seconds it ran.

    What was asked may end at once, when it hands the game over to a client that runs: *client_runs* says whether one does.

    0 when it never came: the client asked the player something, runs on another machine, or has nothing to do with processes here.
    """
    asked = time.monotonic()
    while not await asyncio.to_thread(running, game_id):
        waited = time.monotonic() - asked
        if waited > appears_within_s or (client.poll() is not None and not await asyncio.to_thread(client_runs)):
            return 0.0
        await asyncio.sleep(poll_s)
    began = time.monotonic()
    while await asyncio.to_thread(running, game_id):  # noqa: ASYNC110 - a process of somebody else's tells nobody of its end
        await asyncio.sleep(poll_s)
    return time.monotonic() - began

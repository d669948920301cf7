"""Installing and removing Steam's games: the client does it, after asking the player, and its manifests tell how far it is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from integ_runtime.launch.environment import clean
from integ_runtime.progress import Progress, Report, unheard
from integ_runtime.steam.client import hand_over, steam_command, steam_uri
from integ_server.contract.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import subprocess

    from integ_runtime.steam.library import SteamFiles
    from integ_runtime.steam.manifests import SteamApp

MOVES_WITHIN_S = 600.0
"""How long to wait while nothing moves: for the player's answer to what the client asks, or for an update that it does later."""
STANDS_FOR_S = 10.0
"""A download that Steam says is paused for so long was paused by somebody, not by its own turns."""

State = Literal["installed", "asked", "paused", "gone"]


@dataclass(frozen=True, slots=True)
class Handover:
    uri: str | None
    """What the client was given; None when nothing had to be done."""
    state: State
    """`asked`: it has not begun, as far as can be seen."""
    app: SteamApp | None


class SteamInstallation:
    """*poll_s* is how often the manifest is looked at."""

    def __init__(self, files: SteamFiles, environ: Mapping[str, str] = os.environ, *, poll_s: float = 1.0) -> None:
        self._files = files
        self._environ = environ
        self._poll_s = poll_s

    async def install(self, game_id: str, *, wait: bool, report: Report = unheard) -> Handover:
        """
        Ask the client to install the game; with *wait*, until it is there, was paused, or nothing moves any more.

        Raises:
            UsageError: *game_id* is no number.
            LaunchError: There is no client, or it can't be started.
        """
        uri = steam_uri("install", game_id)
        app_id = _number(game_id)
        before = await asyncio.to_thread(self._files.find_app, app_id)
        if before is not None and before.state == "installed":
            return Handover(None, "installed", before)
        client = await self._ask(uri, before)
        if not wait:
            return Handover(uri, "asked", before)
        report(Progress("wait", message="Steam is asked, and may ask you in its window; Ctrl-C ends the waiting, not the download."))
        seen, moved_at = before, time.monotonic()
        while True:
            app = await asyncio.to_thread(self._files.find_app, app_id)
            if app is not None and app.state == "installed":
                return Handover(uri, "installed", app)
            if app != seen:
                seen, moved_at = app, time.monotonic()
            stands_for_s = time.monotonic() - moved_at
            if app is not None and app.state == "paused" and stands_for_s > STANDS_FOR_S:
                return Handover(uri, "paused", app)
            if app is not None:
                report(Progress("download" if app.bytes_to_download else "wait", app.bytes_downloaded, app.bytes_to_download or None))
            if stands_for_s > MOVES_WITHIN_S or not await asyncio.to_thread(self._still_there, client):
                return Handover(uri, "asked", app)
            await asyncio.sleep(self._poll_s)

    async def uninstall(self, game_id: str, *, wait: bool, report: Report = unheard) -> Handover:
        """
        Ask the client to remove the game; with *wait*, until it is gone, or the client is gone or was not answered.

        Raises:
            UsageError, LaunchError: As for `install`.
            NotFoundError: It is not installed.
        """
        uri = steam_uri("uninstall", game_id)
        app_id = _number(game_id)
        before = await asyncio.to_thread(self._files.find_app, app_id)
        if before is None:
            raise NotFoundError(f"steam:{game_id} is not installed", hint="integ list --installed")
        client = await self._ask(uri, before)
        if not wait:
            return Handover(uri, "asked", before)
        report(Progress("wait", message="Steam is asked, and may ask you in its window; Ctrl-C ends the waiting."))
        began = time.monotonic()
        while (app := await asyncio.to_thread(self._files.find_app, app_id)) is not None:
            answered = app.state == "uninstalling" or time.monotonic() - began <= MOVES_WITHIN_S
            if not answered or not await asyncio.to_thread(self._still_there, client):
                return Handover(uri, "asked", app)
            await asyncio.sleep(self._poll_s)
        return Handover(uri, "gone", before)

    def _still_there(self, client: subprocess.Popen[bytes]) -> bool:
        """Whether somebody can still answer: what was started, or the client that it handed the address to."""
        return client.poll() is None or self._files.client_runs()

    async def _ask(self, uri: str, known: SteamApp | None) -> subprocess.Popen[bytes]:
        roots = await asyncio.to_thread(self._files.roots)
        command = steam_command(uri, roots, self._environ, holder=known.root if known else None)
        return await hand_over(command, clean(self._environ))


def _number(game_id: str) -> int:
    if len(game_id) > 10 or not 0 < int(game_id) < 2**32:
        raise UsageError(f"{game_id} is not a Steam game's number", hint="a Steam key looks like steam:620")
    return int(game_id)

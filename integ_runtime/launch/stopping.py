"""Ending a game that runs, whichever Integ started it: Wine is asked, then every process is told to end, then killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from integ_runtime.errors import LaunchError
from integ_runtime.launch.playtime import Playing, close_stale, left_behind, orphaned, playing, signal_left_behind
from integ_runtime.launch.run import play_lock
from integ_server.contract.errors import BusyError, NotFoundError

_TOLD = {
    "asked": "{title}: Wine is asked to end it",
    "terminated": "{title}: all its processes are told to end",
    "killed": "{title}: its processes are killed",
}
ORPHANS_PATIENCE_S = 5.0
"""How long the processes that nobody watches may take to end before they are killed."""


async def stop_plays(folder: Path, key: str, *, tell: Callable[[str], None], within_s: float) -> list[Playing]:
    """
    End every play of the game whose folder is *folder*, and what a play that was cut short left behind; *tell* hears each step.

    The steps are the supervisor's, and it takes them whether or not anybody waits here. A play that is being stopped already is killed.

    Raises:
        NotFoundError: Nothing of it runs.
        LaunchError: It still runs after *within_s*.
    """
    plays = await asyncio.to_thread(playing, folder)
    cut_short = await asyncio.to_thread(orphaned, folder)
    orphans = await asyncio.to_thread(left_behind, folder)
    if not plays and not orphans:
        raise NotFoundError(f"{key} is not being played", hint="integ ps")
    _send(signal.SIGTERM, (play.pid for play in plays))
    if orphans:
        tell(f"{key}: {len(orphans)} processes of a play that was cut short are told to end")
        await asyncio.to_thread(signal_left_behind, folder, signal.SIGTERM)
    began = time.monotonic()
    told: set[tuple[str, str]] = set()
    while (alive := await asyncio.to_thread(playing, folder)) or (orphans := await asyncio.to_thread(left_behind, folder)):
        for play in alive:
            step = (play.run_id, play.stopping)
            if play.stopping in _TOLD and step not in told:
                told.add(step)
                tell(_TOLD[play.stopping].format(title=play.title or key))
        waited = time.monotonic() - began
        if waited > within_s:
            raise LaunchError(f"{key} does not end", hint=f"integ stop {key} once more kills it at once")
        if orphans and waited > ORPHANS_PATIENCE_S:
            await asyncio.to_thread(signal_left_behind, folder, signal.SIGKILL)
        await asyncio.sleep(0.05)
    with contextlib.suppress(BusyError), play_lock(folder):
        await asyncio.to_thread(close_stale, folder)
    return [*plays, *cut_short]


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

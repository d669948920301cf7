"""What Steam runs on this machine, as /proc and the client's own pipe tell it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePath

from integ_runtime.steam.roots import FLATPAK_HOME, SteamRoot

_HOMES = ("", FLATPAK_HOME, "snap/steam/common")


def running(game_id: str) -> bool:
    """Whether a process of the client's runs this game here: `reaper SteamLaunch AppId=ID`, each a whole word."""
    wanted = {"SteamLaunch", f"AppId={game_id}"}
    return any(PurePath(words[0]).name == "reaper" and wanted <= set(words) for words in _commands())


def client_runs(below: Sequence[Path] = ()) -> bool:
    """
    Whether a Steam client of this user runs here; its helpers and its start script do not count.

    *below* leaves out those that were started from elsewhere; none of it counts all.
    """
    return any(_is_client(PurePath(words[0]), below) for words in _commands())


def _is_client(program: PurePath, below: Sequence[Path]) -> bool:
    if program.parts[-2:] not in {("ubuntu12_32", "steam"), ("steamrt64", "steam")}:
        return False
    return not below or not program.is_absolute() or any(program.is_relative_to(folder) for folder in below)


def holds_its_files(home: Path, roots: Sequence[SteamRoot]) -> bool:
    """
    Whether a client that uses this *home* runs: it keeps its files in memory, and writes them out over everything at its end.

    Inside a Flatpak, processes of the outside are not seen, but the pipe through which a client is spoken to is.
    """
    # a client in a sandbox has its home elsewhere, below this one as it is seen from here, or under the same name as it sees it
    places = [home, home.resolve(), *(root.path for root in roots)]
    return client_runs(places) or any(_has_reader(home / folder / ".steam" / "steam.pipe") for folder in _HOMES)


def _has_reader(pipe: Path) -> bool:
    try:
        if not stat.S_ISFIFO(pipe.stat().st_mode):
            return False
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:  # ENXIO: nobody reads; ENOENT: no client ever did
        return False
    return True


def _commands() -> list[list[str]]:
    """The words of every process of this user's; `exe` and `environ` of newer clients can't be read, so nobody asks for them."""
    found = []
    uid = os.getuid()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == uid and (line := (process / "cmdline").read_bytes()):
                found.append(os.fsdecode(line).split("\0"))
    return found

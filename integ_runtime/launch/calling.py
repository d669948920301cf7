"""How a Windows program is called: with a Proton, by umu-run or inside a Steam runtime or by itself, or with plain Wine. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from integ_runtime.errors import LaunchError
from integ_runtime.launch.environment import clean
from integ_runtime.launch.machine import PROTONS_USER
from integ_runtime.launch.umu_record import STORES, UMU_RUNTIMES, UNKNOWN

if TYPE_CHECKING:
    from integ_runtime.launch.machine import Machine
    from integ_runtime.steam.tools import SteamTool

Runner = Literal["native", "umu", "runtime", "bare", "wine", "steam"]
Verb = Literal["run", "runinprefix", "waitforexitandrun"]

_SHARED = ("/home", "/opt", "/media", "/mnt", "/run/media", "/srv", "/tmp", "/var/tmp")  # noqa: S108 - names, nothing is written there
"""What the container shows a game without being asked; the home folder comes to it."""
_NO_MENUS = "winemenubuilder.exe=d"
"""Else plain Wine writes what a game's installer puts into the start menu into the player's own."""
_NO_QUESTIONS = "mscoree,mshtml="
"""Else a Wine without Mono and Gecko asks in a window whether to fetch them."""


class Asked(NamedTuple):
    """What is to be called."""

    verb: Verb
    program: tuple[str, ...]
    game: Path
    """The game's folder."""
    library: Path
    """The folder of games that it is in."""
    prefix: Path
    """The folder above Wine's own prefix."""
    store: str
    more_folders: tuple[Path, ...] = ()
    """What a container has to show besides."""
    umu_program: tuple[str, ...] | None = None
    """What umu-run wants to hear, where that is a word of its own."""
    umu_id: str = UNKNOWN
    log_dir: Path | None = None
    env: Mapping[str, str] = MappingProxyType({})
    """What the player sets."""
    quietly: bool = False
    """Whether nobody may be there to answer a question."""

    def __repr__(self) -> str:
        return f"Asked({self.verb}, {self.program})"  # not what is in its variables


class Call(NamedTuple):
    runner: Runner
    words: tuple[str, ...]
    env: dict[str, str]
    """What is set for it; the player's own comes before it."""
    joined: Mapping[str, str] = MappingProxyType({})
    """Variables in which the player's own is part of what is set."""
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Call({self.runner}, {self.words})"


class Build(Protocol):
    """A build as a plan needs it."""

    @property
    def version(self) -> str:
        """Its name for people."""

    def call(self, runner: str, machine: Machine, asked: Asked) -> Call:
        """
        How it calls what is *asked* for, by the *runner* that the player set.

        Raises:
            LaunchError: What the chosen way needs is not here; the hint says how to get it.
        """


class BuildTool(NamedTuple):
    """A Proton, with its tool manifest."""

    version: str
    tool: SteamTool

    def call(self, runner: str, machine: Machine, asked: Asked) -> Call:
        way = choose_runner(runner, self, machine)
        env = {"STORE": asked.store if asked.store in STORES else "none", "STEAM_COMPAT_INSTALL_PATH": str(asked.game)}
        if asked.log_dir is not None:
            env["PROTON_LOG_DIR"] = str(asked.log_dir)
        outside = [
            str(each)
            for each in dict.fromkeys((asked.game, asked.prefix, self.tool.path, *asked.more_folders))
            if not _is_shared(each, machine.home)
        ]
        if way == "umu":
            env |= {
                "PROTONPATH": str(self.tool.path),
                "WINEPREFIX": str(asked.prefix),
                "GAMEID": asked.umu_id,
                "PROTON_VERB": asked.verb,
                "UMU_RUNTIME_UPDATE": "0",
            }
            if outside:  # umu overwrites STEAM_COMPAT_MOUNTS
                env["PRESSURE_VESSEL_FILESYSTEMS_RW"] = _joined(machine.environ.get("PRESSURE_VESSEL_FILESYSTEMS_RW", ""), outside)
            return Call(way, (str(machine.umu_run), *(asked.umu_program or asked.program)), env)
        chain = _tool_chain(self, machine) if way == "runtime" else (self.tool,)
        env |= {
            "STEAM_COMPAT_DATA_PATH": str(asked.prefix),
            "STEAM_COMPAT_CLIENT_INSTALL_PATH": str(machine.steam_root or ""),  # Proton wants it to be there, even empty
            "STEAM_COMPAT_LIBRARY_PATHS": str(asked.library),
            "STEAM_COMPAT_TOOL_PATHS": ":".join(str(each.path) for each in chain),
            "STEAM_COMPAT_APP_ID": "0",
            "SteamAppId": "0",  # without any id, protonfixes takes one from the digits in the prefix's path
            "SteamGameId": "0",
        }
        if outside:
            env["STEAM_COMPAT_MOUNTS"] = _joined(machine.environ.get("STEAM_COMPAT_MOUNTS", ""), outside)
        return Call(way, (*(word for each in reversed(chain) for word in each.command(asked.verb)), *asked.program), env)


class WineBuild(NamedTuple):
    """
    Plain Wine: no script, no container. The verbs are all one to it: who starts it has waited until the prefix is quiet.

    Source: what Lutris and Heroic set for the builds of Wine that they keep.
    """

    version: str
    wine: Path
    """`bin/wine`, or `bin/wine64` where that is the one that can be started."""
    server: Path
    libraries: tuple[Path, ...] = ()
    """Folders of libraries that it brings along."""
    plugins: tuple[Path, ...] = ()
    """Those of GStreamer, which videos in games need."""
    has_mono: bool = False
    notes: tuple[str, ...] = ()
    """What of it can't be used on this machine."""

    def call(self, runner: str, machine: Machine, asked: Asked) -> Call:
        left_out = {"umu": "umu-run", "runtime": "the Steam runtime"}.get(runner)
        notes = (f"{left_out} is left out: {self.version} is plain Wine, and needs none",) if left_out else ()
        before = clean(machine.environ)
        env = {
            "WINEPREFIX": str(asked.prefix / "pfx"),
            "WINESERVER": str(self.server),
            "WINEDEBUG": before.get("WINEDEBUG", "-all"),
            "WINEFSYNC": before.get("WINEFSYNC", "1"),  # as Proton does by itself; a Wine or a kernel without it goes on without it
            "USER": PROTONS_USER,  # else saves would lie in another user's folder than those of a Proton in the same prefix
        }
        if self.plugins:
            env["GST_PLUGIN_SYSTEM_PATH_1_0"] = ":".join(map(str, self.plugins))
        own = {**before, **asked.env}
        quietly = [_NO_QUESTIONS] if asked.quietly and not self.has_mono else []
        joined = {"WINEDLLOVERRIDES": ";".join(each for each in (_NO_MENUS, *quietly, own.get("WINEDLLOVERRIDES", "")) if each)}
        if self.libraries:
            joined["LD_LIBRARY_PATH"] = _joined(own.get("LD_LIBRARY_PATH", ""), [str(each) for each in self.libraries])
        return Call("wine", (str(self.wine), *asked.program), env, joined, (*notes, *self.notes))


def choose_runner(asked: str, build: BuildTool, machine: Machine) -> Runner:
    """
    The way a Windows game is run: umu brings the container, else a Steam runtime is the container, bare only when it needs none.

    Raises:
        LaunchError: The way that was asked for can't be gone, or none can.
    """
    needs = build.tool.require_tool_appid
    if asked == "bare":
        return "bare"
    if asked == "umu":
        if machine.umu_run is None:
            raise LaunchError("umu-run is not installed", hint="install umu-launcher, or: integ config set runner auto")
        if machine.uid == 0:
            raise LaunchError("umu-run refuses to run as root", hint="play as an ordinary user, or: integ config set runner bare")
        return "umu"
    if needs is None:
        return "bare"
    if asked == "auto" and machine.umu_run is not None and machine.uid != 0 and needs in machine.umu_runtimes:
        return "umu"
    if _find_runtime(needs, machine) is not None:
        return "runtime"
    known = needs in UMU_RUNTIMES
    raise LaunchError(
        f"{build.version} needs the Steam runtime {needs}, which is not on this machine" + ("" if known else " and unknown to Integ"),
        hint=f"steam steam://install/{needs}"
        + (", or: integ config set runner umu" if machine.umu_run and machine.uid else ", or: integ config set runner bare"),
    )


def _tool_chain(build: BuildTool, machine: Machine) -> tuple[SteamTool, ...]:
    """Proton, what it runs in, what that runs in; innermost first."""
    chain = [build.tool]
    while (needs := chain[-1].require_tool_appid) is not None:
        outer = _find_runtime(needs, machine)
        if outer is None:
            raise LaunchError(f"the Steam runtime {needs} is not on this machine", hint=f"steam steam://install/{needs}")
        if outer in chain or len(chain) > 4:
            raise LaunchError(f"the Steam runtime {needs} asks for itself", hint=f"steam steam://validate/{needs}")
        chain.append(outer)
    return tuple(chain)


def _find_runtime(app_id: str, machine: Machine) -> SteamTool | None:
    from integ_runtime.steam.tools import find_runtime

    return find_runtime(machine.tools, app_id, root=machine.steam_root)


def _is_shared(path: Path, home: Path) -> bool:
    return any(path.is_relative_to(each) for each in (home, *_SHARED)) and not path.is_relative_to("/tmp/.X11-unix")  # noqa: S108


def _joined(before: str, more: Sequence[str]) -> str:
    return os.pathsep.join(dict.fromkeys([*(each for each in before.split(os.pathsep) if each), *more]))

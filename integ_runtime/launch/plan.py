"""What would be run to start a game. Pure: everything it needs to know is handed in, and nothing is touched."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from integ_runtime.content.installed import InstalledGame
from integ_runtime.errors import LaunchError
from integ_runtime.launch.environment import clean, for_commands, is_reserved, masked, shown
from integ_runtime.launch.umu_record import STORES, UNKNOWN
from integ_runtime.launch.wrappers import sorted_wrappers

if TYPE_CHECKING:
    from integ_runtime.steam.tools import SteamTool

Runner = Literal["native", "umu", "runtime", "bare", "steam"]
VERB = "waitforexitandrun"

UMU_RUNTIMES = {"1391110": "steamrt2", "1628350": "steamrt3", "4183110": "steamrt4", "4185400": "steamrt4-arm64"}
"""Folder below umu's own that holds a Steam runtime, by the runtime's app id."""
_SHARED = ("/home", "/opt", "/media", "/mnt", "/run/media", "/srv", "/tmp", "/var/tmp")  # noqa: S108 - names, nothing is written there
"""What the container shows a game without being asked; the home folder comes to it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan has to know of this machine, read beforehand."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path
    uid: int
    umu_run: Path | None = None
    umu_runtimes: frozenset[str] = frozenset()
    """App ids of the runtimes that umu has fetched already."""
    tools: tuple[SteamTool, ...] = ()
    """What Steam keeps here: the runtimes are among them."""
    steam_root: Path | None = None
    programs: Mapping[str, Path | None] = field(default_factory=dict)
    """Where each wrapper's program is; None when it is nowhere on PATH."""
    session_bus: bool = True


@dataclass(frozen=True, slots=True)
class BuildTool:
    """A Proton build as a plan needs it: its name for people, and its tool manifest."""

    version: str
    tool: SteamTool


@dataclass(frozen=True, slots=True)
class Tool:
    """What is run in a prefix in place of its game."""

    words: tuple[str, ...]
    verb: Literal["run", "runinprefix", "waitforexitandrun"]
    """The last one waits for whatever runs in the prefix, so it is never for one in which something does."""
    cwd: Path | None = None
    """None: the game's own folder."""
    umu_words: tuple[str, ...] | None = None
    """What umu-run wants to hear, where that is a word of its own."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    key: str
    title: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    """What is set beyond what is passed on."""
    environ: dict[str, str] = field(repr=False)
    """The whole environment of the game."""
    cwd: Path
    runner: Runner
    prefix: Path | None = None
    """The folder above Wine's own prefix; None for native games."""
    proton: str | None = None
    notes: tuple[str, ...] = ()
    """What was asked for and is not done, one sentence each."""
    stop: tuple[str, ...] = ()
    """What asks Wine to end everything in the prefix."""
    before: tuple[str, ...] = ()
    """What the player wants run first; the game is not started when it fails."""
    after: tuple[str, ...] = ()
    """What the player wants run once the game has really ended, however it did."""
    on_host: bool = False
    """Run from inside Flatpak, by the host."""

    def surroundings(self) -> dict[str, str]:
        """The environment of both commands: the game's, without secrets, and which game it is."""
        return {**for_commands(self.environ), "INTEG_GAME_KEY": self.key, "INTEG_GAME_TITLE": self.title}

    def as_dict(self) -> dict[str, Any]:
        """As `launch --dry-run` prints it."""
        return {
            "argv": masked(self.argv),
            "env": shown(self.env),
            "cwd": str(self.cwd),
            "runner": self.runner,
            "prefix": str(self.prefix) if self.prefix else None,
            "proton": self.proton,
            "before": masked(self.before),
            "after": masked(self.after),
        }


def plan_native(
    game: InstalledGame,
    machine: Machine,
    *,
    wrappers: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
) -> LaunchPlan:
    """Say how a Linux game would be started."""
    exe = _executable(game)
    front, notes = sorted_wrappers(wrappers, machine.programs, machine.environ, session_bus=machine.session_bus)
    own, more = _own(env)
    return LaunchPlan(
        key=game.key,
        title=game.title,
        argv=(*front, str(exe), *game.arguments, *args),
        env=own,
        environ={**clean(machine.environ), **own},
        cwd=game.working_dir or exe.parent,
        runner="native",
        notes=(*notes, *more),
    )


def plan_windows(
    game: InstalledGame,
    build: BuildTool,
    machine: Machine,
    *,
    prefix: Path,
    runner: str = "auto",
    wrappers: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    log_dir: Path | None = None,
    wineserver: Path | None = None,
    umu_id: str = UNKNOWN,
    tool: Tool | None = None,
) -> LaunchPlan:
    """
    Say how a Windows game would be started with *build* in *prefix*, by the *runner* that the player set; *wineserver* is the build's own,
    *umu_id* what umu calls the game. With a *tool* that is run instead, without the game's arguments.

    Raises:
        LaunchError: What the chosen way needs is not here; the hint says how to get it.
    """
    way = choose_runner(runner, build, machine)
    if tool is None:
        exe = _executable(game)
        verb, program, cwd = VERB, (*program_words(exe), *game.arguments, *args), game.working_dir or exe.parent
    else:
        verb, program, cwd = tool.verb, tool.umu_words if tool.umu_words and way == "umu" else tool.words, tool.cwd or game.path
    store = game.key.partition(":")[0]
    set_by_us = {"STORE": store if store in STORES else "none"}
    if machine.environ.get("SteamVirtualGamepadInfo"):
        set_by_us["SteamVirtualGamepadInfo"] = ""  # of an outer Steam session; an older Wine would see its pads twice
    if log_dir is not None:
        set_by_us["PROTON_LOG_DIR"] = str(log_dir)
    outside = [
        str(each)
        for each in dict.fromkeys((game.path, prefix, build.tool.path, *([tool.cwd] if tool and tool.cwd else [])))
        if not _is_shared(each, machine.home)
    ]
    if way == "umu":
        set_by_us |= {
            "PROTONPATH": str(build.tool.path),
            "WINEPREFIX": str(prefix),
            "GAMEID": umu_id,
            "PROTON_VERB": verb,
            "UMU_RUNTIME_UPDATE": "0",
            "STEAM_COMPAT_INSTALL_PATH": str(game.path),
        }
        if outside:  # umu overwrites STEAM_COMPAT_MOUNTS
            set_by_us["PRESSURE_VESSEL_FILESYSTEMS_RW"] = _joined(machine.environ.get("PRESSURE_VESSEL_FILESYSTEMS_RW", ""), outside)
        inner = [str(machine.umu_run), *program]
    else:
        chain = _tool_chain(build, machine) if way == "runtime" else (build.tool,)
        set_by_us |= {
            "STEAM_COMPAT_DATA_PATH": str(prefix),
            "STEAM_COMPAT_CLIENT_INSTALL_PATH": str(machine.steam_root or ""),  # Proton wants it to be there, even empty
            "STEAM_COMPAT_INSTALL_PATH": str(game.path),
            "STEAM_COMPAT_LIBRARY_PATHS": str(game.library_root or game.path.parent),
            "STEAM_COMPAT_TOOL_PATHS": ":".join(str(each.path) for each in chain),
            "STEAM_COMPAT_APP_ID": "0",
            "SteamAppId": "0",  # without any id, protonfixes takes one from the digits in the prefix's path
            "SteamGameId": "0",
        }
        if outside:
            set_by_us["STEAM_COMPAT_MOUNTS"] = _joined(machine.environ.get("STEAM_COMPAT_MOUNTS", ""), outside)
        inner = [word for each in reversed(chain) for word in each.command(verb)] + list(program)
    front, notes = sorted_wrappers(wrappers, machine.programs, machine.environ, session_bus=machine.session_bus)
    own, more = _own(env)
    own = {**set_by_us, **own}
    return LaunchPlan(
        key=game.key,
        title=game.title,
        argv=(*front, *inner),
        env=own,
        environ={**clean(machine.environ), **own},
        cwd=cwd,
        runner=way,
        prefix=prefix,
        proton=build.version,
        stop=(str(wineserver), "-k") if wineserver and verb != "runinprefix" else (),  # that would end the game beside it too
        notes=(*notes, *more),
    )


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


def _own(env: Mapping[str, str] | None) -> tuple[dict[str, str], list[str]]:
    taken: dict[str, str] = {}
    notes: list[str] = []
    for name, value in (env or {}).items():
        if is_reserved(name):
            notes.append(f"{name} is set by Integ and can't be changed")
        elif not name or "=" in name or "\0" in name + value:
            raise LaunchError(f"{name!r} can't be the name of a variable", hint="--env NAME=VALUE")
        else:
            taken[name] = value
    return taken, notes


def program_words(exe: Path) -> tuple[str, ...]:
    """How Wine is asked to run the file *exe*."""
    if exe.suffix.lower() == ".msi":
        return "msiexec", "/i", "Z:" + str(exe).replace("/", "\\")
    return (str(exe),)


def _executable(game: InstalledGame) -> Path:
    if game.executable is None:
        again = f"integ import {game.key} --path {shlex.quote(str(game.path))} --exe FILE"
        raise LaunchError(f"nothing in {game.title} says what starts it", hint=again)
    return game.executable


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

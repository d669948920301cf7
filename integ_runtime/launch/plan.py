"""What would be run to start a game. Pure: everything it needs to know is handed in, and nothing is touched."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from integ_runtime.content.installed import InstalledGame
from integ_runtime.errors import LaunchError
from integ_runtime.launch.environment import clean, for_commands, is_reserved, masked, shown
from integ_runtime.launch.umu_record import UNKNOWN
from integ_runtime.launch.wrappers import sorted_wrappers

if TYPE_CHECKING:
    from integ_runtime.launch.calling import Build, Runner, Verb
    from integ_runtime.launch.machine import Machine

VERB: Verb = "waitforexitandrun"


class Tool(NamedTuple):
    """What is run in a prefix in place of its game."""

    words: tuple[str, ...]
    verb: Verb
    """The last one waits for whatever runs in the prefix, so it is never for one in which something does."""
    cwd: Path | None = None
    """None: the game's own folder."""
    umu_words: tuple[str, ...] | None = None
    """What umu-run wants to hear, where that is a word of its own."""
    quietly: bool = False
    """Whether nobody may be there to answer a question."""


class LaunchPlan(NamedTuple):
    key: str
    title: str
    argv: tuple[str, ...]
    env: dict[str, str]
    """What is set beyond what is passed on."""
    environ: dict[str, str]
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

    def __repr__(self) -> str:
        """As a person may see it: no variable but those that are set for it, and of them no secret."""
        return f"LaunchPlan({self.key}, {self.as_dict()})"

    def surroundings(self) -> dict[str, str]:
        """The environment of both commands: the game's, without secrets, and which game it is."""
        environ = for_commands(self.environ)
        if self.runner == "wine" and "LOGNAME" in environ:
            environ["USER"] = environ["LOGNAME"]  # there it says whose folder Windows programs save in
        return {**environ, "INTEG_GAME_KEY": self.key, "INTEG_GAME_TITLE": self.title}

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
    build: Build,
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
    from integ_runtime.launch.calling import Asked

    if tool is None:
        exe = _executable(game)
        verb, program, cwd = VERB, (*program_words(exe), *game.arguments, *args), game.working_dir or exe.parent
    else:
        verb, program, cwd = tool.verb, tool.words, tool.cwd or game.path
    own, refused = _own(env)
    call = build.call(
        runner,
        machine,
        Asked(
            verb,
            program,
            game=game.path,
            library=game.library_root or game.path.parent,
            prefix=prefix,
            store=game.key.partition(":")[0],
            more_folders=(tool.cwd,) if tool and tool.cwd else (),
            umu_program=tool.umu_words if tool else None,
            umu_id=umu_id,
            log_dir=log_dir,
            env=own,
            quietly=bool(tool and tool.quietly),
        ),
    )
    outer = {}
    if machine.environ.get("SteamVirtualGamepadInfo"):
        outer["SteamVirtualGamepadInfo"] = ""  # of an outer Steam session; an older Wine would see its pads twice
    front, notes = sorted_wrappers(wrappers, machine.programs, machine.environ, session_bus=machine.session_bus)
    own = {**outer, **call.env, **own, **call.joined}
    return LaunchPlan(
        key=game.key,
        title=game.title,
        argv=(*front, *call.words),
        env=own,
        environ={**clean(machine.environ), **own},
        cwd=cwd,
        runner=call.runner,
        prefix=prefix,
        proton=build.version,
        stop=(str(wineserver), "-k") if wineserver and verb != "runinprefix" else (),  # that would end the game beside it too
        notes=(*call.notes, *notes, *refused),
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

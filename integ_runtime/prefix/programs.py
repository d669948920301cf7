"""What is run in a prefix beside its game: making it, programs of the player's, winetricks."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from integ_runtime.content.installed import InstalledGames
from integ_runtime.downloads.background import in_background
from integ_runtime.errors import LaunchError, ProgramMissingError
from integ_runtime.launch.calling import Runner
from integ_runtime.launch.launcher import Launcher
from integ_runtime.launch.plan import LaunchPlan, Tool, program_words
from integ_runtime.launch.playtime import left_behind, playing
from integ_runtime.launch.prefix import is_made, prefix_of
from integ_runtime.launch.run import LaunchOutcome, play_lock
from integ_runtime.prefix.prefixes import check_ours, settle
from integ_runtime.prefix.users import users_of, wait_until_quiet
from integ_runtime.prefix.versions import last_build, noted_build
from integ_runtime.steam.tools import is_executable
from integ_server.contract.errors import BusyError, IntegError, UsageError

_VERB = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}(=[A-Za-z0-9_.-]{0,128})?", re.ASCII)
_LOG = "winetricks.log"
_LONGEST_LOG = 1 << 20
_MAKE = Tool(("wineboot",), "run", umu_words=("createprefix",), quietly=True)
_SETTLE_S = 3.0
"""How long what Wine leaves behind a program may take to end before it counts as something that runs."""


@dataclass(frozen=True, slots=True)
class Made:
    path: Path
    proton: str
    family: str
    created: bool
    """False when it was ready already, and has only been brought up to date."""
    log_path: Path | None


@dataclass(frozen=True, slots=True)
class Ran:
    verb: Literal["run", "runinprefix"]
    outcome: LaunchOutcome


@dataclass(frozen=True, slots=True)
class Tricks:
    by: Literal["umu-run", "winetricks"] | None
    """What applied them; None when all were there already."""
    applied: tuple[str, ...]
    already: tuple[str, ...]
    log_path: Path | None


class PrefixPrograms:
    def __init__(self, installed: InstalledGames, launcher: Launcher) -> None:
        self._installed = installed
        self._launcher = launcher

    async def create(self, key: str, *, proton: str | None = None, tell: Callable[[str], None] = lambda _: None) -> Made:
        """
        Make the prefix of *key* ready now, with the build that the game would get, or with *proton*; *tell* hears when that begins.

        Raises:
            BusyError: The game runs.
            LaunchError: It can't be made as things stand, or Proton did not make it: what it said is in its log.
        """
        folder = self._folder(key)
        plan = await self._launcher.plan_tool(key, _MAKE, proton=proton)
        with play_lock(folder, doing="it runs, or its prefix is being worked on") as lock:
            await in_background(lambda stop: settle(folder, stop.check), name="prefix")
            tell(f"{plan.proton} makes the prefix of {plan.title} ready; that may take a minute.")
            return await self._make(folder, plan, lock)

    async def _make(self, folder: Path, plan: LaunchPlan, lock: int) -> Made:
        prefix = prefix_of(folder)
        before = await asyncio.to_thread(is_made, prefix)
        outcome = await self._launcher.run_tool(plan, lock=lock, attach=False)
        await in_background(lambda stop: _wait_for_registry(prefix, stop.check), name="prefix")
        # what it exits with says nothing: umu's way of making a prefix ends in a failure to find a program
        if not await asyncio.to_thread(is_made, prefix):
            raise LaunchError(
                f"{plan.proton} did not make the prefix (it exited with {outcome.exit_code})", hint=f"less {outcome.log_path}"
            )
        used = await asyncio.to_thread(last_build, prefix)
        return Made(prefix, plan.proton or "", used.family if used else "", not before, outcome.log_path)

    async def run(self, key: str, program: str, args: Sequence[str] = (), *, proton: str | None = None, attach: bool = True) -> Ran:
        """
        Run *program* in the prefix of *key*: a file, a Windows path, or a name that Wine knows such as `regedit`.

        Beside a game that runs, and beside whatever else does, it is Proton's `runinprefix` with the build that is running; else `run`.

        Raises:
            ProgramMissingError: There is no such file.
            BusyError: The prefix is being worked on, or the game runs with another build than *proton*.
            LaunchError: It can't be run as things stand.
        """
        folder = self._folder(key)
        prefix = prefix_of(folder)
        words, cwd = await asyncio.to_thread(resolve_program, program, prefix)
        with ExitStack() as held:
            lock: int | None = None
            try:
                lock = held.enter_context(play_lock(folder, doing="its prefix is being worked on"))
                live = await asyncio.to_thread(_is_live, folder)
            except BusyError:
                if not await asyncio.to_thread(lambda: playing(folder) or users_of(prefix)):
                    raise
                live = True
            running = await asyncio.to_thread(_running_build, folder) if live else None
            verb: Literal["run", "runinprefix"] = "runinprefix" if live else "run"
            plan = await self._launcher.plan_tool(key, Tool((*words, *args), verb, cwd), proton=proton or running)
            if running is not None and plan.proton != running:
                raise BusyError(
                    f"{key} runs with {running}, and so must what runs beside it", hint="leave out --proton, or: integ stop " + key
                )
            return Ran(verb, await self._launcher.run_tool(plan, lock=None if live else lock, attach=attach))

    async def winetricks(self, key: str, verbs: Sequence[str], *, proton: str | None = None, attach: bool = True) -> Tricks:
        """
        Apply winetricks *verbs* to the prefix of *key*, which is made first where there is none; those that its log names are left out.

        Raises:
            UsageError: A verb is none.
            BusyError: The game runs.
            ProgramMissingError: Neither umu-run nor winetricks is on this machine, and the build brings none.
            IntegError: It failed.
        """
        check_verbs(verbs)
        folder = self._folder(key)
        prefix = prefix_of(folder)
        has_umu = bool(self._launcher.find_program("umu-run")) and not await self._launcher.is_plain_wine(key, proton=proton)
        by: Literal["umu-run", "winetricks"] = "umu-run" if has_umu else "winetricks"
        with play_lock(folder, doing="it runs, or its prefix is being worked on") as lock:
            await in_background(lambda stop: settle(folder, stop.check), name="prefix")
            before = await asyncio.to_thread(_applied, prefix)
            already = tuple(each for each in verbs if each in before)
            wanted = tuple(each for each in dict.fromkeys(verbs) if each not in before)
            if not wanted:
                return Tricks(None, (), already, None)
            if by == "umu-run":
                tool = Tool(("winetricks", *wanted), "waitforexitandrun")  # nothing runs here, and umu's winetricks knows no other way
                plan = await self._launcher.plan_tool(key, tool, proton=proton, runner="umu")
            else:
                made = await self._launcher.plan_tool(key, _MAKE, proton=proton)
                tricks = _by_winetricks(made, self._launcher.find_program("winetricks"), wanted)
                if not await asyncio.to_thread(is_made, prefix):
                    await self._make(folder, made, lock)
                plan = tricks
            outcome = await self._launcher.run_tool(plan, lock=lock, attach=attach)
            await in_background(lambda stop: _wait_for_registry(prefix, stop.check), name="prefix")
            if outcome.exit_code == 0:
                return Tricks(by, wanted, already, outcome.log_path)
            after = await asyncio.to_thread(_applied, prefix)
            if by == "umu-run" and outcome.exit_code == 1 and after.issuperset(wanted):
                return Tricks(None, (), (*already, *wanted), outcome.log_path)  # umu's way to say that they are applied already
        missing = [each for each in wanted if each not in after]
        raise IntegError(
            f"{by} exited with {outcome.exit_code}" + (f", and {' '.join(missing)} is not applied" if missing else ""),
            hint=f"less {outcome.log_path}" if outcome.log_path else "winetricks list-all names every verb that there is",
        )

    def _folder(self, key: str) -> Path:
        check_ours(key)
        return self._installed.folder(key)


def check_verbs(verbs: Sequence[str]) -> None:
    """
    Raises:
        UsageError: One of *verbs* can't be a winetricks verb, so that it might be taken for something else.
    """
    for each in verbs:
        if not _VERB.fullmatch(each):
            raise UsageError(f"{each!r} is no winetricks verb", hint="such as vcrun2022, d3dx9 or sound=alsa")


def resolve_program(program: str, prefix: Path, base: Path | None = None) -> tuple[tuple[str, ...], Path]:
    """
    How Wine is asked to run *program*, and in which folder: a file as seen from *base* in its own, anything else on the prefix's C: drive.

    Raises:
        ProgramMissingError: It is a path on this machine at which no file is.
    """
    file = (base or Path.cwd()) / program
    if file.is_file():
        file = Path(os.path.abspath(file))  # noqa: PTH100 - links stay: a program may look for its files beside the link
        return program_words(file), file.parent
    if "/" in program and "\\" not in program:
        raise ProgramMissingError(
            f"{file} is no file", hint="a path of this machine, a Windows path such as 'C:\\tool.exe', or a name such as regedit"
        )
    drive = prefix / "pfx" / "drive_c"
    return (program,), drive if drive.is_dir() else prefix.parent


def show_folder(folder: Path, environ: Mapping[str, str], opener: Path | None) -> bool:
    """Ask the desktop to show *folder*; False where there is none to ask, or it is somewhere else (SSH)."""
    import subprocess

    from integ_runtime.launch.environment import clean

    has_desktop = environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    is_remote = any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"))
    if opener is None or not has_desktop or is_remote:
        return False
    nothing = subprocess.DEVNULL
    try:
        child = subprocess.Popen(
            [opener, folder], env=clean(environ), stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
        )
    except OSError:
        return False
    child.returncode = 0  # let go of on purpose: it may be the file manager itself
    return True


def _by_winetricks(made: LaunchPlan, script: Path | None, verbs: Sequence[str]) -> LaunchPlan:
    """The machine's own winetricks, or the one that GE's and umu's builds bring, with the build's Wine and outside of any container."""
    if not made.stop or made.prefix is None:
        raise LaunchError(f"{made.proton} has no Wine of its own that winetricks could use", hint=f"integ proton verify {made.proton}")
    server = Path(made.stop[0])
    wine = next((each for each in (server.with_name("wine"), server.with_name("wine64")) if each.is_file()), None)
    if wine is None:
        raise LaunchError(f"{made.proton} has no wine beside its wineserver", hint=f"integ proton verify {made.proton}")
    bundled = server.parents[2] / "protonfixes" / "winetricks"
    if script is None and made.runner != "wine" and is_executable(bundled):
        script = bundled
    if script is None and made.runner == "wine":
        raise ProgramMissingError(f"winetricks is not on this machine, and {made.proton} brings none", hint="install winetricks")
    if script is None:
        raise ProgramMissingError("neither umu-run nor winetricks is on this machine", hint="install winetricks, or umu-launcher")
    env = {"WINEPREFIX": str(made.prefix / "pfx"), "WINE": str(wine), "WINESERVER": str(server)}
    runner: Runner = "wine" if made.runner == "wine" else "bare"
    return made._replace(argv=(str(script), "-q", *verbs), env=env, environ={**made.environ, **env}, cwd=made.prefix, runner=runner)


def _applied(prefix: Path) -> frozenset[str]:
    """The verbs that winetricks noted; umu may make `pfx` a link to the folder it is in."""
    for file in (prefix / "pfx" / _LOG, prefix / _LOG):
        try:
            with file.open("rb") as log:
                return frozenset(line.strip() for line in log.read(_LONGEST_LOG).decode("utf-8", "replace").splitlines())
        except OSError:
            continue
    return frozenset()


def _is_live(folder: Path) -> bool:
    """Whether something runs in the prefix that nobody's play lock tells of; what is about to end is waited for."""
    if left_behind(folder):
        return True
    try:
        wait_until_quiet(prefix_of(folder), lambda: None, within_s=_SETTLE_S)
    except BusyError:
        return True
    return False


def _running_build(folder: Path) -> str | None:
    """The build of what runs: of the game itself, else of whatever Integ started in the prefix last."""
    used = noted_build(folder)
    return next((each.proton for each in playing(folder) if each.proton), used.version if used else None)


def _wait_for_registry(prefix: Path, check: Callable[[], None]) -> None:
    """Wine writes the registry when its last process ends, some seconds after the program."""
    with suppress(BusyError):
        wait_until_quiet(prefix, check)

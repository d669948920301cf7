"""Playing a game: decide what would be run, then run it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integ_runtime import late_loop
from integ_runtime.cache.records import LaunchWishes
from integ_runtime.content.installed import InstalledGame, InstalledGames, check_key
from integ_runtime.errors import LaunchError, ProgramMissingError
from integ_runtime.launch.desktop import has_session_bus
from integ_runtime.launch.environment import clean
from integ_runtime.launch.flatpak import INFO, on_the_host
from integ_runtime.launch.machine import Machine
from integ_runtime.launch.options import (
    GameOptions,
    arguments_of,
    changed,
    merged_wrappers,
    read_options,
    split_words,
    steam_words,
    write_options,
)
from integ_runtime.launch.plan import LaunchPlan, Tool, plan_native, plan_windows
from integ_runtime.launch.playtime import Playing, orphaned, playing
from integ_runtime.launch.preflight import check_program
from integ_runtime.launch.run import LaunchOutcome, play_lock, run_game, run_tool
from integ_runtime.launch.tasks import with_own_emulator, with_task
from integ_runtime.launch.umu_record import read_runtimes
from integ_runtime.launch.watcher import Watcher
from integ_runtime.launch.wrappers import split_wrappers
from integ_runtime.settings import RuntimeSettings
from integ_server.contract.errors import BuildNotFoundError, NotFoundError, StorageError, UsageError

if TYPE_CHECKING:
    from integ_runtime.cache.store import LibraryCache
    from integ_runtime.proton.installed import InstalledBuild
    from integ_runtime.proton.store import ProtonStore
    from integ_runtime.steam.library import SteamFiles


class Launcher:
    """
    Starts installed games and keeps their play record. Nothing here asks the network.

    What only Windows games and Steam's need is made, and loaded, when one is started: a native game waits for none of it.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        installed: InstalledGames,
        proton: Callable[[], ProtonStore],
        steam: Callable[[], SteamFiles],
        library: LibraryCache | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        flatpak_info: Path = INFO,
        host_root: Path = Path("/run/host"),
    ) -> None:
        self._settings = settings
        self._installed = installed
        self._proton = proton
        self._steam = steam
        self._library = library
        self._environ = environ
        self._flatpak_info = flatpak_info
        self._host_root = host_root

    async def plan(
        self,
        key: str,
        *,
        proton: str | None = None,
        wrappers: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        task: str = "",
    ) -> LaunchPlan:
        """
        What would be run for *key*; nothing is touched. *args* count in place of the launch options that the player chose for it, *task*
        names another thing of its than the game itself.

        Raises:
            NotFoundError: The game is not installed, or only half.
            LaunchError: It can't be started as things stand; among that, that it needs a Proton version that is not here.
        """
        check_key(key)
        kept = await late_loop.in_thread(read_options, self._installed.folder(key), key)
        wishes = await self._library.launch_wishes(key) if self._library is not None else LaunchWishes()
        own_env, own_wrappers, own_words = steam_words(kept.arguments)
        notes: tuple[str, ...] = ()
        if args:
            words = list(args)
        elif kept.arguments:
            words = own_words
        else:
            words, notes = arguments_of(wishes.launch_options, key)
        plan = await self._plan(
            key,
            asked=proton,
            required=wishes.required_proton,
            wrappers=merged_wrappers([*kept.wrappers, *own_wrappers], wrappers),
            env={**kept.env, **own_env, **(env or {})},
            args=words,
            cwd=kept.cwd,
            task=task,
        )
        plan = plan._replace(notes=(*notes, *plan.notes))
        if plan.runner == "steam":
            return plan
        return await late_loop.in_thread(self._with_commands, plan, kept)

    def options(self, key: str) -> GameOptions:
        """
        How *key* is started on this machine, as the player set it.

        Raises:
            UsageError: Steam starts it.
        """
        if key.startswith("steam:"):
            raise UsageError(f"Steam starts {key}", hint="set its launch options in Steam, in the game's properties")
        return read_options(self._installed.folder(key), key)

    def keep_options(self, key: str, options: GameOptions) -> None:
        """Keep *options* for *key* from now on; empty ones are forgotten."""
        write_options(self._installed.folder(key), options)

    def change_options(self, key: str, wanted: Mapping[str, Any]) -> GameOptions:
        """The options of *key* with *wanted* in them, kept from now on; see `options.changed` for what it raises."""
        new = changed(self.options(key), wanted)
        self.keep_options(key, new)
        return new

    async def _plan(
        self,
        key: str,
        *,
        asked: str | None,
        required: str | None,
        wrappers: Sequence[str],
        env: Mapping[str, str],
        args: Sequence[str],
        cwd: str,
        task: str,
    ) -> LaunchPlan:
        if key.startswith("steam:"):
            from integ_runtime.launch.by_steam import plan_by_steam

            plan = await late_loop.in_thread(plan_by_steam, key, args, self._steam(), self._environ)
            left_out = f"wrappers, variables and tasks are left out: Steam starts {plan.title}, and has launch options of its own"
            return plan._replace(notes=(left_out,)) if wrappers or env or task else plan
        game = await late_loop.in_thread(self._installed.get, key)
        if task:
            game = await late_loop.in_thread(with_task, game, task)
        if cwd:
            game = game._replace(working_dir=Path(cwd))
        await late_loop.in_thread(check_program, game)
        if asked is None:  # who names a Proton version wants what the game brings
            game = await late_loop.in_thread(with_own_emulator, game, self._which)
        if game.platform == "linux":
            machine = await late_loop.in_thread(self._machine, wrappers, windows=False)
            return plan_native(game, machine, wrappers=wrappers, env=env, args=args)
        return await self._plan_windows(game, asked=asked, required=required, wrappers=wrappers, env=env, args=args)

    async def plan_tool(self, key: str, tool: Tool, *, proton: str | None = None, runner: str | None = None) -> LaunchPlan:
        """
        What would be run for *tool* in the prefix of *key*, with the build that the game would get; by *runner* instead of the player's.

        Raises:
            NotFoundError: The game is not installed.
            UsageError: It is no Windows game.
            LaunchError: It can't be run as things stand.
        """
        game = await late_loop.in_thread(self._installed.get, key)
        if game.platform != "windows":
            raise UsageError(f"{game.title} is a Linux game: it has no prefix", hint=f"integ launch {key}")
        wishes = await self._library.launch_wishes(key) if self._library is not None else LaunchWishes()
        kept = await late_loop.in_thread(read_options, self._installed.folder(key), key)
        return await self._plan_windows(game, asked=proton, required=wishes.required_proton, env=kept.env, tool=tool, runner=runner)

    async def _plan_windows(
        self,
        game: InstalledGame,
        *,
        asked: str | None,
        required: str | None,
        wrappers: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        tool: Tool | None = None,
        runner: str | None = None,
    ) -> LaunchPlan:
        from integ_runtime.launch import prefix as prefixes
        from integ_runtime.launch.builds import find_wineserver, read_call
        from integ_runtime.launch.umu_record import read_id
        from integ_runtime.prefix.versions import Used

        key = game.key
        build = await self._build_for(key, asked=asked, required=required)
        machine = await late_loop.in_thread(self._machine, wrappers, windows=True)
        prefix = prefixes.prefix_of(self._installed.folder(key))
        root = self._host_root if self._flatpak_info.exists() else Path("/")
        back = await late_loop.in_thread(prefixes.step_back, prefix, Used(build.version, build.family))
        plan = plan_windows(
            game,
            await late_loop.in_thread(read_call, build, prefix, root),
            machine,
            prefix=prefix,
            runner=runner or self._settings.runner,
            wrappers=wrappers,
            env=env,
            args=args,
            log_dir=self._log_dir(key),
            wineserver=await late_loop.in_thread(find_wineserver, build),
            umu_id=await late_loop.in_thread(read_id, self._installed.folder(key)),
            tool=tool,
        )
        return plan._replace(notes=(*plan.notes, back)) if back else plan

    async def _build_for(self, key: str, *, asked: str | None, required: str | None) -> InstalledBuild:
        try:
            return await self._proton().build_for(key, asked=asked, required=required)
        except BuildNotFoundError as error:  # nothing is fetched here: to a script it is a game that could not be started
            raise LaunchError(error.message, hint=error.hint) from error

    async def is_plain_wine(self, key: str, *, proton: str | None = None) -> bool:
        """Whether the build that the game *key* would get, or *proton*, is one that umu can't start; a LaunchError when there is none."""
        wishes = await self._library.launch_wishes(key) if self._library is not None else LaunchWishes()
        return (await self._build_for(key, asked=proton, required=wishes.required_proton)).kind == "wine"

    async def run(
        self,
        plan: LaunchPlan,
        *,
        attach: bool,
        on_started: Callable[[int], None] | None = None,
        stop_when_asked: bool = True,
        watcher: Watcher | None = None,
    ) -> LaunchOutcome:
        """Start *plan* and wait for its end; see `run.run_game`. Of a Steam game the end is seen when the client is local."""
        if plan.runner == "steam":
            from integ_runtime.launch.by_steam import run_by_steam

            await late_loop.needed()
            return await run_by_steam(plan, self._steam())
        folder = self._installed.folder(plan.key)
        build = None
        if plan.prefix is not None:
            with play_lock(folder):  # nobody copies or changes a prefix that is in use
                build = await self.make_ready(plan)
            await late_loop.in_thread(self._log_dir(plan.key).mkdir, parents=True, exist_ok=True)
        async with late_loop.meanwhile() as begin:

            def started(pid: int) -> None:
                if build is not None:
                    begin(self._mark_used(build))  # the game need not wait for it
                if on_started is not None:
                    on_started(pid)

            return await run_game(
                plan,
                game_dir=folder,
                log_dir=self._log_dir(plan.key),
                attach=attach,
                on_started=started,
                stop_when_asked=stop_when_asked,
                watcher=watcher,
            )

    async def make_ready(self, plan: LaunchPlan) -> InstalledBuild | None:
        """
        Let what *plan* names find its prefix as it needs it; for the holder of the play lock, see `ready.make_ready`.

        The answer is the build, which is still to be marked as used.
        """
        from integ_runtime.launch.ready import make_ready

        build = await self._proton().build_for(plan.key, asked=plan.proton) if plan.proton else None
        await make_ready(plan, build)
        return build

    async def _mark_used(self, build: InstalledBuild) -> None:
        with contextlib.suppress(StorageError):  # a full disk must not keep the exit code back
            await self._proton().mark_used(build)

    def running(self) -> list[Playing]:
        """Every play that goes on, started by whichever Integ; also those that nobody watches any more."""
        try:
            folders = sorted(self._settings.paths.games_dir.iterdir())
        except FileNotFoundError:
            return []
        return [play for folder in folders for play in (*playing(folder), *orphaned(folder))]

    async def stop(self, key: str, *, tell: Callable[[str], None] = lambda _: None, within_s: float = 20.0) -> list[Playing]:
        """
        End every play of *key*, as `stopping.stop_plays` does; the answer is which.

        Raises:
            NotFoundError: None goes on.
            LaunchError: It still runs after *within_s*.
        """
        from integ_runtime.launch.stopping import stop_plays

        if key.startswith("steam:"):
            raise NotFoundError(f"{key} is not run by Integ", hint="end it in Steam, which runs it")
        return await stop_plays(self._installed.folder(key), key, tell=tell, within_s=within_s)

    async def run_tool(self, plan: LaunchPlan, *, lock: int | None, attach: bool) -> LaunchOutcome:
        """Start what `plan_tool` planned and wait for its end; see `run.run_tool`."""
        if lock is not None and (build := await self.make_ready(plan)) is not None:
            await self._proton().mark_used(build)
        if self._flatpak_info.exists():
            plan = on_the_host(plan)
        return await run_tool(plan, lock=lock, log_dir=self._log_dir(plan.key), attach=attach)

    def find_program(self, name: str) -> Path | None:
        """Where *name* is on the PATH that games get; umu-run only where it would work."""
        return None if name == "umu-run" and os.geteuid() == 0 else self._which(name)

    def _log_dir(self, key: str) -> Path:
        return self._settings.paths.logs_dir / key.replace(":", "-", 1)

    def _with_commands(self, plan: LaunchPlan, kept: GameOptions) -> LaunchPlan:
        """*plan* with what is run before and after it, and handed to the host where we are inside Flatpak."""
        inside = self._flatpak_info.exists()
        before, after = (self._command(plan, each) for each in (kept.before, kept.after))
        if before and not before[0]:
            raise ProgramMissingError(f"what {plan.title} is to be started after is not here: {kept.before}", hint=_without(plan, "before"))
        notes = plan.notes
        if after and not after[0]:
            notes, after = (*notes, f"{kept.after} is left out: it is not installed"), ()
        plan = plan._replace(before=before, after=after, notes=notes)
        return on_the_host(plan) if inside else plan

    def _command(self, plan: LaunchPlan, text: str) -> tuple[str, ...]:
        """*text* as words, the first of them a path, or empty when there is no such program."""
        words = split_words(text)
        return (str(self._which(words[0]) or ""), *words[1:]) if words else ()

    def _which(self, program: str) -> Path | None:
        """Where *program* is; from inside Flatpak, where the host has it."""
        if not self._flatpak_info.exists():
            path = clean(self._environ).get("PATH", os.defpath)
            if "/" not in program and not any(os.path.exists(os.path.join(each, program)) for each in path.split(os.pathsep)):  # noqa: PTH110, PTH118
                return None  # most machines have no umu-run, and `shutil` brings along all the packers it knows
            import shutil

            found = shutil.which(program, path=path)
            return Path(found) if found else None
        if "/" in program:
            return Path(program) if Path(program).exists() else None
        folders = (Path("/usr/local/bin"), Path("/usr/bin"), Path("/usr/games"))
        return next((each / program for each in folders if (self._host_root / each.relative_to("/") / program).exists()), None)

    def _machine(self, wrappers: Sequence[str], *, windows: bool) -> Machine:
        umu = self._which("umu-run") if windows else None
        programs = {words[0] for text in wrappers for words in split_wrappers(text)}
        roots = self._steam().roots() if windows else []
        inside = self._flatpak_info.exists()
        return Machine(
            environ={name: value for name, value in self._environ.items() if not (inside and name == "LD_LIBRARY_PATH")},
            home=self._settings.paths.home,
            uid=os.geteuid(),
            umu_run=umu,
            umu_runtimes=read_runtimes(self._settings.paths.data.parent, self._environ) if umu else frozenset(),
            tools=tuple(self._steam().tools()) if windows else (),
            steam_root=roots[0].path if roots else None,
            programs={name: self._which(name) for name in programs},
            session_bus="gamemoderun" not in map(os.path.basename, programs) or inside or has_session_bus(self._environ),
        )


def _without(plan: LaunchPlan, option: str) -> str:
    return f"integ options {plan.key} --{option} ''"

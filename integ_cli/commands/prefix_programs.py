"""prefix create, open, run and winetricks: what is run in a game's prefix beside the game."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import duration
from integ_cli.parameters import GameArgument
from integ_cli.traits import command

if TYPE_CHECKING:
    from pathlib import Path

    from integ_runtime.prefix.programs import Made, Ran, Tricks
    from integ_runtime.runtime import Runtime

ProtonOption = Annotated[str | None, Option(help="With this Proton version", metavar="V")]


@command("integ prefix create disco-elysium", "integ prefix create gog:1207658924 --proton ge-9.27")
def create(game: GameArgument, proton: ProtonOption = None) -> None:
    """Make a game's prefix ready now, as its first launch would."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)

    async def work(runtime: Runtime) -> Made:
        made = await runtime.prefix_programs.create(release.key, proton=proton, tell=out.note)
        await runtime.refresh_local()
        return made

    made = session.run(out, work, settings)
    data = {
        "key": release.key,
        "path": made.path,
        "proton": made.proton,
        "family": made.family,
        "created": made.created,
        "log_path": made.log_path,
    }
    told = f"The prefix of {release.title} is {'ready' if made.created else 'up to date'}, made by {made.proton}: {made.path}"
    out.result("prefix-create", data, told)


@command("integ prefix open disco-elysium", "integ prefix open gog:1207658924 --json")
def open_drive(game: GameArgument) -> None:
    """Print where the C: drive of a game's prefix is; on a terminal of a desktop its file manager shows it too."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)

    async def work(runtime: Runtime) -> tuple[Path, bool]:
        from integ_runtime.prefix.programs import show_folder

        drive = await runtime.prefixes.drive(release.key)
        asked = sys.stdout.isatty() and not out.as_json
        return drive, asked and show_folder(drive, os.environ, runtime.launcher.find_program("xdg-open"))

    drive, opened = session.run(out, work, settings)
    out.result("prefix-open", {"key": release.key, "path": drive, "opened": opened}, str(drive))


@command(
    "integ prefix run disco-elysium winecfg",
    "integ prefix run gog:1207658924 -- ./patch.exe /S",
    "integ prefix run disco-elysium 'C:\\tool.exe'",
)
def run(
    game: GameArgument,
    program: Annotated[str, Argument(help="A file, a Windows path, or a name that Wine knows", metavar="PROGRAM")],
    arguments: Annotated[
        list[str] | None, Argument(help="For the program, after -- where they begin with -", metavar="ARGS", show_default=False)
    ] = None,
    proton: ProtonOption = None,
) -> None:
    """Run a program in a game's prefix, beside the game when that runs; exits with the program's own code. Ctrl-C ends it."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)

    async def work(runtime: Runtime) -> Ran:
        return await runtime.prefix_programs.run(release.key, program, arguments or [], proton=proton, attach=not out.as_json)

    ran = session.run(out, work, settings)
    code = ran.outcome.exit_code
    data = {"key": release.key, "verb": ran.verb, "exit_code": code, "seconds": ran.outcome.seconds, "log_path": ran.outcome.log_path}
    out.result("prefix-run", data)
    out.note(f"{program} ran for {duration(ran.outcome.seconds)}" + (f" and exited with {code}." if code else "."))
    if code:
        raise typer.Exit(code)


@command("integ prefix winetricks disco-elysium vcrun2022", "integ prefix winetricks gog:1207658924 d3dx9 sound=alsa")
def winetricks(
    game: GameArgument,
    verbs: Annotated[list[str], Argument(help="What to apply", metavar="VERB...")],
    proton: ProtonOption = None,
) -> None:
    """Apply winetricks verbs to a game's prefix: by umu-run, else by this machine's winetricks."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)

    async def work(runtime: Runtime) -> Tricks:
        return await runtime.prefix_programs.winetricks(release.key, verbs, proton=proton, attach=not out.as_json)

    done = session.run(out, work, settings)
    data = {"key": release.key, "by": done.by, "applied": done.applied, "already": done.already, "log_path": done.log_path}
    told = [f"{' '.join(done.applied)} applied by {done.by}."] if done.applied else []
    told += [f"{' '.join(done.already)}: applied already."] if done.already else []
    out.result("prefix-winetricks", data, *told)

"""launch, options: a game from the command line, with the game's own exit code."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from integ_cli import launching, session
from integ_cli.context import output
from integ_cli.launch_words import LaunchWords
from integ_cli.parameters import GameArgument
from integ_cli.traits import command
from integ_server.contract.errors import UsageError

if TYPE_CHECKING:
    from integ_runtime.runtime import Runtime


@command(
    "integ launch disco-elysium",
    "integ launch steam:620 -- -windowed",
    "integ launch gog:1207658924 --proton ge-9.27 --wrapper mangohud --env DXVK_HUD=fps --dry-run",
)
def launch(
    *,
    game: GameArgument,
    arguments: Annotated[
        list[str] | None,
        Argument(help="For the game itself, after --, in place of its launch options", metavar="-- ARGS", show_default=False),
    ] = None,
    proton: Annotated[str | None, Option(help="With this Proton version", metavar="V")] = None,
    wrapper: Annotated[list[str] | None, Option(help="Start it through this program; may be given more than once", metavar="W")] = None,
    env: Annotated[list[str] | None, Option(help="Set a variable; may be given more than once", metavar="K=V")] = None,
    task: Annotated[str, Option(help="Its settings, its editor, ...: an entry of GOG's list", metavar="NAME", show_default=False)] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would be run, run nothing")] = False,
) -> None:
    """Start a game and wait for its end; exits with the game's own code."""
    asked = LaunchWords(game, arguments or [], proton, wrapper or [], env or [], task, dry_run)
    code = launching.launch(output(), asked)
    if code:
        raise typer.Exit(code)


@command(
    "integ options disco-elysium",
    "integ options disco-elysium --wrapper gamemoderun --env DXVK_HUD=fps",
    "integ options gog:1207658924 --args 'MANGOHUD=1 gamescope -f -- %command% -windowed' --before 'pactl set-sink-mute 0 0'",
)
def options(
    *,
    game: GameArgument,
    wrapper: Annotated[list[str] | None, Option(help="Start it through this program; may be given more than once", metavar="W")] = None,
    env: Annotated[list[str] | None, Option(help="Set a variable; may be given more than once", metavar="K=V")] = None,
    args: Annotated[str | None, Option(help="Launch options as Steam takes them, %command% and all", metavar="TEXT")] = None,
    cwd: Annotated[str | None, Option(help="The folder it is started in", metavar="DIR")] = None,
    before: Annotated[str | None, Option(help="Run this first; when it fails, the game is not started", metavar="CMD")] = None,
    after: Annotated[str | None, Option(help="Run this once the game has ended, however it did", metavar="CMD")] = None,
    off: Annotated[bool, Option("--off", help="Forget all of it")] = False,
) -> None:
    """
    Show or set how a game is started on this machine. What is given takes the place of what was kept; an empty text takes it away.
    """
    from integ_runtime.launch.options import GameOptions

    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)
    given = {"wrappers": wrapper, "env": env, "arguments": args, "cwd": cwd, "before": before, "after": after}
    wanted = {name: value for name, value in given.items() if value is not None}
    if off and wanted:
        raise UsageError("--off stands alone: it forgets all options", hint=f"integ options {release.key} --off")

    async def work(runtime: Runtime) -> GameOptions:
        if off:
            runtime.launcher.keep_options(release.key, GameOptions())
        return runtime.launcher.change_options(release.key, _checked(wanted)) if wanted else runtime.launcher.options(release.key)

    kept = session.run(out, work, settings)
    data = {"key": release.key, **kept.as_dict()}
    texts = {
        name: shlex.join(f"{key}={each}" for key, each in value.items()) if name == "env" else value
        for name, value in kept.as_dict().items()
    }
    texts["wrappers"] = ", ".join(kept.wrappers)
    out.result("options", data, out.rows(("OPTION", "VALUE"), [(name, text) for name, text in texts.items() if text]))
    if kept == GameOptions():
        out.note(f"{release.title} has no options of its own on this machine.")


def _checked(wanted: dict[str, Any]) -> dict[str, Any]:
    """What was typed, as it is kept: empty texts dropped, variables taken apart, the folder absolute."""
    from pathlib import Path

    if "wrappers" in wanted:
        wanted["wrappers"] = tuple(each for each in wanted["wrappers"] if each.strip())
    if "env" in wanted:
        wanted["env"] = launching.variables_of([each for each in wanted["env"] if each])
    if wanted.get("cwd"):
        folder = Path(wanted["cwd"]).expanduser().absolute()
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder", hint="--cwd names a folder that is there")
        wanted["cwd"] = str(folder)
    return wanted

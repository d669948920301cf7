"""launch: a game from the command line, with the game's own exit code."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import duration
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
    game: Annotated[str, Argument(help="A key, a title id, or a name", metavar="GAME")],
    arguments: Annotated[
        list[str] | None,
        Argument(help="For the game itself, after --, in place of its launch options", metavar="-- ARGS", show_default=False),
    ] = None,
    proton: Annotated[str | None, Option(help="With this Proton version", metavar="V")] = None,
    wrapper: Annotated[list[str] | None, Option(help="Start it through this program; may be given more than once", metavar="W")] = None,
    env: Annotated[list[str] | None, Option(help="Set a variable; may be given more than once", metavar="K=V")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would be run, run nothing")] = False,
) -> None:
    """Start a game and wait for its end; exits with the game's own code."""
    out = output()
    variables = _variables(env or [])
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)

    async def work(runtime: Runtime) -> tuple[dict[str, Any], int]:
        plan = await runtime.launcher.plan(release.key, proton=proton, wrappers=wrapper or [], env=variables, args=arguments or [])
        for note in plan.notes:
            out.warn(note)
        if dry_run:
            return plan.as_dict(), 0
        outcome = await runtime.launcher.run(plan, attach=not out.as_json)
        await runtime.refresh_local()
        told = {"key": release.key, "exit_code": outcome.exit_code, "seconds": outcome.seconds, "log_path": outcome.log_path}
        return told, outcome.exit_code

    data, code = session.run(out, work, settings)
    if dry_run:
        shown = " ".join([*(f"{name}={shlex.quote(value)}" for name, value in data["env"].items()), shlex.join(data["argv"])])
        out.result("launch", data, f"cd {shlex.quote(str(data['cwd']))}", shown)
        return
    out.result("launch", data)
    out.note(f"{release.title} ran for {duration(data['seconds'])}" + (f" and exited with {code}." if code else "."))
    if code and data["log_path"]:
        out.note(f"Its log: {data['log_path']}")
    if code:
        raise typer.Exit(code)


def _variables(given: list[str]) -> dict[str, str]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name or "\0" in each:
            raise UsageError(f"--env {name or each} is no K=V", hint="--env DXVK_HUD=fps")
        found[name] = value
    return found

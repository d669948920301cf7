"""ps, stop: the games that run, whichever Integ started them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.traits import command
from integ_server.contract.errors import PartialError, UsageError

if TYPE_CHECKING:
    from integ_cli.output import Output
    from integ_runtime.launch.playtime import Playing
    from integ_runtime.runtime import Runtime


@command("integ ps", "integ ps --json")
def ps() -> None:
    """List the games that run, whichever Integ started them; what runs in Steam is Steam's to tell."""
    out = output()

    async def work(runtime: Runtime) -> list[Playing]:
        return runtime.launcher.running()

    plays = session.run(out, work)
    rows = [(play.key, play.title, play.pid, play.started_at, play.proton or "-", play.stopping or "-") for play in plays]
    out.result("ps", {"items": [_item(play) for play in plays]}, out.rows(("!GAME", "TITLE", ">PID", "SINCE", "PROTON", "?STOPPING"), rows))
    if not plays:
        out.note("Nothing runs.")


@command("integ stop disco-elysium", "integ stop --all")
def stop(
    game: Annotated[str | None, Argument(help="A key, a title id, or a name", metavar="GAME", show_default=False)] = None,
    everything: Annotated[bool, Option("--all", help="Every game that runs")] = False,
) -> None:
    """End a game that runs: Wine is asked, then its processes are told to end, then killed; a second stop kills at once."""
    out = output()
    if everything == (game is not None):
        raise UsageError("stop takes a GAME, or --all", hint="integ stop --all")

    async def work(runtime: Runtime) -> list[Playing]:
        running = runtime.launcher.running()
        if game is not None:
            return await runtime.launcher.stop(_key(out, game, running), tell=out.note)
        return await _stop_all(runtime, sorted({play.key for play in running}), out)

    try:
        stopped = session.run(out, work)
    except KeyboardInterrupt:
        out.note("What was asked to end goes on ending, or goes on: integ ps")
        raise
    told = [f"{play.title or play.key} has ended." for play in stopped] or ["Nothing runs."]
    out.result("stop", {"items": [_item(play) for play in stopped]}, *told)


async def _stop_all(runtime: Runtime, keys: list[str], out: Output) -> list[Playing]:
    import asyncio

    from integ_server.contract.errors import IntegError, NotFoundError

    ends = await asyncio.gather(*(runtime.launcher.stop(key, tell=out.note) for key in keys), return_exceptions=True)
    failed = [end for end in ends if isinstance(end, BaseException) and not isinstance(end, NotFoundError)]  # that one ended by itself
    for each in failed:
        if not isinstance(each, IntegError):
            raise each
    if failed:
        raise PartialError("; ".join(str(each) for each in failed), hint="integ ps")
    return [play for end in ends if isinstance(end, list) for play in end]


def _key(out: Output, game: str, running: list[Playing]) -> str:
    """Of what runs, that which is called *game*; else whatever the library knows by that name."""
    named = {play.key for play in running if game == play.key or game.casefold() == play.title.casefold()}
    if len(named) == 1:
        return named.pop()
    return session.get_release(out, session.light_settings(out), game).key


def _item(play: Playing) -> dict[str, Any]:
    return {"key": play.key, "title": play.title, "pid": play.pid, "started_at": play.started_at, "proton": play.proton}

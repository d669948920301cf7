"""steam: what Integ reads and changes in Steam's own files, each change with a way back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.parameters import GameArgument, SteamOption
from integ_cli.traits import command
from integ_server.contract.errors import GameNotFoundError, UsageError

if TYPE_CHECKING:
    from integ_cli.output import Output
    from integ_runtime.runtime import Runtime
    from integ_runtime.steam.changes import Change
    from integ_runtime.steam.editor import ShortcutChange, ToolChoice, ToolRow
    from integ_runtime.steam.shortcuts import Shortcut
    from integ_runtime.steam.users import SteamUser

UserOption = Annotated[
    str | None, Option("--user", help="Whose: an account number or a name; default: who signed in last", metavar="USER", show_default=False)
]


@command("integ steam tools list", "integ steam tools list --json")
def list_tools() -> None:
    """List the compatibility tools that Steam knows, and which game is set to which."""
    out = output()
    rows: list[ToolRow] = session.run(out, lambda runtime: runtime.steam_editor.tools())
    cells = [
        (each.name, each.title, each.steam or "all", "default" if each.default else "", ", ".join(each.used_by), each.path) for each in rows
    ]
    out.result(
        "steam-tools-list", {"items": [asdict(each) for each in rows]}, out.rows(("NAME", "TITLE", "STEAM", "", "USED BY", "PATH"), cells)
    )
    if not rows:
        out.note("Steam has no compatibility tool here; its own come with the first Windows game.")


@command(
    "integ steam tools use GE-Proton10-34 steam:620",
    "integ steam tools use proton_experimental",
    "integ steam tools use --off steam:620",
)
def use_tool(
    tool: Annotated[str | None, Argument(help="The name of a tool", metavar="TOOL", show_default=False)] = None,
    game: Annotated[str | None, Argument(help="One of Steam's; default: all without a choice", metavar="GAME", show_default=False)] = None,
    off: Annotated[bool, Option("--off", help="Take the choice back")] = False,
    steam: SteamOption = None,
) -> None:
    """Choose what Steam runs a game with, or all games without a choice of their own; Steam must not be running."""
    if off:
        if game is not None:
            raise UsageError("with --off a game alone is named", hint="integ steam tools use --off GAME")
        tool, game = None, tool
    elif tool is None:
        raise UsageError("a tool, or --off: one of them", hint="integ steam tools list")
    out = output()
    release = session.get_release(out, session.light_settings(out), game) if game is not None else None

    async def work(runtime: Runtime) -> ToolChoice:
        key, title = (release.key, release.title) if release else (None, "")
        done = await runtime.steam_editor.use_tool(tool, key=key, title=title, steam=steam)
        await runtime.refresh_local()
        return done

    done = session.run(out, work)
    whom = release.title if release else "every game without a choice of its own"
    already = "" if done.changed else " already"
    told = f"Steam{already} runs {whom} with {done.tool}." if done.tool else f"Steam{already} decides what {whom} runs with."
    out.result("steam-tools-use", asdict(done), told)


@command("integ steam shortcuts list", "integ steam shortcuts list --user ana --json")
def list_shortcuts(user: UserOption = None, steam: SteamOption = None) -> None:
    """List the non-Steam shortcuts in Steam's library."""
    out = output()
    found: tuple[SteamUser, list[Shortcut]] = session.run(out, lambda runtime: runtime.steam_editor.shortcuts(user=user, steam=steam))
    whose, shortcuts = found
    cells = [(each.app_id, each.name, each.key or "", f"{each.exe} {each.launch_options}".strip()) for each in shortcuts]
    data = {"user": whose.steam_id, "items": [asdict(each) for each in shortcuts]}
    out.result("steam-shortcuts-list", data, out.rows((">ID", "NAME", "GAME", "COMMAND"), cells))
    if not shortcuts:
        out.note("No shortcut yet: integ steam shortcuts add GAME")


@command("integ steam shortcuts add disco-elysium", "integ steam shortcuts add gog:1207658924 --user ana")
def add_shortcut(game: GameArgument, user: UserOption = None, steam: SteamOption = None) -> None:
    """Put an installed game of Integ's into Steam's library, as on a Steam Deck; Steam must not be running."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)

    async def work(runtime: Runtime) -> ShortcutChange:
        twins = await _steam_twins(runtime, release.key)
        return await runtime.steam_editor.add_shortcut(release.key, steam_twins=twins, user=user, steam=steam)

    done = session.run(out, work, settings)
    told = (
        f"{release.title} is in Steam's library from its next start." if done.changed else f"{release.title} is in Steam's library already."
    )
    out.result("steam-shortcuts-add", asdict(done), told)
    if done.changed and done.needs_permission:
        out.note("Steam's Flatpak has to be allowed to start it:")
        out.note("  flatpak override --user --talk-name=org.freedesktop.Flatpak com.valvesoftware.Steam")


@command("integ steam shortcuts remove disco-elysium")
def remove_shortcut(game: GameArgument, user: UserOption = None, steam: SteamOption = None) -> None:
    """Take a game's shortcut out of Steam's library; integ steam undo brings it back. Steam must not be running."""
    out = output()
    key, title = _named(out, game)

    async def work(runtime: Runtime) -> ShortcutChange:
        return await runtime.steam_editor.remove_shortcut(key, steam_twins=await _steam_twins(runtime, key), user=user, steam=steam)

    done = session.run(out, work)
    out.result("steam-shortcuts-remove", asdict(done), f"{title} is no longer among Steam's shortcuts.")


@command("integ steam undo")
def undo(force: Annotated[bool, Option("--force", help="Though it was changed again since")] = False) -> None:
    """Take back the last change that Integ made in Steam's files; Steam must not be running."""
    out = output()

    async def work(runtime: Runtime) -> Change:
        done = await runtime.steam_editor.undo(force=force)
        await runtime.refresh_local()
        return done

    done = session.run(out, work)
    data = {"kind": done.kind, "what": done.what, "app_id": int(done.id), "file": done.file, "made_at": done.at}
    out.result("steam-undo", data, f"Taken back: {done.what}.")


def _named(out: Output, game: str) -> tuple[str, str]:
    """Key and title; a key that nobody knows any more still names a shortcut."""
    from integ_runtime.content.installed import is_key

    try:
        release = session.get_release(out, session.light_settings(out), game)
    except GameNotFoundError:
        if not is_key(game):
            raise
        return game, game
    return release.key, release.title


async def _steam_twins(runtime: Runtime, key: str) -> list[str]:
    """The same title's keys at Steam."""
    title: Any = await runtime.library.find_title(key)
    return [release.key for release in (title.releases if title else ()) if release.provider == "steam"]

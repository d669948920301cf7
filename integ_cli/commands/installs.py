"""install, uninstall, import: games on and off the disk."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import size
from integ_cli.parameters import GameArgument
from integ_cli.traits import command
from integ_server.contract.errors import AuthenticationError, GameNotFoundError, UsageError

if TYPE_CHECKING:
    from integ_cli.output import Output
    from integ_runtime.cache.records import ReleaseRow
    from integ_runtime.content.games import InstallOptions
    from integ_runtime.runtime import Runtime


@command(
    "integ install disco-elysium",
    "integ install gog:1207658924 --platform windows --language de-DE --dlc none",
    "integ install steam:620 --steamcmd --login ana --platform windows",
    long=True,
)
def install(
    *,
    game: GameArgument,
    platform: Annotated[Literal["linux", "windows"] | None, Option(help="Default: linux where the game has it")] = None,
    language: Annotated[str | None, Option(help="As the store writes it, such as en-US", metavar="L")] = None,
    dlc: Annotated[list[str] | None, Option(help="all, none, or an id; may be given more than once", metavar="all|none|ID")] = None,
    branch: Annotated[str | None, Option(help="A branch other than the public one", metavar="B")] = None,
    build: Annotated[str | None, Option(help="A certain build", metavar="ID")] = None,
    directory: Annotated[Path | None, Option("--dir", help="Below this folder instead of your library folder", metavar="D")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done, do nothing")] = False,
    no_wait: Annotated[bool, Option("--no-wait", help="Leave a game of Steam's to Steam, once it is asked")] = False,
    steamcmd: Annotated[bool, Option("--steamcmd", help="A game of Steam's by steamcmd, without the client")] = False,
    login: Annotated[str | None, Option(help="With --steamcmd: the account's name, or anonymous", metavar="NAME")] = None,
) -> None:
    """Install a game into your library folder; Steam's games are installed by Steam, which is watched."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game, prefer_installed=False)
    if steamcmd and dry_run:
        raise UsageError("steamcmd can't say beforehand what it would do", hint=f"integ install {release.key} --steamcmd")
    if login is not None and not steamcmd:
        raise UsageError("--login goes with --steamcmd", hint=f"integ install {release.key} --steamcmd --login NAME")
    by_steamcmd = (login or out.answer("Steam account's name", otherwise="--login NAME")) if steamcmd else None

    async def work(runtime: Runtime) -> dict[str, Any]:
        from integ_runtime.content.games import InstallOptions

        chosen = directory.expanduser().absolute() if directory else None
        options = InstallOptions(platform=platform, language=language, dlc=_dlc(dlc), branch=branch, build=build, directory=chosen)
        if by_steamcmd is not None:
            if options.platform is None and release.platforms and "linux" not in release.platforms:
                options = replace(options, platform="windows")
            return await _by_steamcmd(out, runtime, release, options, by_steamcmd)
        if dry_run:
            return await runtime.games.plan(release.key, options)
        with out.progress() as report:
            done = await runtime.games.install(release.key, options, report, wait=not no_wait)
        await runtime.refresh_local()
        return done

    data = session.run(out, work, settings)
    if steamcmd:
        told = f"{release.title} is in {data['path']} ({size(data['bytes_on_disk'])}). Steam's client does not know of it. Next: "
        told += f"integ import {shlex.quote(release.title)} --path {shlex.quote(data['path'])}"
    elif data["path"] is None:
        told = _asked(data, release.title, "install", dry_run=dry_run)
    elif dry_run:
        told = f"{release.title}: {size(data['download_bytes'])} to download, {size(data['disk_bytes'])} on disk, in {data['path']}"
    else:
        told = f"{release.title} is installed in {data['path']} ({size(data['bytes_on_disk'])}). Next: integ launch {release.key}"
    out.result("install", data, told)


async def _by_steamcmd(out: Output, runtime: Runtime, release: ReleaseRow, options: InstallOptions, login: str) -> dict[str, Any]:
    """Where steamcmd is not signed in, it asks for the password itself, on this terminal: Integ never sees it."""

    async def install() -> dict[str, Any]:
        with out.progress() as report:
            return await runtime.games.install_by_steamcmd(release.key, release.title, options, login=login, report=report)

    try:
        return await install()
    except AuthenticationError as refused:
        if not out.can_ask or out.as_json:
            raise
        out.note(f"{refused.message}; it asks for the password now.")
    import asyncio

    from integ_runtime.steam.steamcmd import Steamcmd

    await asyncio.to_thread(Steamcmd().sign_in, login)
    return await install()


def _asked(data: dict[str, Any], title: str, action: str, *, dry_run: bool = False) -> str:
    """What Steam was asked, and what came of it while somebody waited."""
    if dry_run:
        return f"Steam would be asked to {action} {title}."
    if data.get("state") == "paused":
        return f"Steam has paused the download of {title}; it goes on in Steam."
    return f"Steam is asked to {action} {title}."


def _dlc(given: list[str] | None) -> Any:
    if not given:
        return None
    wanted = [each for one in given for each in one.split(",") if each]
    words = {"all", "none"} & set(wanted)
    if not words:
        return wanted
    if len(wanted) > 1:
        raise UsageError("--dlc takes all, or none, or ids", hint="integ install GAME --dlc none")
    return wanted[0]


@command("integ uninstall disco-elysium", "integ uninstall gog:1207658924 --purge --yes", long=True, asks=True)
def uninstall(
    game: GameArgument,
    purge: Annotated[bool, Option("--purge", help="Its prefix and save snapshots too")] = False,
    no_wait: Annotated[bool, Option("--no-wait", help="Leave a game of Steam's to Steam, once it is asked")] = False,
) -> None:
    """Remove an installed game: what Integ wrote goes, what you added stays, saves stay unless --purge."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)
    out.confirm(f"Uninstall {release.title}" + (" and delete its prefix and saves?" if purge else "? Its saves stay."))

    async def work(runtime: Runtime) -> tuple[dict[str, Any], bool]:
        with out.progress() as report:
            done = await runtime.games.uninstall(release.key, purge=purge, report=report, wait=not no_wait)
        await runtime.refresh_local()
        return done, await runtime.steam_editor.has_shortcut(release.key)

    data, has_shortcut = session.run(out, work, settings)
    if "handed_to" in data and data["state"] != "gone":
        out.result("uninstall", data, _asked(data, release.title, "uninstall"))
        return
    out.result("uninstall", data, f"{release.title} is uninstalled.")
    if data.get("trashed"):
        out.note(f"{len(data['trashed'])} files that had been changed are in {data['trash']} now.")
    if data.get("kept") and data["path"]:
        out.note(f"What you added stays in {data['path']}.")
    if has_shortcut:
        out.note(f"Its shortcut in Steam stays: integ steam shortcuts remove {release.key}")


@command("integ import disco-elysium --path ~/Games/Disco", "integ import gog:1207658924 --path /mnt/old/Game --exe bin/game.sh")
def import_game(
    game: GameArgument,
    path: Annotated[Path, Option("--path", help="The folder that the game is in", metavar="DIR")],
    exe: Annotated[Path | None, Option("--exe", help="The program to start, inside that folder", metavar="FILE")] = None,
) -> None:
    """Take over a game that is on the disk already; nothing is copied or changed."""
    out = output()
    settings = session.light_settings(out)
    try:
        release = session.get_release(out, settings, game, prefer_installed=False)
        key, title = release.key, release.title
    except GameNotFoundError:
        if re.fullmatch(r"[a-z0-9_-]+:\S+", game):  # a key, not a name such as "Old Gem: Gold Edition"
            raise
        key = title = game  # a program that no store knows, under a name of the player's own

    async def work(runtime: Runtime) -> dict[str, Any]:
        done = await runtime.games.import_game(key, title, path, exe)
        await runtime.refresh_local()
        return done

    data = session.run(out, work, settings)
    out.result("import", data, f"{data['title']} is taken over from {data['path']}. Next: integ launch {data['key']}")

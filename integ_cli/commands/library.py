"""list, search, show: the library out of the local cache, with nothing heavy imported on the way."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from integ_cli.context import output
from integ_cli.layout import Table, day, playtime, size
from integ_cli.output import Output
from integ_cli.parameters import GameArgument
from integ_cli.session import cache_errors, light_settings, one_of_several
from integ_cli.traits import command

if TYPE_CHECKING:
    from integ_runtime.cache.records import TitleRow


@command("integ list --installed --sort playtime", "integ list --filter 'lantern store:gog playtime:>10h'", "integ list --json")
def list_games(
    *,
    store: Annotated[str | None, Option(help="Only games of this store", metavar="PROVIDER")] = None,
    installed: Annotated[bool, Option("--installed", help="Only installed games")] = False,
    everything: Annotated[bool, Option("--all", help="Hidden games too")] = False,
    query: Annotated[str, Option("--filter", help="Words, and fields such as store:gog installed:yes", metavar="QUERY")] = "",
    sort: Annotated[str, Option(help="title, playtime, last_played, installed, store; -title turns it round", metavar="FIELD")] = "title",
    limit: Annotated[int | None, Option(help="At most so many rows", metavar="N", min=0)] = None,
    by: Annotated[Literal["title", "release"], Option(help="A row a title, or a row a store's release")] = "title",
) -> None:
    """List the games you own, out of the local cache."""
    from integ_runtime.cache import rows
    from integ_runtime.cache.query import LibraryQuery

    out = output()
    asked = LibraryQuery(
        store=store, installed=True if installed else None, include_hidden=everything, filter=query, sort=sort, limit=limit, by=by
    )
    with cache_errors():
        data = rows.list_json(light_settings(out).paths.cache_db, asked)
    _print_items(
        out, "list", data, nothing="No game fits." if query or store or installed else "No games yet: integ login, then integ sync."
    )


@command("integ search lantern", "integ search ltc --json")
def search(
    text: Annotated[list[str], Argument(help="Words, or the beginnings or initials of words", metavar="TEXT")],
    limit: Annotated[int, Option(help="At most so many rows", metavar="N", min=1)] = 50,
) -> None:
    """Find games by any part of their name, best first."""
    from integ_runtime.cache import rows

    out = output()
    with cache_errors():
        data = rows.search_json(light_settings(out).paths.cache_db, " ".join(text), limit)
    _print_items(out, "search", data, nothing="No game fits.")


@command("integ show disco-elysium", "integ show steam:620 --json")
def show(game: GameArgument) -> None:
    """Show everything known about a game: where you own it, what is installed, what it is about."""
    from integ_runtime.cache import rows

    out = output()
    paths = light_settings(out).paths
    cache_db = paths.cache_db
    title = one_of_several(out, lambda text: rows.get_title(cache_db, text), game)
    with cache_errors():
        details = rows.details(cache_db, title.title_id)
    item = {**title.as_dict(), "details": details, "steam": _steam(title, paths.home)}
    out.result("show", item, title.title, _about(item), _releases(out, item), details.get("description", ""), _note(details))


def _print_items(out: Output, schema: str, data: str, nothing: str) -> None:
    if out.as_json:
        out.result_json(schema, data)
        return
    import json

    known = json.loads(data)
    items: list[dict[str, Any]] = known["items"]
    out.text(list_table(out, items))
    if not items:
        out.note(nothing)
    elif sys.stdout.isatty() and known["total"] > len(items):
        out.note(f"{len(items)} of {known['total']} games")


def list_table(out: Output, items: list[dict[str, Any]]) -> Table:
    """The items of `integ list` as rows for people."""
    cells = [
        (
            ("★ " if item["favourite"] else "") + item["title"],
            " ".join(sorted({release["provider"] for release in item["releases"]})),
            _installed(item),
            playtime(item["playtime_min"]),
            day(item["last_played_at"]),
            item["title_id"] if len(item["releases"]) != 1 else item["releases"][0]["key"],
        )
        for item in items
    ]
    return out.rows(("TITLE", "?STORE", "?INSTALLED", "?>PLAYED", "?LAST PLAYED", "!GAME"), cells)


def _installed(item: dict[str, Any]) -> str:
    if not item["installed"]:
        return "-"
    return "update" if any(release["update_available"] for release in item["releases"]) else "yes"


def _about(item: dict[str, Any]) -> Table | str:
    details = item["details"]
    lines = {
        "Id": item["title_id"],
        "Released": details.get("release_date") or details.get("year"),
        "Developer": ", ".join(details.get("developers", [])),
        "Publisher": ", ".join(details.get("publishers", [])),
        "Genres": ", ".join(details.get("genres", [])),
        "Tags": ", ".join(item["tags"]),
        "Played": _played(item),
        "Launch": "; ".join(_launch(each, alone=len(item["releases"]) == 1) for each in details["launch"]),
        "DLC": ", ".join(each["title"] for each in details.get("dlc", [])),
        "Steam": _doing(item["steam"]),
        "Joined": "by name and year, which is a guess" if details.get("guessed") and len(item["releases"]) > 1 else "",
    }
    return "\n".join(f"{name + ':':<11}{str(value).replace(chr(10), ' ')}" for name, value in lines.items() if value)


def _steam(title: TitleRow, home: Path) -> dict[str, Any] | None:
    """What Steam does with its release this moment: the cache knows only what is installed."""
    game_id = next((each.provider_game_id for each in title.releases if each.provider == "steam"), None)
    if game_id is None:
        return None
    from integ_runtime.steam.library import SteamFiles

    return SteamFiles(home).doing(game_id)


def _doing(known: dict[str, Any] | None) -> str:
    if known is None:
        return ""
    how_far = f", {size(known['done_bytes'])} of {size(known['total_bytes'])}" if known["total_bytes"] else ""
    return f"{known['state']}{how_far}{', running' if known['running'] else ''}"


def _note(details: dict[str, Any]) -> str:
    return "Your note:\n" + "\n".join(f"  {line}" for line in details["notes"].splitlines()) if details["notes"] else ""


def _launch(wish: dict[str, Any], *, alone: bool) -> str:
    """What the player chose for a release, `alone` in its title."""
    told = ", ".join(part for part in (f"with {wish['proton']}" if wish["proton"] else "", wish["launch_options"]) if part)
    return told if alone else f"{wish['key']} {told}"


def _played(item: dict[str, Any]) -> str:
    if not item["playtime_min"] and not item["last_played_at"]:
        return ""
    how_long = playtime(item["playtime_min"]) if item["playtime_min"] else "less than a minute"
    return f"{how_long}, last on {day(item['last_played_at'])}" if item["last_played_at"] else how_long


def _releases(out: Output, item: dict[str, Any]) -> Table:
    cells = [
        (each["key"], each["title"], " ".join(each["platforms"]) or "-", _short(each["install_path"]), playtime(each["playtime_min"]))
        for each in item["releases"]
    ]
    return out.rows(("KEY", "TITLE", "PLATFORMS", "INSTALLED IN", ">PLAYED"), cells)


def _short(folder: str | None) -> str:
    """A folder as people write it, `~` for their home; `-` for none."""
    home = os.environ.get("HOME", "")
    if folder and home and (folder == home or folder.startswith(f"{home}/")):
        return f"~{folder[len(home) :]}"
    return folder or "-"

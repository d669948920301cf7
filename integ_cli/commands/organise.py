"""favourite, hide, tag, note, merge, split: the player's own order, the same on every device."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.output import Output, read_stdin
from integ_cli.traits import command
from integ_server.contract.errors import UsageError

if TYPE_CHECKING:
    from integ_runtime.cache.records import TitleRow
    from integ_runtime.runtime import Runtime
    from integ_runtime.settings import RuntimeSettings

_LONGEST_INPUT = 1 << 20
Games = Annotated[list[str], Argument(help="Keys, title ids, or parts of titles", metavar="GAME…")]
Game = Annotated[str, Argument(help="A key, a title id, or a part of a title", metavar="GAME")]
Off = Annotated[bool, Option("--off", help="Take it back")]


@command("integ favourite disco-elysium", "integ favourite disco-elysium gog:1207658924 --off")
def favourite(games: Games, off: Off = False) -> None:
    """Mark games as favourites, on every device."""
    _decide("favourite", games, {"favourite": not off}, "are no favourites any more" if off else "are favourites")


@command("integ hide steam:620", "integ hide steam:620 --off")
def hide(games: Games, off: Off = False) -> None:
    """Keep games out of the list; integ list --all shows them."""
    _decide("hide", games, {"hidden": not off}, "are shown again" if off else "are hidden")


@command("integ tag disco-elysium detective slow", "integ tag disco-elysium slow --off")
def tag(
    game: Game,
    tags: Annotated[list[str], Argument(help="Words of your own", metavar="TAG…")],
    off: Off = False,
) -> None:
    """Put tags on a game, for integ list --filter 'tag:…'."""
    _decide("tag", [game], {"remove_tags" if off else "add_tags": tags}, f"{'lost' if off else 'got'} the tags {', '.join(tags)}")


@command(
    'integ note disco-elysium "the kitchen key is in the jacket"',
    "integ note disco-elysium --edit",
    "integ note disco-elysium",
    "xclip -o | integ note disco-elysium -",
)
def note(
    game: Game,
    text: Annotated[
        str | None,
        Argument(help="What to remember, instead of the note there is; - takes it from stdin", metavar="TEXT", show_default=False),
    ] = None,
    edit: Annotated[bool, Option("--edit", help="Write it in $VISUAL or $EDITOR")] = False,
    off: Off = False,
) -> None:
    """Write a note to a game, or print the one there is."""
    if (text is not None) + edit + off > 1:
        raise UsageError("a text, --edit or --off: one of them", hint='integ note GAME "TEXT"')
    out = output()
    settings = session.light_settings(out)
    title = _title(out, settings, game)
    if text is None and not edit and not off:
        known = _noted(settings, title)
        out.result("note", {"items": [_item(title, notes=known)], "queued": False}, known)
        if not known:
            out.note(f"{title.title} has no note.")
        return
    if edit:
        from integ_cli.editor import edited

        before = _noted(settings, title)
        wanted = edited(out, before, "integ-note")
        if wanted == before:
            out.result("note", {"items": [_item(title, notes=before)], "queued": False}, "Nothing is changed.")
            return
    else:
        wanted = (read_stdin(_LONGEST_INPUT) if text == "-" else text or "").strip()
        if not wanted and not off:
            raise UsageError("there is nothing to note: --off takes a note away", hint='integ note GAME "TEXT"')

    async def work(runtime: Runtime) -> bool:
        return await runtime.organising.decide([title], {"notes": wanted})

    sent = session.run(out, work, settings)
    told = f"{title.title} {'has your note' if wanted else 'lost its note'}."
    out.result("note", {"items": [_item(title, notes=wanted)], "queued": not sent}, told)
    _tell_if_waiting(out, sent)


@command("integ merge steam:632470 gog:1771589310")
def merge(
    games: Annotated[list[str], Argument(help="The games that are one; the first keeps its name", metavar="GAME GAME…")],
) -> None:
    """Make one title of games that are the same; integ split undoes it."""
    if len(games) < 2:
        raise UsageError("name two games that are one", hint="integ merge GAME GAME")
    out = output()

    async def work(runtime: Runtime, titles: list[TitleRow]) -> bool:
        return await runtime.organising.merge(titles)

    _run(out, "merge", games, work, "are one title")


@command("integ split gog:1771589310", "integ split gog:1771589310 --off")
def split(game: Game, off: Off = False) -> None:
    """Take a release out of its title, or a merged title apart; --off puts it back."""
    out = output()

    async def work(runtime: Runtime, titles: list[TitleRow]) -> bool:
        by_key = ":" in game and any(release.key == game for release in titles[0].releases)
        return await runtime.organising.split(game if by_key else titles[0].title_id, undo=off)

    _run(out, "split", [game], work, "is put back" if off else "is a title of its own")


def _decide(schema: str, games: list[str], wishes: dict[str, Any], told: str) -> None:
    async def work(runtime: Runtime, titles: list[TitleRow]) -> bool:
        return await runtime.organising.decide(titles, wishes)

    _run(output(), schema, games, work, told)


def _run(out: Output, schema: str, games: list[str], work: Callable[[Runtime, list[TitleRow]], Awaitable[bool]], told: str) -> None:
    settings = session.light_settings(out)
    titles = [_title(out, settings, game) for game in games]
    sent = session.run(out, lambda runtime: work(runtime, titles), settings)
    names = [_called(title, game) for title, game in zip(titles, games, strict=True)]
    told = told.replace("are no favourites", "is no favourite").replace("are favourites", "is a favourite") if len(names) == 1 else told
    told = told.replace("are ", "is ", 1) if len(names) == 1 else told
    out.result(schema, {"items": [_item(title) for title in titles], "queued": not sent}, f"{', '.join(names)} {told}.")
    _tell_if_waiting(out, sent)


def _called(title: TitleRow, game: str) -> str:
    """What the player named: one release by its key, else a title."""
    return next((release.title for release in title.releases if release.key == game), title.title)


def _title(out: Output, settings: RuntimeSettings, game: str) -> TitleRow:
    from integ_runtime.cache import rows

    return session.one_of_several(out, lambda text: rows.get_title(settings.paths.cache_db, text), game)


def _noted(settings: RuntimeSettings, title: TitleRow) -> str:
    from integ_runtime.cache import rows

    with session.cache_errors():
        return str(rows.details(settings.paths.cache_db, title.title_id)["notes"])


def _item(title: TitleRow, **more: str) -> dict[str, Any]:
    return {"title_id": title.title_id, "title": title.title, **more}


def _tell_if_waiting(out: Output, sent: bool) -> None:
    if not sent:
        out.note("The backend can't be reached: it hears of it with the next sync.")

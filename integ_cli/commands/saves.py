"""saves: where a game keeps what its player did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from integ_cli import session
from integ_cli.context import output
from integ_cli.layout import size
from integ_cli.traits import command

if TYPE_CHECKING:
    from integ_runtime.saves.locate import SavePlace, Whereabouts

_KNOWN_BY = {"steam": "by its Steam id", "gog": "by its GOG id", "title": "by its title", "own": "by a file of its own"}


@command("integ saves where disco-elysium", "integ saves where gog:1207658924 --manifest manifest.yaml --json")
def where(
    game: Annotated[str, Argument(help="A key, a title id, or a name", metavar="GAME")],
    manifest: Annotated[
        Path | None, Option(help="A ludusavi manifest; the one set as save_manifest otherwise", metavar="FILE", show_default=False)
    ] = None,
) -> None:
    """List where an installed game keeps its saves and settings on this machine, what of that is there, and how large."""
    out = output()
    settings = session.light_settings(out)
    release = session.get_release(out, settings, game)
    found: Whereabouts = session.run(out, lambda runtime: runtime.saves.where(release.key, release.title, manifest=manifest), settings)
    for note in found.notes:
        out.warn(note)
    if not found.whole:
        out.warn("there was more to look at than any game's saves are: sizes may be too small, and places missing")
    head = f"{found.title} ({found.key}), known {_KNOWN_BY[found.known_by]}: {size(found.size_bytes)} in all"
    told = [head + (f"; {' and '.join(found.cloud)} keeps its saves too" if found.cloud else "")]
    rows = [
        (each.path, _kind(each), size(each.size_bytes) if each.exists else "-", ", ".join(each.tags), each.rule) for each in found.places
    ]
    out.result("saves-where", found.as_dict(), *told, out.rows(("!PLACE", "WHAT", ">SIZE", "?TAGS", "?RULE"), rows))
    if not found.places:
        out.note("The manifest names no place of it that there could be on this machine.")


def _kind(place: SavePlace) -> str:
    if place.kind == "folder":
        return f"{place.files} file{'' if place.files == 1 else 's'}"
    return {"file": "a file", "registry": "registry"}.get(place.kind or "", "not there")

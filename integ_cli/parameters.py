"""Arguments and options that several commands take, each with the one sentence that explains it."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

GameArgument = Annotated[str, Argument(help="A key, a title id, or a name", metavar="GAME")]
SteamOption = Annotated[
    str | None,
    Option("--steam", help="Which Steam of several: native, flatpak, snap, or its folder", metavar="STEAM", show_default=False),
]

"""`integ launch` in its plain form, without a parser: the game's supervisor is begun first, and starts while the game is looked up."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from integ_runtime.errors import LaunchError
from integ_runtime.launch.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integ_cli.launch_words import LaunchWords
    from integ_cli.output import Output


def launch(argv: Sequence[str], asked: LaunchWords) -> int:
    """What `integ_cli.app.run(argv)` does, of which *asked* is what it reads."""
    watcher = None
    if not asked.dry_run and not asked.game.startswith("steam:"):
        with suppress(LaunchError):  # told by whoever needs one
            watcher = Watcher(attach=not asked.as_json)
    try:
        from integ_cli.ending import ended

        return ended(argv, lambda out: _launch(out, asked, watcher))
    finally:
        if watcher is not None:
            watcher.dismiss()


def _launch(out: Output, asked: LaunchWords, watcher: Watcher | None) -> int:
    from integ_cli import launching

    out.as_json, out.no_input, out.quiet, out.verbose = asked.as_json, asked.no_input, asked.quiet, asked.verbose
    return launching.launch(out, asked, watcher)

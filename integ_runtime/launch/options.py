"""What a player adds to a game's command line for good: arguments, as the backend keeps them."""

from __future__ import annotations

import shlex

_COMMAND = "%command%"


def arguments_of(options: str | None) -> tuple[list[str], tuple[str, ...]]:
    """
    *options* as words, never given to a shell, and what of them is not done, one sentence each.

    Steam's way to start another program first, `PROGRAM %command%`, is left out: what comes from a backend may add to a game, and
    start nothing else.
    """
    if not options:
        return [], ()
    try:
        words = shlex.split(options)
    except ValueError as error:
        return [], (f"its launch options are left out: they can't be read ({str(error).lower()})",)
    if any("\0" in word for word in words):
        return [], ("its launch options are left out: no program takes them",)
    if _COMMAND not in words:
        return words, ()
    at = words.index(_COMMAND)
    notes = (f"{shlex.join(words[:at])} before {_COMMAND} is left out: --wrapper and --env do that",) if at else ()
    return words[at + 1 :], notes

"""The plain form of `integ launch`, read without a parser; whatever is not plain is left to the one that knows everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_VALUES = frozenset({"--proton", "--wrapper", "--env", "--task"})
_FLAGS = {
    "--dry-run": "--dry-run",
    "--json": "--json",
    "--no-input": "--no-input",
    "--quiet": "--quiet",
    "-q": "--quiet",
    "--verbose": "--verbose",
    "-v": "--verbose",
}


class LaunchWords(NamedTuple):
    """What stands in a command line that begins with `launch`."""

    game: str
    arguments: Sequence[str] = ()
    proton: str | None = None
    wrappers: Sequence[str] = ()
    env: Sequence[str] = ()
    """Each `K=V`, not looked at yet."""
    task: str = ""
    dry_run: bool = False
    as_json: bool = False
    no_input: bool = False
    quiet: bool = False
    verbose: int = 0


def read_words(argv: Sequence[str]) -> LaunchWords | None:
    """
    *argv*, which begins with `launch`, as Typer would read it; None when it would be an error, asks for help, or is only written oddly.

    Plain is: one GAME, options that are spelled out, values that are no option's name; words for the game stand behind `--`.
    """
    games: list[str] = []
    arguments: list[str] = []
    given: dict[str, list[str]] = {name: [] for name in _VALUES}
    flags: list[str] = []
    words = iter(argv[1:])
    for word in words:
        name, sign, value = word.partition("=")
        if word == "--":
            arguments = list(words)
        elif word in _FLAGS:
            flags.append(_FLAGS[word])
        elif name in _VALUES:
            value = value if sign else next(words, "")
            if not value or value.startswith("-"):
                return None
            given[name].append(value)
        elif not word or word.startswith("-"):
            return None
        else:
            games.append(word)
    if len(games) != 1:
        return None
    return LaunchWords(
        game=games[0],
        arguments=arguments,
        proton=given["--proton"][-1] if given["--proton"] else None,
        wrappers=given["--wrapper"],
        env=given["--env"],
        task=given["--task"][-1] if given["--task"] else "",
        dry_run="--dry-run" in flags,
        as_json="--json" in flags,
        no_input="--no-input" in flags,
        quiet="--quiet" in flags,
        verbose=flags.count("--verbose"),
    )

"""What a player adds to a game's start for good: arguments, as the backend keeps them, and everything that is this machine's alone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from integ_runtime.errors import LaunchError
from integ_runtime.launch.environment import is_reserved, shown
from integ_runtime.launch.wrappers import chain, split_wrappers
from integ_server.contract.errors import UsageError

FILE = "options.json"
SCHEMA = "integ/options@1"
_COMMAND = "%command%"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


class GameOptions(NamedTuple):
    """How one game is started on this machine, in `options.json` in its folder; its own user alone may read it."""

    wrappers: tuple[str, ...] = ()
    env: Mapping[str, str] = MappingProxyType({})
    arguments: str = ""
    """As Steam takes them: words for the game, or `VAR=value wrapper %command% words`. Counts in place of the backend's launch options."""
    cwd: str = ""
    before: str = ""
    """A command to run first; the game is not started when it fails."""
    after: str = ""
    """A command to run once the game has really ended, however it did."""

    def as_dict(self) -> dict[str, Any]:
        """As `options` prints them: no secret is shown."""
        return {**self._asdict(), "wrappers": list(self.wrappers), "env": shown(self.env)}

    def __repr__(self) -> str:
        return f"GameOptions({self.as_dict()})"


def read_options(game_dir: Path, key: str) -> GameOptions:
    """
    The options of the game whose folder is *game_dir*; none are as good as empty ones.

    Raises:
        LaunchError: There are some, but they can't be read.
    """
    try:
        body = json.loads((game_dir / FILE).read_text("utf-8"))
        return GameOptions(
            wrappers=tuple(_text(each) for each in body["wrappers"]),
            env={_text(name): _text(value) for name, value in body["env"].items()},
            **{name: _text(body[name]) for name in ("arguments", "cwd", "before", "after")},
        )
    except (FileNotFoundError, NotADirectoryError):
        return GameOptions()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise LaunchError(f"{game_dir / FILE} can't be read", hint=f"integ options {key} --off") from error


def write_options(game_dir: Path, options: GameOptions) -> None:
    """
    Keep *options*; empty ones are forgotten.

    Raises:
        StorageError: The disk is full or fails.
    """
    from integ_runtime.config_file import replace_file
    from integ_runtime.downloads.fetch import storage_errors

    file = game_dir / FILE
    with storage_errors(file):
        if options == GameOptions():
            file.unlink(missing_ok=True)
            return
        game_dir.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps({"schema": SCHEMA, **options._asdict(), "env": dict(options.env)}, indent=1))


def changed(kept: GameOptions, wanted: Mapping[str, Any]) -> GameOptions:
    """
    *kept* with *wanted* in it, once all of it has been read as a launch would read it.

    Raises:
        LaunchError: Something in it can't be read.
        UsageError: A variable in it is Integ's own.
    """
    new = kept._replace(**wanted)
    for text in new.wrappers:
        split_wrappers(text)
    env, _, _ = steam_words(new.arguments)
    for text in (new.before, new.after):
        split_words(text)
    for name in (*new.env, *env):
        if is_reserved(name):
            raise UsageError(f"{name} is set by Integ and can't be changed", hint="--env DXVK_HUD=fps")
    return new


def merged_wrappers(kept: Sequence[str], more: Sequence[str]) -> list[str]:
    """*kept*, but for those that *more* names anew, and *more*."""
    named = {words[0] for text in more for words in split_wrappers(text)}
    return [text for text in kept if not named & {words[0] for words in split_wrappers(text)}] + list(more)


def split_words(text: str) -> list[str]:
    """
    *text* as words, never given to a shell.

    Raises:
        LaunchError: Its quotes do not match.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise LaunchError(f"{text!r} can't be read: {error}", hint="quote it as a shell would need it") from error


def steam_words(text: str) -> tuple[dict[str, str], list[str], list[str]]:
    """
    *text* as Steam's launch options: variables, wrappers, and words for the game. It is never given to a shell.

    Raises:
        LaunchError: It can't be read.
    """
    words = split_words(text)
    if _COMMAND not in words:
        return {}, [], words
    at = words.index(_COMMAND)
    front = words[:at]
    env: dict[str, str] = {}
    while front and _VARIABLE.match(front[0]):
        name, _, value = front.pop(0).partition("=")
        env[name] = value
    return env, [shlex.join(each) for each in chain(front)], words[at + 1 :]


def arguments_of(options: str | None, key: str) -> tuple[list[str], tuple[str, ...]]:
    """
    *options*, which come from a backend, as words, never given to a shell, and what of them is not done, one sentence each.

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
    notes = (
        (f"{shlex.join(words[:at])} before {_COMMAND} is left out: integ options {key} --args does that, on this machine",) if at else ()
    )
    return words[at + 1 :], notes


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(value)
    return value

"""How games are started on this machine, as a part of a declared state: everything of `integ options` but secrets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from integ_runtime.content.installed import is_key
from integ_runtime.errors import LaunchError
from integ_runtime.launch.environment import is_secret
from integ_runtime.launch.options import FILE, GameOptions, changed, steam_words

if TYPE_CHECKING:
    from integ_runtime.runtime import Runtime


def exported(runtime: Runtime) -> dict[str, dict[str, Any]]:
    """The options of every game that has some, by key; what is empty or secret is left out, and so is a file that can't be read."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(runtime.paths.games_dir.glob(f"*/{FILE}")):
        key = file.parent.name.replace("-", ":", 1)
        if is_key(key) and not key.startswith("steam:"):
            with suppress(LaunchError):
                kept = _public(runtime.launcher.options(key))
                told = {name: list(value) if isinstance(value, tuple) else value for name, value in kept._asdict().items() if value}
                found |= {key: told} if told else {}
    return found


def merged(kept: GameOptions, declared: Mapping[str, Any]) -> GameOptions:
    """
    *kept* with what is *declared* in its place; its secret variables stay, since no declared state can name them.

    Raises:
        LaunchError, UsageError: See `launch.options.changed`.
    """
    wanted = dict(declared)
    if "wrappers" in wanted:
        wanted["wrappers"] = tuple(wanted["wrappers"])
    if "env" in wanted:
        wanted["env"] = {**{name: value for name, value in kept.env.items() if is_secret(name)}, **wanted["env"]}
    return changed(kept, wanted)


def told(value: Any) -> Any:
    """The *value* of an option for the list of changes: no secret is shown."""
    if isinstance(value, Mapping):
        return [f"{name}={each}" for name, each in sorted(value.items()) if not is_secret(name)]
    return list(value) if isinstance(value, tuple) else value


def _public(options: GameOptions) -> GameOptions:
    """*options* without secret variables; arguments with one in them are left out as a whole."""
    public = options._replace(env={name: value for name, value in options.env.items() if not is_secret(name)})
    try:
        has_secret = any(is_secret(name) for name in steam_words(options.arguments)[0])
    except LaunchError:  # edited by hand into something that no launch would take either
        has_secret = True
    return public._replace(arguments="") if has_secret else public

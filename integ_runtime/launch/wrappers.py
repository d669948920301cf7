"""Programs that a game is started through: taken apart, sorted into the order that works, left out where they would do harm."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from integ_runtime.errors import LaunchError, NotExecutableError, ProgramMissingError
from integ_runtime.launch.environment import in_gaming_mode

_ORDER = {"systemd-run": 0, "gamescope": 1, "gamemoderun": 2, "mangohud": 3}
_ALONE = frozenset({"gamemoderun", "mangohud"})
"""Their first plain word is the next program already. A game does without them where they are not installed."""
_UP_TO_A_SIGN = frozenset({"gamescope", "systemd-run"})
"""Their own words end at `--`. gamescope's are handed on as they are; before 3.12 it wrote FSR as `-U`, not `-F fsr`."""


def split_wrappers(text: str) -> list[list[str]]:
    """
    A wrapper as words, or several in a row (`gamescope -f -- mangohud`) as one list each; the player's text is never given to a shell.

    Raises:
        LaunchError: Its quotes do not match, or it is empty.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LaunchError(f"the wrapper {text!r} can't be read: {error}", hint="quote it as a shell would need it") from error
    if not words:
        raise LaunchError("a wrapper is empty", hint="--wrapper mangohud")
    return chain(words)


def chain(words: Sequence[str]) -> list[list[str]]:
    """Words that stand in front of a program, one list for each program in them."""
    found: list[list[str]] = []
    for word in words:
        before = found[-1] if found else []
        inside = bool(before) and Path(before[0]).name in _UP_TO_A_SIGN and before[-1] != "--"
        starts = Path(word).name in _ORDER and not inside
        ended = bool(before) and (
            (Path(before[0]).name in _ALONE and not word.startswith("-")) or (Path(before[0]).name in _UP_TO_A_SIGN and before[-1] == "--")
        )
        if not before or starts or ended:
            found.append([word])
        else:
            before.append(word)
    return found


def sorted_wrappers(
    wrappers: Sequence[str], programs: Mapping[str, Path | None], environ: Mapping[str, str], *, session_bus: bool = True
) -> tuple[list[str], list[str]]:
    """
    What stands in front of a game, and what was left out: the compositor, the daemon, the overlay, then the player's own.

    Raises:
        NotExecutableError, ProgramMissingError: A wrapper that the game may not do without can't be had.
    """
    notes: list[str] = []
    found: list[tuple[int, list[str]]] = []
    in_gamescope = in_gaming_mode(environ)
    for words in (each for text in wrappers for each in split_wrappers(text)):
        name = Path(words[0]).name
        if in_gamescope and name in {"gamescope", "mangohud"}:
            notes.append(f"{name} is left out: this session is gamescope already")
            continue
        if name == "gamemoderun" and not session_bus:
            notes.append("gamemoderun is left out: there is no session bus, and without one its library ends the game")
            continue
        program = programs.get(words[0])
        if program is None:
            if name in _ALONE:
                notes.append(f"{name} is left out: it is not installed")
                continue
            if "/" in words[0] and Path(words[0]).exists():
                raise NotExecutableError(f"the wrapper {words[0]} can't be executed", hint=f"chmod +x {shlex.quote(words[0])}")
            raise ProgramMissingError(f"the wrapper {words[0]} is not installed", hint="install it, or leave out --wrapper")
        if name in _UP_TO_A_SIGN and words[-1] != "--":
            words = [*words, "--"]
        found.append((_ORDER.get(name, len(_ORDER) + 1), [str(program), *words[1:]]))
    found.sort(key=lambda each: each[0])
    return [word for _, words in _with_mangoapp(found) for word in words], notes


def _with_mangoapp(found: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Inside gamescope the overlay is gamescope's own to draw; the library in the game would draw it a second time."""
    ranks = {rank for rank, _ in found}
    if not {_ORDER["gamescope"], _ORDER["mangohud"]} <= ranks:
        return found
    kept = [(rank, words) for rank, words in found if rank != _ORDER["mangohud"]]
    at = next(at for at, (rank, _) in enumerate(kept) if rank == _ORDER["gamescope"])
    words = kept[at][1]
    if "--mangoapp" not in words:
        kept[at] = (_ORDER["gamescope"], [*words[:-1], "--mangoapp", "--"])
    return kept

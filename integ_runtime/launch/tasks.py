"""What else can be started of a game, by GOG's own list; and old games whose emulator this machine has itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from integ_runtime.content.installed import InstalledGame
from integ_runtime.errors import LaunchError
from integ_server.contract.errors import AmbiguousError, IntegrityError, NotFoundError

_EMULATORS = {"dosbox.exe": ("dosbox-staging", "dosbox"), "scummvm.exe": ("scummvm",)}
"""Programs that read the files written for GOG's Windows copy of theirs, the best first."""


def with_task(game: InstalledGame, name: str) -> InstalledGame:
    """
    *game* with what GOG's list calls *name* as its program; upper and lower case are the same, and the beginning is enough where it is one.

    Raises:
        NotFoundError: Nothing in the list is called that; the message says what there is.
        AmbiguousError: Several begin like that.
    """
    from integ_runtime.content.imports import find_tasks

    tasks = find_tasks(game.path, game.key, game.platform)
    exact = [task for task in tasks if task.name.casefold() == name.casefold()]
    found = exact or [task for task in tasks if task.name.casefold().startswith(name.casefold())]
    if len(found) > 1:
        told = ", ".join(task.name for task in found)
        raise AmbiguousError(f"several tasks of {game.title} are called {name!r}: {told}", hint=f"integ launch {game.key} --task NAME")
    if not found:
        there = ", ".join(task.name for task in tasks) or "none"
        raise NotFoundError(f"{name!r} is no task of {game.title}; there are: {there}", hint=f"integ launch {game.key} --task NAME")
    start = found[0].start
    return game._replace(platform=start.platform, executable=start.executable, arguments=start.arguments, working_dir=start.working_dir)


def with_own_emulator(game: InstalledGame, which: Callable[[str], Path | None]) -> InstalledGame:
    """
    *game* started by this machine's DOSBox or ScummVM in place of the Windows copy that it brings; any other game as it is.

    Its arguments are the same, with paths as they are written here.

    Raises:
        LaunchError: One of them names a file outside the game's folder.
    """
    if game.platform != "windows" or game.executable is None:
        return game
    program = next((found for name in _EMULATORS.get(game.executable.name.lower(), ()) if (found := which(name)) is not None), None)
    if program is None:
        return game
    cwd = game.working_dir or game.executable.parent
    words = tuple(_as_here(word, cwd, game) for word in game.arguments)
    return game._replace(platform="linux", executable=program, arguments=words, working_dir=cwd)


def _as_here(word: str, cwd: Path, game: InstalledGame) -> str:
    """`..\\dosbox.conf` as the file that Windows would find by it; a word that is no path stays as it is."""
    from integ_runtime.content.imports import found_by_case

    option, sign, path = word.partition("=") if word.startswith("--") else ("", "", word)
    plain = path.replace("\\", "/")
    if "/" not in plain or plain.startswith("-"):
        return word
    wanted = Path(os.path.normpath(cwd / plain.lstrip("/") if plain.startswith("/") else cwd / plain))
    if not wanted.is_relative_to(game.path):
        raise LaunchError(f"{game.title} asks for a file outside its folder: {path}", hint=f"integ launch {game.key} --proton latest")
    if wanted == game.path:
        return f"{option}{sign}{wanted}"
    try:
        found = found_by_case(game.path, str(wanted.relative_to(game.path)))
    except IntegrityError:
        found = None
    if found is None:
        return word  # a command for DOS, such as `-c "mount c ..\\data"`
    if not found.resolve().is_relative_to(game.path.resolve()):
        raise LaunchError(f"{game.title} asks for a file outside its folder: {path}", hint=f"integ launch {game.key} --proton latest")
    return f"{option}{sign}{found}"

"""What starts a game that lies on the disk: GOG's own description of it, a Linux start script, or the file that the player named."""

from __future__ import annotations

import json
import os
import re
import shlex
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from integ_runtime.content.names import windows_parts
from integ_server.contract.errors import IntegrityError, NotFoundError, UsageError

LOCAL = "local"
"""The provider of programs that no store knows."""
_WINDOWS_ENDINGS = {".exe", ".bat", ".cmd", ".msi"}
_MAX_INFO_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Start:
    platform: Literal["linux", "windows"]
    executable: Path
    arguments: tuple[str, ...] = ()
    working_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One entry of GOG's list: the game, its settings, its editor."""

    name: str
    start: Start


@dataclass(frozen=True, slots=True)
class Description:
    """What a game's own files say of it; everything may be empty."""

    title: str = ""
    build: str = ""
    version: str = ""
    language: str = ""


def find_start(folder: Path, key: str) -> Start | None:
    """What starts the game in *folder*; None when nothing there says."""
    script = folder / "start.sh"
    if script.is_file() and not script.is_symlink():
        return Start("linux", script, working_dir=folder)
    return _primary_task(folder, _infos(folder, key))


def find_tasks(folder: Path, key: str, platform: str) -> list[Task]:
    """
    All that GOG's list says can be started of the game in *folder*, in its order; hidden tasks and what leads out of it are left out.

    `compatibilityFlags` are not read: they switch on parts of Windows that Wine does not have.
    """
    base = folder / "game" if platform == "linux" else folder
    found: dict[str, Task] = {}
    for info in _infos(base, key):
        for task in _file_tasks(info):
            start = None if task.get("isHidden") else _start_of(base, task)
            if start is not None and platform == "linux":
                start = _as_native(start)
            if start is not None:
                name = _text(task, "name") or start.executable.stem
                found.setdefault(name.casefold(), Task(name, start))
    return list(found.values())


def describe(folder: Path, key: str) -> Description:
    """Source: `goggame-ID.info` on Windows, the lines of `gameinfo` on Linux."""
    infos = _infos(folder, key) or _infos(folder / "game", key)
    info = infos[0] if infos else {}
    lines = _gameinfo(folder / "gameinfo")
    return Description(
        title=_text(info, "name") or lines[0],
        build=_text(info, "buildId") or lines[6],
        version=lines[1],
        language=_text(info, "language"),
    )


def named_start(folder: Path, exe: Path) -> Start:
    """
    The start of a game whose program the player named, relative to *folder* or not.

    Raises:
        UsageError: It is not in *folder*, or no program.
        NotFoundError: It is not there.
    """
    program = Path(os.path.normpath(folder / exe))
    if not program.is_relative_to(folder) or program == folder:
        raise UsageError(f"{exe} is not inside {folder}", hint="--exe names a file inside --path")
    if not program.exists():
        raise NotFoundError(f"{program} is not there", hint="--exe names a file inside --path")
    if not program.is_file():
        raise UsageError(f"{program} is no file", hint="--exe names the program that starts the game")
    if program.suffix.lower() in _WINDOWS_ENDINGS:
        return Start("windows", program)
    with program.open("rb") as source:
        head = source.read(4)
    if not head.startswith((b"\x7fELF", b"#!")):
        if head.startswith(b"MZ"):
            return Start("windows", program)
        raise UsageError(f"{program} is no program that Integ can start", hint="a .exe, .bat or .msi, a Linux program, or a #! script")
    if not os.access(program, os.X_OK):
        raise UsageError(f"{program} is not executable", hint=f"chmod +x {shlex.quote(str(program))}")
    return Start("linux", program)


def local_key(name: str) -> str:
    """
    The key of a program that no store knows, made from what the player calls it.

    Raises:
        UsageError: Nothing of *name* can be part of a key.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:100].strip("-")
    if not slug:
        raise UsageError(f"{name!r} has no letter or digit to make a key of", hint="integ import local:my-game --path DIR --exe FILE")
    return f"{LOCAL}:{slug}"


def found_by_case(folder: Path, path: str) -> Path | None:
    """
    The file or folder below *folder* that Windows would find by *path*; None when there is none.

    Raises:
        IntegrityError: *path* leads out of *folder*.
    """
    at = folder
    for name in windows_parts(path):
        exact = at / name
        if not exact.exists():
            try:
                alike = [each for each in sorted(at.iterdir()) if each.name.lower() == name.lower()]
            except OSError:
                return None
            if not alike:
                return None
            exact = alike[0]
        at = exact
    return at


def split_arguments(text: str) -> tuple[str, ...]:
    """One string as Windows programs take it apart: blanks part words, quotes hold them together, `\\"` is a quote."""
    words: list[str] = []
    word: list[str] = []
    quoted = begun = False
    letters = iter(range(len(text)))
    for at in letters:
        letter = text[at]
        if letter == "\\" and text[at + 1 : at + 2] == '"':
            word.append('"')
            begun = True
            next(letters)
        elif letter == '"':
            quoted, begun = not quoted, True
        elif letter in " \t" and not quoted:
            if begun:
                words.append("".join(word))
            word, begun = [], False
        else:
            word.append(letter)
            begun = True
    return (*words, "".join(word)) if begun else tuple(words)


def _primary_task(folder: Path, infos: list[dict[str, Any]]) -> Start | None:
    for info in infos:
        tasks = _file_tasks(info)
        first = [each for each in tasks if each.get("isPrimary") is True]
        for task in first + [each for each in tasks if not each.get("isHidden") and each.get("category", "game") in {"game", "launcher"}]:
            start = _start_of(folder, task)
            if start is not None:
                return start
    return None


def _file_tasks(info: dict[str, Any]) -> list[dict[str, Any]]:
    told = info.get("playTasks")
    listed = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    return [each for each in listed if each.get("type", "FileTask") == "FileTask"]


def _as_native(start: Start) -> Start | None:
    """A task of a Linux game, when it is something that Linux can start."""
    if start.executable.suffix.lower() in _WINDOWS_ENDINGS or not os.access(start.executable, os.X_OK):
        return None
    return Start("linux", start.executable, start.arguments, start.working_dir)


def _start_of(folder: Path, task: dict[str, Any]) -> Start | None:
    try:
        program = found_by_case(folder, _text(task, "path"))
        working = found_by_case(folder, _text(task, "workingDir")) if _text(task, "workingDir") else None
    except IntegrityError:
        return None  # leads out of the folder: not ours to start
    if program is None or not program.is_file() or not program.resolve().is_relative_to(folder.resolve()):
        return None
    return Start("windows", program, split_arguments(_text(task, "arguments")), working if working and working.is_dir() else None)


def _infos(folder: Path, key: str) -> list[dict[str, Any]]:
    """The readable `goggame-*.info` of *folder*, that of the game itself first; a damaged one is as good as none."""
    own = key.partition(":")[2]
    found: list[tuple[int, str, dict[str, Any]]] = []
    try:
        files = sorted(each for each in folder.iterdir() if re.fullmatch(r"goggame-.{1,64}\.info", each.name, re.IGNORECASE))
    except OSError:
        return []
    for file in files[:500]:
        try:
            if file.stat().st_size > _MAX_INFO_BYTES:
                continue
            info = json.loads(file.read_text("utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(info, dict):
            game, base = _text(info, "gameId"), _text(info, "rootGameId")
            found.append((0 if game == own else 1 if game == base else 2, file.name, info))
    return [info for _, _, info in sorted(found, key=lambda each: each[:2])]


def _gameinfo(file: Path) -> list[str]:
    try:
        with file.open("rb") as source:
            lines = source.read(16384).decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    return [each.strip() for each in (lines + [""] * 7)[:7]]


def _text(info: dict[str, Any], name: str) -> str:
    value = info.get(name)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) and not isinstance(value, bool) else ""

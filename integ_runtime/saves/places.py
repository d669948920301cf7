"""
Where on this machine a manifest's path leads. Whatever it says, nothing outside the game's own ground is looked at.

Placeholders become folders; what stands below them is taken name by name, so that no link leads away unseen. In a Wine prefix upper and
lower case are the same, as they are to the game.

Source: ludusavi, src/path.rs and src/scan.rs, for what each placeholder means.
"""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from integ_runtime.saves.manifest import Rule

MOST_LOOKED_AT = 200_000
"""Names that are looked at for one game; more than any game's saves."""
_DEEPEST = 48
_LONGEST = 4096
_MOST_SPELLINGS = 64
_PLACEHOLDER = re.compile(r"<([A-Za-z]+)>")
_DRIVE_C = re.compile(r"[Cc]:")
_IN_A_USERS_FOLDER: Mapping[str, tuple[str, ...]] = {
    "home": ("",),
    "winAppData": ("AppData/Roaming", "Application Data"),
    "winLocalAppData": ("AppData/Local", "Local Settings/Application Data"),
    "winLocalAppDataLow": ("AppData/LocalLow",),
    "winDocuments": ("Documents", "My Documents"),
}
"""The second names are Windows XP's; Wine makes links of them."""
_ON_DRIVE_C: Mapping[str, str] = {"winPublic": "users/Public", "winProgramData": "ProgramData", "winDir": "windows"}
_NOBODYS = ("", "users", *_ON_DRIVE_C.values(), "Program Files", "Program Files (x86)", "windows/system32")


@dataclass(frozen=True, slots=True)
class Ground:
    """What belongs to a game on this machine. Folders are absolute, and need not be there."""

    store: str
    game_id: str
    home: Path
    user: str
    """Of this machine."""
    bases: tuple[Path, ...] = ()
    """The game's own folders."""
    roots: tuple[Path, ...] = ()
    """Of the store: Steam's own folder and its libraries."""
    xdg_data: Path | None = None
    xdg_config: Path | None = None
    private: tuple[Path, ...] = ()
    """Folders in the home of which nothing is a game's."""
    pfx: Path | None = None
    """The folder that holds `drive_c`; None for a game that runs without Wine."""

    @property
    def os(self) -> str:
        """What the game takes this machine for."""
        return "linux" if self.pfx is None else "windows"

    def too_much(self, path: Path) -> bool:
        """Whether *path*, with no link in it, holds more than one game's files: a home, a library, a prefix, or what is above one."""
        others = [self.home, *self.roots, *(root / "steamapps" / "common" for root in self.roots), *self.users_folders]
        drive = self.drive
        if any(_real(each).is_relative_to(path) for each in (*others, *([drive] if drive else []))):
            return True
        if drive is None or not path.is_relative_to(drive):
            return False
        inside = [part.casefold() for part in path.relative_to(drive).parts]
        user = inside[1:2] or [""]
        wide = [each.casefold().split("/") for each in _NOBODYS if each] + [["users", *user]]
        wide += [["users", *user, *name.casefold().split("/")] for names in _IN_A_USERS_FOLDER.values() for name in names if name]
        return not inside or any(each[: len(inside)] == inside for each in wide)

    @property
    def drive(self) -> Path | None:
        """The real `C:`; None without Wine, and where it is a link to somewhere else."""
        if self.pfx is None:
            return None
        drive = _real(self.pfx / "drive_c")
        return drive if drive.is_relative_to(_real(self.pfx)) else None

    @property
    def users_folders(self) -> list[Path]:
        return [each for each in (self.xdg_data, self.xdg_config) if each is not None]

    def holds(self, path: Path) -> bool:
        """Whether *path*, with no link in it, is where the game may keep things, or leads to there."""
        if self.pfx is not None:
            mine = [*self.bases, *([self.drive] if self.drive else [])]
        elif any(path.is_relative_to(_real(each)) for each in self.private):
            return False
        else:
            mine = [*self.bases, self.home, *self.users_folders, *self.roots]
        return any(path.is_relative_to(_real(each)) for each in mine)

    def owns(self, path: Path) -> bool:
        """Whether *path*, with no link in it, may be the game's own."""
        return self.holds(path) and not self.too_much(path)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A folder, and the names below it that are looked for; those may hold wildcards, in which literal ones are escaped."""

    root: Path
    names: tuple[str, ...]
    any_case: bool

    @property
    def shown(self) -> str:
        """As a path for people."""
        return str(self.root.joinpath(*(re.sub(r"\[([*?[])\]", r"\1", name) for name in self.names)))


@dataclass(frozen=True, slots=True)
class Place:
    path: Path
    """With no link in it."""
    is_folder: bool
    files: int
    size_bytes: int


@dataclass(slots=True)
class Looking:
    """How much may still be looked at, and who is asked whether to go on."""

    check: Callable[[], None] = field(default=lambda: None)
    left: int = MOST_LOOKED_AT

    @property
    def is_over(self) -> bool:
        return self.left <= 0

    def names_in(self, folder: Path) -> list[os.DirEntry[str]]:
        self.check()
        found: list[os.DirEntry[str]] = []
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if self.is_over:
                    break
                self.left -= 1
                found.append(entry)
        return sorted(found, key=lambda each: each.name)


def patterns(rule: Rule, ground: Ground, install_dirs: Sequence[str] = ()) -> list[Pattern]:
    """
    Where *rule* is looked for; nothing when it is not meant for this system and store, means nothing here, or would lead out.

    *install_dirs* are the names that the manifest knows for the game's folder.
    """
    if not rule.holds(os=ground.os, store=ground.store) or "\0" in rule.path or len(rule.path) > _LONGEST:
        return []
    path = rule.path.replace("\\", "/") if ground.pfx is not None else rule.path
    head, _, rest = path.partition("/")
    found: dict[Pattern, None] = {}
    for names in _spellings(rest, ground, install_dirs):
        for root, first in _starts(head, ground):
            if not names and head != "<base>":
                continue  # all of a home, or of a prefix
            found.setdefault(Pattern(root, (*first, *names), ground.pfx is not None))
    return list(found)


def find(pattern: Pattern, ground: Ground, looking: Looking) -> list[Place]:
    """What of *pattern* is there, each place once, by path."""
    found: dict[Path, Place] = {}
    for path in _walk(pattern, ground, looking):
        if path not in found and ground.owns(path):
            place = _weighed(path, looking)
            if place is not None:
                found[path] = place
    return [found[path] for path in sorted(found)]


def _starts(head: str, ground: Ground) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The folders that the beginning of a path may mean, each with names below it that are looked for in the same way as the rest."""
    name = found.group(1) if (found := _PLACEHOLDER.fullmatch(head)) else ""
    if name == "base":
        yield from ((base, ()) for base in ground.bases)
    elif ground.pfx is None:
        folders = {"home": (ground.home,), "root": ground.roots, "xdgData": (ground.xdg_data,), "xdgConfig": (ground.xdg_config,)}
        yield from ((each, ()) for each in folders.get(name, ()) if each is not None)
    elif (drive := ground.drive) is not None:
        if _DRIVE_C.fullmatch(head):
            yield drive, ()
        if name in _ON_DRIVE_C:
            yield drive, tuple(_ON_DRIVE_C[name].split("/"))
        for user, below in itertools.product(_users(ground), _IN_A_USERS_FOLDER.get(name, ())):
            yield drive, ("users", glob.escape(user), *(each for each in below.split("/") if each))


def _users(ground: Ground) -> tuple[str, ...]:
    """Proton's user, and the one that plain Wine takes over."""
    return ("steamuser",) if ground.pfx is not None and ground.user == "steamuser" else ("steamuser", ground.user)


def _spellings(rest: str, ground: Ground, install_dirs: Sequence[str]) -> Iterator[list[str]]:
    """*rest* as names, once for each value that its placeholders may have."""
    folders = [name for name in install_dirs if _is_name(name)] or [ground.bases[0].name if ground.bases else ""]
    values: dict[str, Sequence[str]] = {
        "game": [glob.escape(name) for name in folders if name],
        "storeGameId": [glob.escape(ground.game_id)],
        "storeUserId": ["*"],
        "osUserName": [glob.escape(user) for user in (_users(ground) if ground.pfx is not None else (ground.user,))],
    }
    wanted = list(dict.fromkeys(_PLACEHOLDER.findall(rest)))
    if any(name not in values for name in wanted):
        return
    for chosen in itertools.islice(itertools.product(*(values[name] for name in wanted)), _MOST_SPELLINGS):
        spelt = dict(zip(wanted, chosen, strict=True))
        names = _folded(_PLACEHOLDER.sub(lambda found, spelt=spelt: spelt[found.group(1)], rest))  # type: ignore[misc]
        if names is not None and len(names) <= _DEEPEST:
            yield names


def _folded(path: str) -> list[str] | None:
    """*path* as names without `.` and `..`; None when it leads out."""
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            if not names or names[-1] == "**":
                return None
            names.pop()
        elif name not in {"", "."}:
            names.append(name)
    return names


def _is_name(text: str) -> bool:
    return text not in {"", ".", ".."} and not set(text) & set("/\\\0")


def _walk(pattern: Pattern, ground: Ground, looking: Looking) -> Iterator[Path]:
    """The real paths that *pattern* leads to."""
    waiting = [(_real(pattern.root), pattern.names)]
    seen: set[tuple[Path, int]] = set()
    while waiting:
        folder, names = waiting.pop()
        if (folder, len(names)) in seen or looking.is_over:
            continue
        seen.add((folder, len(names)))
        if not names:
            yield folder
            continue
        name, *rest = names
        if name == "**":
            waiting.append((folder, tuple(rest)))
        for path in _called(folder, name, pattern.any_case, ground, looking):
            if name != "**":
                waiting.append((path, tuple(rest)))
            elif path.is_dir():
                waiting.append((path, tuple(names)))


def _called(folder: Path, name: str, any_case: bool, ground: Ground, looking: Looking) -> Iterator[Path]:
    """What in *folder* is called *name*; a link counts as what it leads to, if that is the game's own."""
    if not any_case and not glob.has_magic(name):
        looking.left -= 1
        with suppress(OSError):
            mode = (folder / name).lstat().st_mode
            yield from _followed(folder / name, stat.S_ISLNK(mode), ground)
        return
    shape = re.compile(fnmatch.translate("*" if name == "**" else name), re.IGNORECASE if any_case else 0)
    for entry in looking.names_in(folder):
        if shape.match(entry.name):
            yield from _followed(folder / entry.name, entry.is_symlink(), ground)


def _followed(path: Path, is_link: bool, ground: Ground) -> Iterator[Path]:
    if not is_link:
        yield path
        return
    with suppress(OSError, RuntimeError):
        real = path.resolve(strict=True)
        if ground.holds(real):
            yield real


def _weighed(path: Path, looking: Looking) -> Place | None:
    """How much is there; what is no file counts as none, and no link below *path* is followed."""
    try:
        known = path.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(known.st_mode):
        return Place(path, False, 1, known.st_size) if stat.S_ISREG(known.st_mode) else None
    files = size = 0
    waiting = [path]
    while waiting:
        for entry in looking.names_in(waiting.pop()):
            with suppress(OSError):
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(Path(entry.path))
                elif stat.S_ISREG(facts.st_mode):
                    files += 1
                    size += facts.st_size
    return Place(path, True, files, size)


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a link in a circle
        return path

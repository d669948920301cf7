"""Names out of manifests and archives, made safe before anything touches the disk with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from integ_server.contract.errors import IntegrityError

STAGING = ".integ-staging"
TRASH = ".integ-trash"
_OURS = {STAGING, TRASH}
_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST_NAME = 255
_LONGEST_PATH = 3000
"""Below the system's limit of 4096 with room for the folder that the game is put in."""

Parts = tuple[str, ...]


def windows_parts(path: str) -> Parts:
    """
    *path* of a Galaxy manifest as folder names and a file name; backslashes part them, and one in front means nothing.

    Raises:
        IntegrityError: It leads out of the game's folder, or can't be a name here.
    """
    if path.startswith(("\\\\", "/")) or _DRIVE.match(path.lstrip("\\")):
        raise _refused(path)
    return _checked(path.replace("\\", "/").lstrip("/"), path)


def unix_parts(path: str) -> Parts:
    """The same for a name of a Linux archive, where a backslash is a letter like any other."""
    if path.startswith("/"):
        raise _refused(path)
    return _checked(path, path)


def check_links(links: Mapping[Parts, str], folders_of: Iterable[Parts]) -> None:
    """
    See that no link leads out of the game's folder, not by way of another link either, and that no file would be written through one.

    *links* maps each link's path to what it points at; *folders_of* is the path of everything else.

    Raises:
        IntegrityError: One does.
    """
    for parts in (*folders_of, *links):
        for depth in range(1, len(parts)):
            if parts[:depth] in links:
                raise IntegrityError(f"{_shown('/'.join(parts))} would be written through a link", hint="nothing was written")
    for parts, target in links.items():
        _follow(parts, target, links)


def safe_folder_name(*wishes: str) -> str:
    """The first of *wishes* that can name a folder, with what can't be in it left out."""
    for wish in wishes:
        kept = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', " ", wish)
        kept = " ".join(kept.encode("utf-8", "ignore").decode().split()).strip(". ")
        while len(kept.encode()) > 120:
            kept = kept[:-1].rstrip()
        if kept:
            return kept
    return "game"


def spelt_as_on_disk(root: Path, paths: Iterable[Parts]) -> dict[Parts, Parts]:
    """
    One spelling for paths that Windows would take for the same: that of the disk, else the one that comes first.

    Maps each of *paths* to its spelling; two that differ by case alone map to the same.
    """
    known: dict[Parts, str] = {}
    looked: set[Parts] = set()
    result: dict[Parts, Parts] = {}
    for parts in paths:
        actual: Parts = ()
        folded: Parts = ()
        for name in parts:
            if folded not in looked:
                looked.add(folded)
                _learn(root.joinpath(*actual), folded, known)
            folded = (*folded, name.lower())
            actual = (*actual, known.setdefault(folded, name))
        result[parts] = actual
    return result


def _learn(folder: Path, folded: Parts, known: dict[Parts, str]) -> None:
    try:
        names = sorted(each.name for each in folder.iterdir())
    except OSError:
        return  # not there yet
    for name in names:
        known.setdefault((*folded, name.lower()), name)


def _follow(parts: Parts, target: str, links: Mapping[Parts, str]) -> None:
    """Walk where the link leads, name by name, as the kernel would."""
    if not target or target.startswith("/") or "\0" in target:
        raise _refused_link(parts, target)
    at = list(parts[:-1])
    todo = target.split("/")[::-1]
    steps = 0
    while todo:
        steps += 1
        if steps > 1000:
            raise _refused_link(parts, target)
        name = todo.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            if not at:
                raise _refused_link(parts, target)
            at.pop()
            continue
        further = links.get((*at, name))
        if further is None:
            at.append(name)
            continue
        if further.startswith("/"):
            raise _refused_link(parts, target)
        todo.extend(further.split("/")[::-1])


def _checked(path: str, told: str) -> Parts:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise _refused(told) from None
    names = tuple(name for name in path.split("/") if name not in {"", "."})
    wrong = not names or size > _LONGEST_PATH or ".." in names or names[0].lower() in _OURS or any(ord(letter) < 32 for letter in path)
    if wrong or any(len(name.encode()) > _LONGEST_NAME for name in names):
        raise _refused(told)
    return names


def _refused(path: str) -> IntegrityError:
    return IntegrityError(f"the path {_shown(path)} was refused: it is not one inside the game's folder", hint="nothing was written there")


def _refused_link(parts: Parts, target: str) -> IntegrityError:
    return IntegrityError(f"the link {_shown('/'.join(parts))} to {_shown(target)} was refused: it leads out of the game's folder")


def _shown(text: str) -> str:
    return ascii(text[:200])

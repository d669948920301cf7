"""Non-Steam shortcuts: the entries of a user's `shortcuts.vdf`, and those among them that start a game of Integ's."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from integ_runtime.content.installed import is_key
from integ_runtime.steam.changes import Art, Change, Edit
from integ_runtime.steam.vdf_binary import (
    END,
    INT32,
    MAP,
    STRING,
    BinaryEntry,
    BinaryFile,
    BinaryMap,
    parse_binary,
    parse_entry,
    write_binary,
    write_entry,
)
from integ_server.contract.errors import IntegrityError, NotFoundError

_LIST = "shortcuts"
_TAG = "Integ"


@dataclass(frozen=True, slots=True)
class Shortcut:
    app_id: int
    """Unsigned, as in the names of grid images; the file holds the same 32 bits signed."""
    name: str
    exe: str
    """As it is stored: a command, in double quotes."""
    launch_options: str
    key: str | None
    """The game of Integ's that it starts; None for all others."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new shortcut is to hold."""

    key: str
    name: str
    program: Path
    arguments: tuple[str, ...]
    """All that comes before the game's key."""
    start_dir: Path
    icon: str = ""
    flatpak_id: str = ""


def shortcut_id(exe: str, name: str) -> int:
    """
    The unsigned id that Steam once computed, and that Integ gives a new shortcut, so that one made again gets the same.

    Steam may write another one later: what stands in the file counts.
    """
    return zlib.crc32((exe + name).encode("utf-8", "surrogateescape")) | 0x8000_0000


def signed(app_id: int) -> int:
    """An unsigned id as `shortcuts.vdf` holds it."""
    return app_id - 2**32 if app_id >= 2**31 else app_id


def launch_id(app_id: int) -> int:
    """What `steam://rungameid/` wants for a shortcut: 64 bits."""
    return app_id << 32 | 0x0200_0000


def read_shortcuts(content: bytes | None, *, where: str) -> list[Shortcut]:
    """
    Every shortcut in the order of the file; none without a file.

    Raises:
        IntegrityError: The file is damaged.
    """
    return [_shortcut(each) for each in _listed(_parse(content, where), where).maps()]


def edit_added(content: bytes | None, wish: Wish, art: dict[str, Path], grid: Path, *, where: str) -> Edit | None:
    """
    The file with a shortcut for *wish*; None when there is one already, whose fields the player may have changed.

    *art* is grid images by what follows the id in their names (`p`, `_hero`), for the folder *grid*.

    Raises:
        IntegrityError: The file is damaged.
    """
    file = _parse(content, where)
    listed = _listed(file, where)
    known = [_shortcut(each) for each in listed.maps()]
    if any(each.key == wish.key for each in known):
        return None
    exe = f'"{wish.program}"'
    app_id = shortcut_id(exe, wish.name)
    while any(each.app_id == app_id for each in known):  # another game of the same name: any id with its top bit set will do
        app_id = (app_id + 1) | 0x8000_0000 if app_id < 2**32 - 1 else 0x8000_0000
    entry = BinaryEntry(MAP, str(len(list(listed.maps()))), _fields(wish, exe, app_id))
    listed.entries.append(entry)
    _number(listed)
    images = tuple(Art(str(source), str(grid / f"{app_id}{stem}{source.suffix}")) for stem, source in art.items())
    return Edit(_written(file, where), f"{wish.name}: a shortcut", "shortcut", str(app_id), None, write_entry(entry).hex(), images)


def edit_removed(content: bytes | None, key: str, images: Sequence[Path], grid: Path, *, where: str) -> Edit:
    """
    The file without the shortcut for the game *key*; the images of *grid* that are copies of *images* go too.

    Raises:
        NotFoundError: There is none.
        IntegrityError: The file is damaged.
    """
    file = _parse(content, where)
    listed = _listed(file, where)
    found = next((each for each in listed.entries if isinstance(each.value, BinaryMap) and _shortcut(each.value).key == key), None)
    if found is None or not isinstance(found.value, BinaryMap):
        raise NotFoundError(f"{key} has no shortcut in Steam", hint="integ steam shortcuts list")
    gone = _shortcut(found.value)
    before = write_entry(found).hex()
    listed.entries.remove(found)
    _number(listed)
    art = tuple(
        Art(str(source), str(target))
        for target in sorted(grid.glob(f"{gone.app_id}*"))
        for source in images
        if target.suffix == source.suffix and _same(source, target)
    )
    return Edit(_written(file, where), f"{gone.name}: no shortcut", "shortcut", str(gone.app_id), before, None, art_removed=art)


def revert_shortcut(content: bytes, change: Change, force: bool) -> bytes | None:
    """The file as it was as to the shortcut of *change*; None when the player has changed that since, unless by *force*."""
    file = _parse(content, change.file)
    listed = _listed(file, change.file)
    here = next((each for each in listed.entries if isinstance(each.value, BinaryMap) and _app_id(each.value) == int(change.id)), None)
    if change.before is not None:  # it was removed
        if here is None:
            listed.entries.append(parse_entry(bytes.fromhex(change.before), where=change.file))
    elif here is not None and isinstance(here.value, BinaryMap):
        made = parse_entry(bytes.fromhex(change.after), where=change.file).value
        if not isinstance(made, BinaryMap) or (not _alike(here.value, made) and not force):
            return None
        listed.entries.remove(here)
    _number(listed)
    return _written(file, change.file)


def _alike(one: BinaryMap, other: BinaryMap) -> bool:
    """Whether the fields that a player can change are the same; Steam itself adds and counts in others."""
    return all(one.text(name) == other.text(name) for name in ("AppName", "Exe", "StartDir", "icon", "LaunchOptions"))


def _parse(content: bytes | None, where: str) -> BinaryFile:
    if content is None:
        return BinaryFile(BinaryMap([BinaryEntry(MAP, _LIST, BinaryMap())]))
    return parse_binary(content, where=where)


def _listed(file: BinaryFile, where: str) -> BinaryMap:
    found = file.root.map(_LIST)
    if found is None:
        raise IntegrityError(f"{where} holds no list of shortcuts", hint=f"move {where} away: Steam then begins a new one")
    return found


def _written(file: BinaryFile, where: str) -> bytes:
    """The bytes of *file*, read once more: Steam deletes a list that it can't read."""
    content = write_binary(file)
    _listed(parse_binary(content, where=where), where)
    return content


def _number(listed: BinaryMap) -> None:
    """Give the entries their numbers, without a gap, in the order in which they stand."""
    for at, entry in enumerate(each for each in listed.entries if isinstance(each.value, BinaryMap)):
        entry.key = str(at)


def _shortcut(fields: BinaryMap) -> Shortcut:
    options = fields.text("LaunchOptions")
    return Shortcut(_app_id(fields), fields.text("AppName"), fields.text("Exe"), options, _key_in(options))


def _key_in(options: str) -> str | None:
    """The game that `... launch KEY ...` starts, whatever the player wrote around it."""
    words = [word.strip("\"'") for word in options.split()]
    return next((key for word, key in pairwise(words) if word == "launch" and is_key(key)), None)


def _app_id(fields: BinaryMap) -> int:
    """Unsigned; computed for an entry of an old file, which has none."""
    written = fields.number("appid")
    return written & 0xFFFF_FFFF if written else shortcut_id(fields.text("Exe"), fields.text("AppName"))


def _fields(wish: Wish, exe: str, app_id: int) -> BinaryMap:
    def text(key: str, value: str = "") -> BinaryEntry:
        return BinaryEntry(STRING, key, value)

    def number(key: str, value: int = 0) -> BinaryEntry:
        return BinaryEntry(INT32, key, value)

    return BinaryMap(
        [
            number("appid", signed(app_id)),
            text("AppName", wish.name.replace("\0", "")),
            text("Exe", exe),
            text("StartDir", f'"{wish.start_dir}/"'),
            text("icon", wish.icon),
            text("ShortcutPath"),
            text("LaunchOptions", " ".join((*wish.arguments, "launch", wish.key))),
            number("IsHidden"),
            number("AllowDesktopConfig", 1),
            number("AllowOverlay", 1),
            number("OpenVR"),
            number("Devkit"),
            text("DevkitGameID"),
            number("DevkitOverrideAppID"),
            number("LastPlayTime"),
            text("FlatpakAppID", wish.flatpak_id),
            text("sortas"),
            BinaryEntry(MAP, "tags", BinaryMap([text("0", _TAG)], END)),
        ]
    )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    except OSError:
        return False

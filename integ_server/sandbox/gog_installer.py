"""Builds offline installers: a makeself script with a MojoSetup archive and a zip behind it, as GOG's for Linux; stubs for Windows."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from random import Random

from integ_server.sandbox.gog_auth import game_client
from integ_server.sandbox.gog_depots import build_id
from integ_server.sandbox.gog_recipes import Trick
from integ_server.sandbox.world import GogProduct

_PREFIX = "data/noarch"
_DATE = (2026, 3, 5, 10, 0, 0)
_SURF_BYTES = 1_200_000
"""A recording of the sea is noise, and noise does not shrink: it makes the installer large enough to be resumed."""
_EVIL = b"this must never be written\n"
_START = """#!/bin/sh
# {title}
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "$here/game" || exit 1
exec python3 ./{program} "$@"
"""
_SCRIPT = """#!/bin/sh
# This script was generated using Makeself 2.2.0
umask 077
CRCsum="{crc}"
MD5="00000000000000000000000000000000"
TMPROOT=${{TMPDIR:=/tmp}}
label="{title} (GOG.com)"
script="./startmojo.sh"
scriptargs=""
targetdir="mojosetup"
filesizes="{size}"
keep=n
MS_Help()
{{
    echo "$label: a game manager installs this file; unzip can list it." >&2
}}
offset=`head -n {lines} "$0" | wc -c | tr -d " "`
case "$1" in
    --info) echo "$label" ; echo "Uncompressed size: $filesizes bytes" ; exit 0 ;;
    --lsm) exit 0 ;;
    --list) tail -c +`expr $offset + 1` "$0" | head -c $filesizes | tar tzf - ; exit $? ;;
esac
MS_Help
exit 1
"""
_WINTER_NIGHTS = """# The nights of The Long Winter.
Ice on the bell buoy|It does not ring any more. You have to count the sails yourself.
Midwinter|They say that nobody sails tonight. They are wrong.
"""
_NEW_NIGHT = "New moon|Nothing but your lamps, from one end of the bay to the other.\n"


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the zip."""

    path: str
    body: bytes = field(repr=False)
    mode: int = stat.S_IFREG | 0o644
    stored: bool = False


def linux_version(*, updated: bool) -> tuple[str, int]:
    """Version and the number that installers carry in their names."""
    return ("1.0.4", 70_104) if updated else ("1.0.3", 70_003)


@lru_cache(maxsize=32)
def linux_installer(product: GogProduct, *, updated: bool = False, trick: Trick = "") -> bytes:
    """The whole .sh of the native game, or of its DLC."""
    members = _dlc(product) if product.type == "dlc" else _game(product, updated=updated)
    return _script(product.title, _mojosetup()) + _zip([*members, *_tricked(trick)])


def _game(product: GogProduct, *, updated: bool) -> list[Member]:
    payload = files("integ_server.sandbox.games")
    code = payload.joinpath("lantern_keep.py").read_bytes()
    nights = payload.joinpath("charts/nights.txt").read_bytes() + (_NEW_NIGHT.encode() if updated else b"")
    program = product.slug.replace("_", "-")
    half = len(nights) // 2
    run, link = stat.S_IFREG | 0o755, stat.S_IFLNK | 0o777
    return [
        Member("scripts/config.lua", b"Setup.Package { id = 'sandbox' }\n"),
        Member("guis/none.txt", b""),
        Member("meta/license.txt", b"Free to keep.\n"),
        Member(f"{_PREFIX}/start.sh", _START.format(title=product.title, program=program).encode(), run),
        Member(f"{_PREFIX}/gameinfo", _gameinfo(product, updated=updated)),
        Member(f"{_PREFIX}/docs/Read me first.txt", f"{product.title}: keep the lamps.\n".encode()),
        Member(f"{_PREFIX}/support/postinst.sh", b"#!/bin/sh\nexit 0\n", run),
        Member(f"{_PREFIX}/support/split_files", b"game/charts/nights.txt\n"),
        Member(f"{_PREFIX}/game/bin/lantern_keep.py", b"#!/usr/bin/env python3\n" + code, run),
        Member(f"{_PREFIX}/game/{program}", b"bin/lantern_keep.py", link, stored=True),
        Member(f"{_PREFIX}/game/charts/nights.txt.split00", nights[:half], stored=True),
        Member(f"{_PREFIX}/game/charts/nights.txt.split01", nights[half:]),
        Member(f"{_PREFIX}/game/goggame-{product.id}.info", _info(product, program, updated=updated)),
        Member(f"{_PREFIX}/game/empty.cfg", b"", stored=True),
        Member(f"{_PREFIX}/game/sounds/surf.raw", Random(f"surf {product.id}").randbytes(_SURF_BYTES), stored=True),
    ]


def _dlc(product: GogProduct) -> list[Member]:
    info = {"version": 1, "gameId": str(product.id), "rootGameId": str(product.parent_id), "standalone": False, "name": product.title}
    return [
        Member("meta/license.txt", b"Free to keep.\n"),
        Member(f"{_PREFIX}/gameinfo", _gameinfo(product, updated=False)),
        Member(f"{_PREFIX}/game/charts/winter.txt", _WINTER_NIGHTS.encode()),
        Member(f"{_PREFIX}/game/goggame-{product.id}.info", json.dumps(info).encode()),
    ]


def _gameinfo(product: GogProduct, *, updated: bool) -> bytes:
    version, number = linux_version(updated=updated)
    lines = (product.title, f"{version} ({number})", "1", "en-US", str(product.id), "1", build_id(product.id, number % 100))
    return ("\n".join(lines) + "\n").encode()


def _info(product: GogProduct, program: str, *, updated: bool) -> bytes:
    task = {"type": "FileTask", "isPrimary": True, "category": "game", "name": product.title, "path": program, "languages": ["*"]}
    known = {"gameId": str(product.id), "rootGameId": str(product.id), "clientId": game_client(product.id)[0]}
    build = build_id(product.id, linux_version(updated=updated)[1] % 100)
    shown = {"language": "English", "languages": ["en-US"], "name": product.title, "osBitness": ["64"]}
    return json.dumps(
        {"version": 1, **known, "buildId": build, "standalone": True, **shown, "playTasks": [task], "supportTasks": []}
    ).encode()


def _tricked(trick: Trick) -> list[Member]:
    """What a hostile installer adds; none of it may reach a disk."""
    if trick == "hostile_path":
        return [Member(f"{_PREFIX}/../../../evil.txt", _EVIL), Member(f"{_PREFIX}/game/../../../evil.txt", _EVIL)]
    if trick == "hostile_absolute":
        return [Member(f"{_PREFIX}//evil.txt", _EVIL)]
    if trick == "hostile_link":
        leak = Member(f"{_PREFIX}/game/leak", b"../../../..", stat.S_IFLNK | 0o777, stored=True)
        return [leak, Member(f"{_PREFIX}/game/leak/evil.txt", _EVIL)]
    return []


def _zip(members: list[Member]) -> bytes:
    """Built by itself, so that its offsets count from its own start."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for folder in ("data/", f"{_PREFIX}/", f"{_PREFIX}/game/"):
            archive.writestr(_entry(folder, stat.S_IFDIR | 0o755), b"")
        for member in members:
            entry = _entry(member.path, member.mode)
            archive.writestr(entry, member.body, zipfile.ZIP_STORED if member.stored else zipfile.ZIP_DEFLATED)
    return into.getvalue()


def _entry(path: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, _DATE)
    entry.create_system = 3  # Unix: the upper half of the attributes is the mode
    entry.external_attr = mode << 16
    return entry


@lru_cache(maxsize=1)
def _mojosetup() -> bytes:
    """The installer program's own archive, which a game manager skips."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, body in (
            ("startmojo.sh", b"#!/bin/sh\nexec bin/linux/x86_64/mojosetup\n"),
            ("bin/linux/x86_64/mojosetup", bytes(70_000)),
        ):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(body), 0o755
            archive.addfile(member, io.BytesIO(body))
    return gzip.compress(packed.getvalue(), mtime=0)


def _script(title: str, mojosetup: bytes) -> bytes:
    lines = _SCRIPT.count("\n")
    return _SCRIPT.format(title=title, crc=f"{len(mojosetup) % 10**10:010d}", size=len(mojosetup), lines=lines).encode() + mojosetup


@lru_cache(maxsize=16)
def windows_parts(product: GogProduct, number: int) -> tuple[bytes, bytes]:
    """A small setup program and the part beside it; only their shape is real."""
    stub = b"MZ" + bytes(58) + b"\x40\0\0\0" + b"PE\0\0" + f"Inno Setup stand-in: {product.title} {number}".encode().ljust(40_000, b"\0")
    return stub, b"idska32\x1a" + f"{product.slug} {number} ".encode() * 8_000

"""Archives made at test time: honest ones, and every kind that must be refused."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterable

import zstandard

MANIFEST = b'"manifest" { "version" "2" "commandline" "/proton %verb%" "require_tool_appid" "1628350" }'
ELF_X86 = b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e\x00" + bytes(44)
ELF_ARM = b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xb7\x00" + bytes(44)
Item = tuple[str, bytes | None, dict[str, object]]
"""Name, data (None for what holds none), fields of the header."""


def item(name: str, data: bytes | None = b"", **fields: object) -> Item:
    return name, data, fields


def folder(name: str, mode: int = 0o755) -> Item:
    return item(name, None, type=tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> Item:
    return item(name, None, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> Item:
    return item(name, None, type=tarfile.LNKTYPE, linkname=target)


def tar(items: Iterable[Item], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data, fields in items:
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            for key, value in fields.items():
                setattr(info, key, value)
            info.size = len(data or b"")
            archive.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def build(top: str = "GE-Proton9-1", *more: Item, without: str = "", wine: bytes = ELF_X86) -> list[Item]:
    """A small tree like a real build's."""
    items = [
        folder(f"{top}/"),
        item(f"{top}/proton", b"#!/usr/bin/env python3\n", mode=0o755),
        item(f"{top}/toolmanifest.vdf", MANIFEST),
        item(f"{top}/version", b"1700000000 " + top.encode() + b"\n"),
        item(f"{top}/LICENSE", b"read only", mode=0o444),
        item(f"{top}/files/bin/wine", wine, mode=0o4775),
        item(f"{top}/files/lib/wine/ntdll.so", bytes(range(256)) * 400),
        symlink(f"{top}/files/lib/libz.so", "libz.so.1"),
        item(f"{top}/files/lib/libz.so.1", b"z" * 5000),
        symlink(f"{top}/files/share/default_pfx/drive_c/windows/system32/ntdll.dll", "../../../../../lib/wine/ntdll.so"),
        hardlink(f"{top}/files/bin/wineserver", f"{top}/files/bin/wine"),
    ]
    return [each for each in items if not without or each[0] != f"{top}/{without}"] + list(more)


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


def zst(data: bytes) -> bytes:
    return zstandard.compress(data, 1)

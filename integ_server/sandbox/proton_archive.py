"""
Proton archives made on demand: the same bytes for the same name, every time, and one size for all builds of a kind.

A release list gives sizes of a hundred archives that nobody will ever fetch. So a .tar.gz is put together from pieces whose size does not
depend on the build's name: tar headers go in stored blocks, contents were compressed once. It is an ordinary gzip file to any reader.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from integ_server.sandbox.proton_tree import Member, own_members, shared_members
from integ_server.sandbox.wine_tree import wine_members

_BLOCK = 512
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_ZEROS = 1 << 24
BOMB_BYTES = 12 << 30
"""What `feed.bomb` unpacks to: one member that says so in its header."""

VARIANTS = frozenset({
    "hostile_dotdot", "hostile_absolute", "hostile_symlink", "hostile_hardlink", "hostile_device",
    "bomb", "two_tops", "wrong_top", "no_manifest", "no_proton", "truncated_archive",
    "zstd_inside",
})  # fmt: skip
"""Archives that no honest build has, named like their faults without the `feed.`; the empty text is an honest one."""


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """Which archive: the build it holds, the top folder inside, how it is packed, and what is wrong with it."""

    build: str
    top: str
    made_at: int
    packing: str = "gz"
    variant: str = ""
    kind: Literal["proton", "wine"] = "proton"
    stem: str = ""
    """The file's own name without its ending, where that is not the top folder's."""


@lru_cache(maxsize=128)
def archive(name: ArchiveName) -> bytes:
    """The archive's bytes; kept for as long as this process lives, up to a few dozen."""
    if name.variant == "zstd_inside":
        return _zstd(b"".join(part for _, part in _tar_pieces(name)))
    if name.packing == "xz":
        return lzma.compress(b"".join(part for _, part in _tar_pieces(name)), preset=0)
    packed = _gzip(_tar_pieces(name), bomb=name.variant == "bomb")
    return packed[: len(packed) * 3 // 4] if name.variant == "truncated_archive" else packed


def archive_size(name: ArchiveName) -> int:
    """`len(archive(name))`; for .tar.gz without making the archive, since all of one variant have one size."""
    if name.packing == "xz" or name.variant == "zstd_inside":
        return len(archive(name))
    return _gzip_size(name.variant)


@lru_cache(maxsize=256)
def sha512(name: ArchiveName) -> str:
    return hashlib.sha512(archive(name)).hexdigest()


@lru_cache(maxsize=256)
def sha256(name: ArchiveName) -> str:
    return hashlib.sha256(archive(name)).hexdigest()


@lru_cache(maxsize=32)
def _gzip_size(variant: str) -> int:
    return len(archive(ArchiveName("GE-Proton1-1", "GE-Proton1-1", 1_700_000_000, "gz", variant)))


def _members(name: ArchiveName) -> Iterator[tuple[str, Member]]:
    """Each member with its whole name in the archive, the odd one of a hostile variant among them."""
    top = f"Other-{name.top}" if name.variant == "wrong_top" else name.top
    left_out = {"no_manifest": {"toolmanifest.vdf", "bin/wineserver"}, "no_proton": {"proton", "bin/wine"}}.get(name.variant, set())
    yield f"{top}/", Member("", "folder", mode=0o755)
    is_wine = name.kind == "wine"
    for member in wine_members(name.top) if is_wine else (*shared_members(), *own_members(name.build, name.made_at)):
        if member.name not in left_out:
            yield f"{top}/{member.name}", member
    evil = b"written by an archive that had no business here\n"
    if name.variant == "hostile_dotdot":
        yield f"{top}/../../evil.txt", Member("", body=evil)
    elif name.variant == "hostile_absolute":
        yield "/tmp/integ-sandbox-evil.txt", Member("", body=evil)  # noqa: S108 - a name inside an archive, to be refused
    elif name.variant == "hostile_symlink":
        yield f"{top}/files/way-out", Member("", "symlink", target="../../..", mode=0o777)
        yield f"{top}/files/way-out/evil.txt", Member("", body=evil)
    elif name.variant == "hostile_hardlink":
        yield f"{top}/files/shadow", Member("", "hardlink", target="../../../../../../etc/passwd")
    elif name.variant == "hostile_device":
        yield f"{top}/files/null", Member("", "device", mode=0o666)
    elif name.variant == "two_tops":
        yield "Another-Build/", Member("", "folder", mode=0o755)
        yield "Another-Build/proton", Member("", body=evil, mode=0o755)


_TAR_TYPES = {
    "file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "device": tarfile.CHRTYPE,
}  # fmt: skip


def _tar_pieces(name: ArchiveName) -> Iterator[tuple[bool, bytes]]:
    """The tar as (whether it is worth compressing, bytes): headers and what names its build go in as they are."""
    own = {member.name for member in own_members(name.build, name.made_at)}
    for path, member in _members(name):
        yield False, _header(path, member, name.made_at, len(member.body))
        if member.body:
            yield member.name not in own, member.body + bytes(-len(member.body) % _BLOCK)
    if name.variant == "bomb":
        yield False, _header(f"{name.top}/files/share/wine/big.bin", Member(""), name.made_at, BOMB_BYTES)
    else:
        yield False, bytes(2 * _BLOCK)


def _header(path: str, member: Member, made_at: int, size: int) -> bytes:
    info = tarfile.TarInfo()
    info.name, info.linkname, info.mode, info.size = path.rstrip("/"), member.target, member.mode, size
    info.mtime, info.type, info.uname, info.gname, info.uid, info.gid = made_at, _TAR_TYPES[member.kind], "builder", "builder", 1000, 1000
    if member.kind == "device":
        info.devmajor, info.devminor = 1, 3
    return info.tobuf(tarfile.GNU_FORMAT)


def _gzip(pieces: Iterator[tuple[bool, bytes]], *, bomb: bool) -> bytes:
    out, check, length = io.BytesIO(), 0, 0
    out.write(_GZIP_HEAD)
    for compressible, piece in pieces:
        out.write(_deflated(piece) if compressible else _stored(piece))
        check, length = zlib.crc32(piece, check), length + len(piece)
    if bomb:
        # The check sum at the end stays wrong: nobody should ever unpack that far.
        out.write(_deflated(bytes(_ZEROS)) * (BOMB_BYTES // _ZEROS))
        length += BOMB_BYTES
    out.write(b"\x03\x00" + struct.pack("<II", check, length & 0xFFFFFFFF))
    return out.getvalue()


def _zstd(data: bytes) -> bytes:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        import zstandard

        return zstandard.compress(data, 1)
    packed: bytes = zstd.compress(data, 1)
    return packed


def _stored(piece: bytes) -> bytes:
    """A stored deflate block, not the last one; begins and ends on a byte."""
    return struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF) + piece


@lru_cache(maxsize=1024)
def _deflated(piece: bytes) -> bytes:
    """Compressed on its own and flushed to a byte's end, so that it can stand anywhere in a deflate stream."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)

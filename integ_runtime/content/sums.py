"""What a file should hold, as one text: `md5:SIZE/HEX[,SIZE/HEX…]` for its chunks in order, `crc32:…` likewise, or `link:TARGET`."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

BLOCK = 1 << 20


def md5_sum(chunks: Sequence[tuple[int, str]]) -> str:
    """The sum of a file whose chunks have these sizes and MD5s."""
    return "md5:" + ",".join(f"{size}/{digest}" for size, digest in chunks)


def crc_sum(chunks: Sequence[tuple[int, int]]) -> str:
    """The sum of a file whose chunks have these sizes and CRCs."""
    return "crc32:" + ",".join(f"{size}/{crc:08x}" for size, crc in chunks)


def link_sum(target: str) -> str:
    return f"link:{target}"


EMPTY = md5_sum(())


def size_in(wanted: str) -> int:
    """How many bytes a file of that sum has."""
    kind, _, rest = wanted.partition(":")
    if kind not in {"md5", "crc32"} or not rest:
        return 0
    return sum(int(each.partition("/")[0]) for each in rest.split(","))


def matches(path: Path, *wanted: str, check: Callable[[], None] = lambda: None) -> bool:
    """
    Whether *path* is a file or link with one of these sums; *check* is called now and then, and may raise to end it.

    Links are never followed. A path that is not there matches nothing.
    """
    found = [each for each in wanted if each]
    if not found:
        return False
    try:
        facts = path.lstat()
    except OSError:
        return False
    if stat.S_ISLNK(facts.st_mode):
        return link_sum(os.readlink(path)) in found  # noqa: PTH115 - as text, whatever it points at
    if not stat.S_ISREG(facts.st_mode):
        return False
    return any(not each.startswith("link:") and size_in(each) == facts.st_size and _holds(path, each, check) for each in found)


def chunk_matches(handle: int, start: int, size: int, md5: str) -> bool:
    """Whether the *size* bytes at *start* have this MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    for block in _blocks(handle, start, size):
        digest.update(block)
    return digest.hexdigest() == md5


def crc_matches(handle: int, start: int, size: int, crc: str) -> bool:
    """The same by CRC-32, which is all that an archive tells."""
    found = 0
    for block in _blocks(handle, start, size):
        found = zlib.crc32(block, found)
    return f"{found:08x}" == crc


def _blocks(handle: int, start: int, size: int) -> Iterator[bytes]:
    end = start + size
    while start < end and (block := os.pread(handle, min(BLOCK, end - start), start)):
        yield block
        start += len(block)


def _holds(path: Path, wanted: str, check: Callable[[], None]) -> bool:
    kind, _, rest = wanted.partition(":")
    same = crc_matches if kind == "crc32" else chunk_matches
    at = 0
    with path.open("rb", buffering=0) as source:
        for each in rest.split(",") if rest else ():
            check()
            size, _, digest = each.partition("/")
            if not same(source.fileno(), at, int(size), digest):
                return False
            at += int(size)
    return True

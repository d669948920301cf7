"""
Blocks of an .xz file decoded side by side: what `xz -T` writes says how long each block is, so several threads can work at once.

Source: https://tukaani.org/xz/xz-file-format.txt
"""

from __future__ import annotations

import lzma
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from integ_server.contract.errors import IntegrityError

MAX_BLOCK_BYTES = 26 << 20
"""Blocks are held in memory as a whole; what `xz -6` makes has 24 MiB, larger ones are decoded as a stream."""
_MEMORY = 100 << 20
_PIECE = 2 << 20
_FED = 1 << 18
"""Bytes that a decoder gets at once: it keeps a copy of what it has no use for yet."""
_MAGIC = b"\xfd7zXZ\0"
_CHECK_BYTES = (0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64)


class Chunks(Protocol):
    def next(self) -> bytes | None: ...


class BlockReader:
    """
    Tells blocks apart. `is_parallel` says whether the first one can be decoded on its own; when not, `rest` gives every byte back.
    """

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._held = bytearray()
        self._head = b""

    @property
    def is_parallel(self) -> bool:
        try:
            self._need(12 + 2 + 18)
            sizes = _sizes(self._held[12:])
        except IntegrityError:
            return False
        return sizes is not None and sizes[1] <= MAX_BLOCK_BYTES

    def rest(self) -> Iterator[bytes]:
        held, self._held = bytes(self._held), bytearray()
        yield held
        while (chunk := self._chunks.next()) is not None:
            yield chunk

    def pieces(self) -> Iterator[bytes]:
        """
        What the blocks hold, in order, a few decoded ahead.

        Raises:
            IntegrityError: The file is damaged, ends early, or mixes blocks of both kinds.
        """
        workers = min(4, os.cpu_count() or 1)
        waiting: deque[Future[deque[bytes]]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="xz")
        try:
            for block, size in self._blocks():
                waiting.append(pool.submit(_decode, block, size))
                del block
                if len(waiting) > workers:  # one more than can be decoded, so that nobody waits while what is decoded is written
                    yield from _emptied(waiting.popleft().result())
            while waiting:
                yield from _emptied(waiting.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _blocks(self) -> Iterator[tuple[bytes, int]]:
        """Each block as a stream of its own, and what it decodes to."""
        while self._begin_stream():
            check_bytes = _CHECK_BYTES[self._head[7] & 15]
            while self._need(1)[0] != 0:
                self._need(2 + 18)
                sizes = _sizes(self._held)
                if sizes is None or sizes[1] > MAX_BLOCK_BYTES:
                    raise IntegrityError("the archive mixes kinds of xz blocks, which Integ does not read")
                yield self._head + self._take((self._held[0] + 1) * 4 + sizes[0] + -sizes[0] % 4 + check_bytes), sizes[1]
            self._end_stream()

    def _begin_stream(self) -> bool:
        """False at the end of the file."""
        while True:
            if not self._held:
                chunk = self._chunks.next()
                if chunk is None:
                    return False
                self._held += chunk
            if self._head:
                self._held = self._held.lstrip(b"\0")  # padding between streams
            if self._held:
                break
        self._head = self._take(12)
        if not self._head.startswith(_MAGIC):
            raise IntegrityError("the archive is damaged")
        return True

    def _end_stream(self) -> None:
        """Pass the index, which repeats the sizes, and the footer."""
        records, at = _number(self._need(10), 1)
        for _ in range(2 * records):
            _, at = _number(self._need(at + 9), at)  # at least so much follows the last of them
        self._take(at + -at % 4 + 4)
        if self._take(12)[-2:] != b"YZ":
            raise IntegrityError("the archive is damaged")

    def _need(self, count: int) -> bytearray:
        while len(self._held) < count:
            chunk = self._chunks.next()
            if chunk is None:
                raise IntegrityError("the archive ends too early")
            self._held += chunk
        return self._held

    def _take(self, count: int) -> bytes:
        self._need(count)
        taken = bytes(memoryview(self._held)[:count])
        del self._held[:count]
        return taken


def _sizes(block: bytearray) -> tuple[int, int] | None:
    """How long the block that begins here is, and what it decodes to; None when its header does not say, or says nonsense."""
    if block[0] == 0 or block[1] & 0xC0 != 0xC0:
        return None
    packed, at = _number(block, 2)
    size, _ = _number(block, at)
    return (packed, size) if packed <= 2 * MAX_BLOCK_BYTES else None


def _number(data: bytearray, at: int) -> tuple[int, int]:
    """The number that begins at *at*, seven bits a byte, and where it ends."""
    number = 0
    for count in range(9):
        byte = data[at + count]
        number |= (byte & 127) << (7 * count)
        if byte < 128:
            return number, at + count + 1
    raise IntegrityError("the archive is damaged")


def _decode(block: bytes, size: int) -> deque[bytes]:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    packed = memoryview(block)
    pieces: deque[bytes] = deque()
    got = 0
    try:
        while got <= size:
            fed = packed[:_FED] if decoder.needs_input else b""
            if decoder.needs_input and not fed:  # its check was read too, and was right
                break
            packed = packed[len(fed) :]
            piece = decoder.decompress(fed, _PIECE)
            if piece:
                pieces.append(piece)
                got += len(piece)
    except (lzma.LZMAError, EOFError, MemoryError) as error:
        raise IntegrityError("the archive is damaged") from error
    if got != size:
        raise IntegrityError("the archive is damaged")
    return pieces


def _emptied(pieces: deque[bytes]) -> Iterator[bytes]:
    """Each is let go of once it is written."""
    while pieces:
        yield pieces.popleft()

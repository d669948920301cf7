"""
Compressed tar archives as streams: bytes in, members and views of their data out, in one pass and in little memory.

Python's own tarfile takes a Python loop over every 512 bytes of a stream; this reader hands out slices of what was inflated.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol, cast

from integ_runtime.proton.xz import BlockReader
from integ_server.contract.errors import IntegrityError

PIECE = 2 << 20
"""At most this much is inflated at once, whatever the archive promises."""
_LZMA_MEMORY = 100 << 20
_ZSTD_WINDOW = 1 << 27
_ZSTD_READ = 1 << 20
_MAX_LONG_NAME, _MAX_PAX = 1 << 16, 1 << 20
_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may grow to before it is refused as a bomb."""

    bytes: int = 8 << 30
    entries: int = 200_000
    ratio: int = 100
    """Inflated bytes to each byte read, once `floor_bytes` are out."""
    floor_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Member:
    kind: str
    """file, folder, symlink, hardlink."""
    name: str
    """As it stands in the archive: not checked at all. Bytes that are no UTF-8 are surrogates."""
    mode: int = 0
    size: int = 0
    target: str = ""
    """Of links."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def inflate(chunks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """
    What *chunks* hold, in pieces of at most `PIECE` bytes; the kind is told by the first bytes, never by a name.

    Raises:
        IntegrityError: It is no kind that Integ reads, is damaged, ends early or grows out of all proportion.
    """
    first = next((chunk for chunk in chunks if chunk), b"")
    while len(first) < 6 and (more := next(chunks, b"")):
        first += more
    counted = _Counted(first, chunks)
    if first.startswith(_GZIP):
        from isal import igzip_lib

        pieces = _pieces(
            counted, lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), [cast(type[Exception], igzip_lib.IsalError)]
        )
    elif first.startswith(_XZ):
        blocks = BlockReader(counted)
        pieces = (
            blocks.pieces()
            if blocks.is_parallel
            else _pieces(blocks.rest(), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY), [lzma.LZMAError])
        )
    elif first.startswith(_ZSTD):
        pieces = _zstd_pieces(counted)
    else:
        raise IntegrityError("the archive is of no kind that Integ reads")
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limits.bytes or total > max(limits.floor_bytes, counted.count * limits.ratio):
            raise IntegrityError("the archive grows out of all proportion", hint="it is damaged or hostile; it was not installed")
        yield piece


class TarStream:
    """The members of a tar archive, ustar, GNU or pax. The data of a member has to be asked for before the next member."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._view = memoryview(b"")
        self._left = 0
        """Data of the current member, with its padding, that nobody took yet."""
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """
        Raises:
            IntegrityError: It is damaged, ends early, or holds what is neither file, folder nor link.
        """
        notes = _Notes()
        while True:
            self._skip(self._left)
            header = self._take(_BLOCK)
            if header == _ZEROS:
                for _ in self._pieces:  # what pads the last record; it has to be whole too
                    pass
                return
            member_size = _check_header(header)
            kind = header[156:157]
            if kind in {b"L", b"K", b"x", b"g"}:
                notes.add(kind, self._note(kind, member_size))
                continue
            member = _member(header, kind, member_size, notes)
            notes = _Notes()
            if member.kind == "file":
                self._padding = -member.size % _BLOCK
                self._left = member.size + self._padding
            yield member

    def data(self) -> Iterator[memoryview]:
        """The data of the current member, in slices of what was inflated."""
        while self._left > self._padding:
            if not len(self._view):
                self._more()
            view = self._view[: self._left - self._padding]
            self._view = self._view[len(view) :]
            self._left -= len(view)
            yield view

    def _note(self, kind: bytes, size: int) -> bytes:
        if size > (_MAX_PAX if kind in {b"x", b"g"} else _MAX_LONG_NAME):
            raise IntegrityError("the archive has a header that is too long")
        content = self._take(size)
        self._skip(-size % _BLOCK)
        return content

    def _more(self) -> None:
        piece = next(self._pieces, b"")
        if not piece:
            raise IntegrityError("the archive ends too early")
        self._view = memoryview(piece)

    def _take(self, count: int) -> bytes:
        if len(self._view) >= count:
            taken = bytes(self._view[:count])
            self._view = self._view[count:]
            return taken
        parts = []
        while count:
            if not len(self._view):
                self._more()
            parts.append(bytes(self._view[:count]))
            self._view = self._view[count:]
            count -= len(parts[-1])
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        while count:
            if not len(self._view):
                self._more()
            step = min(count, len(self._view))
            self._view = self._view[step:]
            count -= step
        self._left = self._padding = 0


@dataclass(slots=True)
class _Notes:
    """What headers before a member say of it."""

    path: str | None = None
    target: str | None = None
    size: int | None = None
    seen: set[str] = field(default_factory=set)

    def add(self, kind: bytes, content: bytes) -> None:
        if kind == b"L":
            self.path = _text(content)
        elif kind == b"K":
            self.target = _text(content)
        else:
            for key, value in _pax_records(content):
                if key.startswith("GNU.sparse"):
                    raise IntegrityError("the archive holds sparse files, which Integ does not read")
                if kind == b"g":  # for all that follow: nothing that would move or resize them is believed
                    if key in {"path", "linkpath", "size"}:
                        raise IntegrityError("the archive renames all of its members at once")
                elif key == "path":
                    self.path = _text(value)
                elif key == "linkpath":
                    self.target = _text(value)
                elif key == "size":
                    if not value.isdigit() or len(value) > 15:
                        raise IntegrityError("the archive has a size that is none")
                    self.size = int(value)


_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"5": "folder", b"2": "symlink", b"1": "hardlink"}


def _member(header: bytes, kind: bytes, size: int, notes: _Notes) -> Member:
    named = _KINDS.get(kind)
    name = notes.path
    if name is None:
        name = _text(header[:100])
        if header[257:263] == b"ustar\0" and header[345]:
            name = f"{_text(header[345:500])}/{name}"
    if named is None:
        raise IntegrityError(f"the archive holds {name!r}, which is neither file, folder nor link")
    if named == "file" and kind != b"7" and name.endswith("/"):
        named = "folder"  # as the oldest archives write it
    target = notes.target if notes.target is not None else _text(header[157:257])
    real_size = notes.size if notes.size is not None else size
    return Member(named, name, _number(header[100:108]) & 0o7777, real_size if named == "file" else 0, target if "link" in named else "")


def _check_header(header: bytes) -> int:
    """The size that *header* gives, once its checksum is right."""
    written = _number(header[148:156])
    rest = header[:148] + header[156:]
    total = sum(rest) + 8 * 32
    if written not in {total, total - 256 * sum(byte > 127 for byte in rest)}:  # some old programs took bytes as signed
        raise IntegrityError("the archive is damaged: a header's checksum is wrong")
    return _number(header[124:136])


def _number(digits: bytes) -> int:
    if digits[0] & 0x80:
        number = int.from_bytes(digits, "big") & ~(0x80 << 8 * (len(digits) - 1))
        if digits[0] & 0x40 or number >= 1 << 62:
            raise IntegrityError("the archive has a number that is out of range")
        return number
    text = digits.partition(b"\0")[0].strip()
    try:
        number = int(text or b"0", 8)
    except ValueError:
        raise IntegrityError("the archive is damaged: a header's number is none") from None
    if number < 0:
        raise IntegrityError("the archive has a number that is out of range")
    return number


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax_records(content: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(content):
        digits, space, _ = content[at : at + 10].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = content[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not space or not equals or len(record) != length or record[-1:] != b"\n":
            raise IntegrityError("the archive is damaged: a pax header makes no sense")
        yield key.decode("utf-8", "replace"), value
        at += length


class _Counted:
    """Chunks with what has gone by counted, for the ratio."""

    def __init__(self, first: bytes, rest: Iterator[bytes]) -> None:
        self.count = 0
        self._first, self._rest = first, rest

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self.next()) is not None:
            yield chunk

    def next(self) -> bytes | None:
        chunk, self._first = self._first, b""
        if not chunk:
            chunk = next(self._rest, b"")
        self.count += len(chunk)
        return chunk or None


def _pieces(chunks: Iterable[bytes], make: Callable[[], _Decompressor], errors: list[type[Exception]]) -> Iterator[bytes]:
    """Inflate with one of the decompressors that take a bound on what comes out; several streams may follow each other."""
    expected: tuple[type[BaseException], ...] = (EOFError, MemoryError, *errors)
    current, between = make(), False
    for data in chunks:
        while data or not (between or current.needs_input):
            if between:
                data = data.lstrip(b"\0")  # streams may be padded with zeros
                if not data:
                    break
                current, between = make(), False
            try:
                piece = current.decompress(data, PIECE)
            except expected as error:
                raise IntegrityError("the archive is damaged") from error
            data = b""
            if piece:
                yield piece
            if current.eof:
                data, between = current.unused_data, True
    if not between:
        raise IntegrityError("the archive ends too early")


def _zstd_pieces(chunks: _Counted) -> Iterator[bytes]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        pass
    else:
        options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW.bit_length() - 1}
        yield from _pieces(chunks, lambda: zstd.ZstdDecompressor(options=options), [zstd.ZstdError])
        return
    try:
        import zstandard
    except ImportError as error:
        raise IntegrityError(
            "this archive is compressed with zstd, which needs Python 3.14 or the package zstandard", hint="pip install zstandard"
        ) from error
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        cast(IO[bytes], _Readable(chunks)), read_across_frames=True
    )
    try:
        while piece := reader.read(PIECE):
            yield piece
    except zstandard.ZstdError as error:
        raise IntegrityError("the archive is damaged") from error


class _Readable:
    """Chunks as the file that zstandard reads from; it takes whatever size comes."""

    def __init__(self, chunks: _Counted) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        whole = self._rest or self._chunks.next() or b""
        if len(whole) <= size:
            self._rest = b""
            return whole
        self._rest = whole[size:]
        return whole[:size]

"""
Valve's binary KeyValues, as `shortcuts.vdf` has them: read into entries that write back as the same bytes, unknown keys and all.

A text is kept as it is, invalid UTF-8 too; values of kinds that nothing here looks at are kept as bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from integ_runtime.steam.vdf import MAX_BYTES, MAX_DEPTH
from integ_server.contract.errors import IntegrityError

MAP, STRING, INT32, FLOAT32, POINTER, WIDE_STRING, COLOUR, UINT64, END, INT64, OTHER_END = 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11
_NUMBERS = {INT32: struct.Struct("<i"), UINT64: struct.Struct("<Q"), INT64: struct.Struct("<q")}
_FOUR_BYTES = frozenset({FLOAT32, POINTER, COLOUR})


@dataclass(slots=True)
class BinaryMap:
    """Keys with their values in the order of the file; a key may come twice, and is looked up without regard to case."""

    entries: list[BinaryEntry] = field(default_factory=list)
    end: int = END
    """The byte that ended it."""

    def find(self, key: str) -> BinaryEntry | None:
        """The last entry of that name: the one that counts."""
        folded = key.casefold()
        return next((each for each in reversed(self.entries) if each.key.casefold() == folded), None)

    def text(self, key: str) -> str:
        """The text at *key*; empty when there is none."""
        entry = self.find(key)
        return entry.value if entry is not None and isinstance(entry.value, str) else ""

    def number(self, key: str) -> int | None:
        """The whole number at *key*, signed as the file has it; None when there is none."""
        entry = self.find(key)
        return entry.value if entry is not None and isinstance(entry.value, int) else None

    def map(self, key: str) -> BinaryMap | None:
        entry = self.find(key)
        return entry.value if entry is not None and isinstance(entry.value, BinaryMap) else None

    def maps(self) -> Iterator[BinaryMap]:
        yield from (each.value for each in self.entries if isinstance(each.value, BinaryMap))


@dataclass(slots=True)
class BinaryEntry:
    kind: int
    key: str
    value: BinaryMap | str | int | bytes


@dataclass(slots=True)
class BinaryFile:
    root: BinaryMap
    rest: bytes = b""
    """What follows the last end; Steam itself does not mind."""


def parse_binary(content: bytes, *, where: str = "binary VDF") -> BinaryFile:
    """
    Read *content*.

    Raises:
        IntegrityError: It is cut short, nested too deep, too large, or holds a kind of value that there is not; the message
            begins with *where*.
    """
    if len(content) > MAX_BYTES:
        raise IntegrityError(f"{where} is too large")
    root = BinaryMap()
    stack = [root]
    position = 0
    while stack:
        if position >= len(content):
            raise IntegrityError(f"{where} is damaged at byte {position}: it ends too early")
        kind = content[position]
        position += 1
        if kind in {END, OTHER_END}:
            stack.pop().end = kind
            continue
        key, position = _text(content, position, where)
        value: BinaryMap | str | int | bytes
        if kind == MAP:
            if len(stack) > MAX_DEPTH:
                raise IntegrityError(f"{where} is damaged at byte {position}: it is nested too deep")
            value = BinaryMap()
        elif kind == STRING:
            value, position = _text(content, position, where)
        elif kind == WIDE_STRING:
            value, position = _wide(content, position, where)
        elif kind in _NUMBERS or kind in _FOUR_BYTES:
            size = _NUMBERS[kind].size if kind in _NUMBERS else 4
            raw = content[position : position + size]
            if len(raw) < size:
                raise IntegrityError(f"{where} is damaged at byte {position}: it ends too early")
            value = int(_NUMBERS[kind].unpack(raw)[0]) if kind in _NUMBERS else raw
            position += size
        else:
            raise IntegrityError(f"{where} is damaged at byte {position - 1}: there is no kind of value {kind}")
        stack[-1].entries.append(BinaryEntry(kind, key, value))
        if isinstance(value, BinaryMap):
            stack.append(value)
    return BinaryFile(root, content[position:])


def write_binary(file: BinaryFile) -> bytes:
    """
    The bytes of *file*; those of a file that was read and not changed are the same again.

    Raises:
        ValueError: A text holds a NUL, or a number does not fit its kind.
    """
    out = bytearray()
    _write_map(file.root, out)
    return bytes(out) + file.rest


def write_entry(entry: BinaryEntry) -> bytes:
    """The bytes of one entry; `parse_entry` reads them."""
    out = bytearray()
    _write_entry(entry, out)
    return bytes(out)


def parse_entry(content: bytes, *, where: str = "binary VDF") -> BinaryEntry:
    """
    Raises:
        IntegrityError: As for `parse_binary`, or it holds no single entry.
    """
    entries = parse_binary(content + bytes([END]), where=where).root.entries
    if len(entries) != 1:
        raise IntegrityError(f"{where} holds no single entry")
    return entries[0]


def _write_map(section: BinaryMap, out: bytearray) -> None:
    for entry in section.entries:
        _write_entry(entry, out)
    out.append(section.end)


def _write_entry(entry: BinaryEntry, out: bytearray) -> None:
    out.append(entry.kind)
    out += _bytes(entry.key)
    if isinstance(entry.value, BinaryMap):
        _write_map(entry.value, out)
    elif isinstance(entry.value, str):
        out += _bytes(entry.value)
    elif isinstance(entry.value, bytes):
        out += entry.value
    else:
        try:
            out += _NUMBERS[entry.kind].pack(entry.value)
        except struct.error as error:
            raise ValueError(f"{entry.value} does not fit {entry.key}") from error


def _bytes(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if b"\0" in raw:
        raise ValueError("a text with a NUL can't be written")
    return raw + b"\0"


def _text(content: bytes, position: int, where: str) -> tuple[str, int]:
    end = content.find(b"\0", position)
    if end < 0:
        raise IntegrityError(f"{where} is damaged at byte {position}: a text has no end")
    return content[position:end].decode("utf-8", "surrogateescape"), end + 1


def _wide(content: bytes, position: int, where: str) -> tuple[bytes, int]:
    """A text of two bytes a letter, with the two NULs that end it."""
    end = position
    while content[end : end + 2] != b"\0\0":
        end += 2
        if end >= len(content):
            raise IntegrityError(f"{where} is damaged at byte {position}: a text has no end")
    return content[position : end + 2], end + 2

"""
Writes a PE32+ console program: headers, code, constants with the import table, zeroed data.

Source: https://learn.microsoft.com/windows/win32/debug/pe-format
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from integ_server.sandbox.games.assembler import Assembler

IMAGE_BASE = 0x1_4000_0000
SECTION_ALIGN, FILE_ALIGN = 0x1000, 0x200
_CODE, _READ_ONLY, _READ_WRITE = 0x6000_0020, 0x4000_0040, 0xC000_0080
_MACHINE_AMD64, _PE32_PLUS, _CONSOLE = 0x8664, 0x20B, 3
_RELOCATIONS_STRIPPED, _EXECUTABLE, _LARGE_ADDRESSES = 0x1, 0x2, 0x20
_DEP_READY = 0x0100
_CODE_RVA = 0x1000


def console_program(
    code: Assembler, *, constants: Mapping[str, bytes], variables: Mapping[str, int], imports: Mapping[str, Sequence[str]]
) -> bytes:
    """
    The whole .exe. *constants* and *variables* (name to size in bytes) are symbols of *code*, and so is every imported function of
    *imports* (library to its functions); the program starts at the code's first byte.
    """
    constants_rva = _CODE_RVA + _up(len(code.code), SECTION_ALIGN)
    read_only, symbols, (directory, directory_size), (table, table_size) = _read_only(constants_rva, constants, imports)
    variables_rva = constants_rva + _up(len(read_only), SECTION_ALIGN)
    place = variables_rva
    for name, size in variables.items():
        symbols[name] = place
        place += _up(size, 16)
    variables_size = max(place - variables_rva, 16)

    text = code.linked(_CODE_RVA, symbols)
    text_at = FILE_ALIGN * 2
    read_only_at = text_at + _up(len(text), FILE_ALIGN)
    sections = (
        _section(b".text", len(text), _CODE_RVA, file_size=_up(len(text), FILE_ALIGN), file_at=text_at, flags=_CODE),
        _section(
            b".rdata", len(read_only), constants_rva, file_size=_up(len(read_only), FILE_ALIGN), file_at=read_only_at, flags=_READ_ONLY
        ),
        _section(b".bss", variables_size, variables_rva, file_size=0, file_at=0, flags=_READ_WRITE),
    )
    directories = [(0, 0)] * 16
    directories[1] = (directory, directory_size)
    directories[12] = (table, table_size)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        *(_PE32_PLUS, 14, 0, _up(len(text), FILE_ALIGN), _up(len(read_only), FILE_ALIGN), _up(variables_size, FILE_ALIGN)),
        *(_CODE_RVA, _CODE_RVA, IMAGE_BASE, SECTION_ALIGN, FILE_ALIGN),
        *(6, 0, 0, 0, 6, 0, 0),  # runs from Windows Vista on
        *(variables_rva + _up(variables_size, SECTION_ALIGN), text_at, 0, _CONSOLE, _DEP_READY),
        *(0x10_0000, 0x1000, 0x10_0000, 0x1000, 0, 16),
    ) + b"".join(struct.pack("<II", *entry) for entry in directories)
    flags = _RELOCATIONS_STRIPPED | _EXECUTABLE | _LARGE_ADDRESSES
    file_header = struct.pack("<HHIIIHH", _MACHINE_AMD64, len(sections), 0, 0, 0, len(optional), flags)
    headers = _dos_stub() + b"PE\0\0" + file_header + optional + b"".join(sections)
    return headers.ljust(text_at, b"\0") + _padded(text) + _padded(read_only)


def _read_only(
    rva: int, constants: Mapping[str, bytes], imports: Mapping[str, Sequence[str]]
) -> tuple[bytes, dict[str, int], tuple[int, int], tuple[int, int]]:
    """Import table, import directory and constants: bytes, symbols, and where directory and table stand (rva, size)."""
    table_size = sum(8 * (len(names) + 1) for names in imports.values())
    directory_rva = rva + table_size
    directory_size = 20 * (len(imports) + 1)
    lookup_rva = directory_rva + directory_size
    names_rva = lookup_rva + table_size

    names, symbols = bytearray(), dict[str, int]()
    entries, directory = bytearray(), bytearray()
    for library, functions in imports.items():
        first = len(entries)
        for function in functions:
            symbols[function] = rva + len(entries)
            entries += struct.pack("<Q", names_rva + len(names))
            named = struct.pack("<H", 0) + function.encode("ascii") + b"\0"
            names += named.ljust(_up(len(named), 2), b"\0")
        entries += bytes(8)
        directory += struct.pack("<IIIII", lookup_rva + first, 0, 0, names_rva + len(names), rva + first)
        library_name = library.encode("ascii") + b"\0"
        names += library_name.ljust(_up(len(library_name), 2), b"\0")
    directory += bytes(20)

    body = bytearray(entries + directory + entries + names)
    for name, value in constants.items():
        body += bytes(-len(body) % 8)
        symbols[name] = rva + len(body)
        body += value
    return bytes(body), symbols, (directory_rva, directory_size), (rva, table_size)


def _section(name: bytes, size: int, rva: int, *, file_size: int, file_at: int, flags: int) -> bytes:
    return struct.pack("<8sIIIIIIHHI", name, size, rva, file_size, file_at, 0, 0, 0, 0, flags)


def _dos_stub() -> bytes:
    """The header of a DOS program whose only content is where the real header stands."""
    return b"MZ" + struct.pack("<58xI", 64)


def _padded(part: bytes) -> bytes:
    return part.ljust(_up(len(part), FILE_ALIGN), b"\0")


def _up(size: int, step: int) -> int:
    return -(-size // step) * step

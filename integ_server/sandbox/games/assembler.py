"""The few x86-64 instructions a small console program needs; addresses are relative to the instruction pointer, nothing is relocated."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum


class Reg(IntEnum):
    """The registers by their number in an instruction."""

    RAX = 0
    RCX = 1
    RDX = 2
    RBX = 3
    RSI = 6
    RDI = 7
    R8 = 8
    R9 = 9


class When(IntEnum):
    """Conditions of a jump by their number in its opcode."""

    ABOVE = 0x7
    ZERO = 0x4
    NOT_GREATER = 0xE


class Assembler:
    """Code under construction: bytes, the labels in it, and the places whose four bytes wait for a symbol's address."""

    def __init__(self) -> None:
        self.code = bytearray()
        self._labels: dict[str, int] = {}
        self._waiting: list[tuple[int, str]] = []

    def label(self, name: str) -> None:
        if name in self._labels:
            raise ValueError(f"label {name} stands twice")
        self._labels[name] = len(self.code)

    def reserve_stack(self, size: int) -> None:
        self.code += b"\x48\x83\xec" + struct.pack("<b", size)

    def address(self, to: Reg, symbol: str) -> None:
        """lea to, [symbol]"""
        self._relative(self._wide(to) + b"\x8d" + self._rip(to), symbol)

    def load_dword(self, to: Reg, symbol: str) -> None:
        """mov to (32 bits), [symbol]"""
        self._relative(self._narrow(to) + b"\x8b" + self._rip(to), symbol)

    def load_qword(self, to: Reg, symbol: str) -> None:
        """mov to, [symbol]"""
        self._relative(self._wide(to) + b"\x8b" + self._rip(to), symbol)

    def load_element(self, to: Reg, base: Reg, index: Reg, offset: int) -> None:
        """mov to, [base + index * 8 + offset]"""
        rex = 0x48 | (to >> 3) << 2 | (index >> 3) << 1 | base >> 3
        self.code += bytes((rex, 0x8B, 0x44 | (to & 7) << 3, 0xC0 | (index & 7) << 3 | base & 7)) + struct.pack("<b", offset)

    def store_on_stack(self, offset: int, source: Reg) -> None:
        """mov [rsp + offset], source"""
        self.code += self._rex_source(source) + bytes((0x89, 0x44 | (source & 7) << 3, 0x24)) + struct.pack("<b", offset)

    def store_dword(self, symbol: str, source: Reg) -> None:
        """mov [symbol], source (32 bits)"""
        self._relative(self._narrow(source) + b"\x89" + self._rip(source), symbol)

    def number(self, to: Reg, value: int) -> None:
        """mov to (32 bits, the upper half becomes zero), value"""
        rex = b"\x41" if to >= 8 else b""
        self.code += rex + bytes((0xB8 | to & 7,)) + struct.pack("<I", value)

    def copy(self, to: Reg, source: Reg) -> None:
        rex = 0x48 | (source >> 3) << 2 | to >> 3
        self.code += bytes((rex, 0x89, 0xC0 | (source & 7) << 3 | to & 7))

    def compare(self, register: Reg, value: int) -> None:
        """cmp register (32 bits), value"""
        rex = b"\x41" if register >= 8 else b""
        self.code += rex + bytes((0x81, 0xF8 | register & 7)) + struct.pack("<i", value)

    def test(self, register: Reg) -> None:
        rex = 0x48 | (register >> 3) << 2 | register >> 3
        self.code += bytes((rex, 0x85, 0xC0 | (register & 7) << 3 | register & 7))

    def increment(self, symbol: str) -> None:
        """inc dword [symbol]"""
        self._relative(b"\xff\x05", symbol)

    def call(self, imported: str) -> None:
        self._relative(b"\xff\x15", imported)

    def jump(self, label: str, when: When | None = None) -> None:
        self._relative(b"\xe9" if when is None else bytes((0x0F, 0x80 | when)), label)

    def linked(self, code_rva: int, symbols: Mapping[str, int]) -> bytes:
        """The code as it stands at *code_rva*, with every symbol's address filled in; KeyError for one that is unknown."""
        linked = bytearray(self.code)
        known = {**symbols, **{name: code_rva + offset for name, offset in self._labels.items()}}
        for place, symbol in self._waiting:
            struct.pack_into("<i", linked, place, known[symbol] - (code_rva + place + 4))
        return bytes(linked)

    def _relative(self, opcode: bytes, symbol: str) -> None:
        self.code += opcode
        self._waiting.append((len(self.code), symbol))
        self.code += bytes(4)

    @staticmethod
    def _wide(register: Reg) -> bytes:
        return bytes((0x48 | (register >> 3) << 2,))

    @staticmethod
    def _rex_source(register: Reg) -> bytes:
        return bytes((0x48 | (register >> 3) << 2,))

    @staticmethod
    def _narrow(register: Reg) -> bytes:
        return b"\x44" if register >= 8 else b""

    @staticmethod
    def _rip(register: Reg) -> bytes:
        return bytes((0x05 | (register & 7) << 3,))

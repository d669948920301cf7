"""QR codes on the terminal, for phones to read from screens of either colour; redrawn in their place when they change."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

from integ_cli.output import Output
from integ_runtime.qr_code import qr_modules

_BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m"
"""From the fixed part of the palette: what a theme makes of "black" and "white" may be anything."""
_ON_WHITE, _ON_BLACK, _RESET = "\x1b[48;5;231m", "\x1b[48;5;16m", "\x1b[0m"
_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


class Ink(NamedTuple):
    """What a terminal can show."""

    colours: bool = True
    blocks: bool = True
    """Half blocks; else two columns a module."""
    dark: bool = True
    """Whether its background is dark; matters without colours alone."""


def ink_of_stderr() -> Ink:
    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    blocks = (sys.stderr.encoding or "").lower().replace("-", "") == "utf8"
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return Ink(colours, blocks, dark=background not in {"7", "15"})


def qr_lines(text: str, ink: Ink) -> list[str]:
    """*text* as a code, its margin included, one string a line of the terminal."""
    rows = qr_modules(text)
    if ink.blocks:
        return _in_half_blocks(rows, ink)
    if ink.colours:
        return ["".join(f"{_ON_BLACK if dark else _ON_WHITE}  " for dark in row) + _RESET for row in rows]
    return ["".join("##" if dark is not ink.dark else "  " for dark in row) for row in rows]


def columns_of(text: str, ink: Ink) -> int:
    """How wide `qr_lines` comes out."""
    return len(qr_modules(text)) * (1 if ink.blocks else 2)


def _in_half_blocks(rows: Sequence[Sequence[bool]], ink: Ink) -> list[str]:
    # without colours a drawn half is as bright as the text: on a dark terminal that is what stands for white
    inked = not (ink.dark and not ink.colours)
    blank = [False] * len(rows[0])
    lines = []
    for at in range(0, len(rows), 2):
        upper, lower = rows[at], rows[at + 1] if at + 1 < len(rows) else blank
        line = "".join(_HALVES[up is inked, low is inked] for up, low in zip(upper, lower, strict=True))
        lines.append(f"{_BLACK_ON_WHITE}{line}{_RESET}" if ink.colours else line)
    return lines


class QrBoard:
    """One code and the lines below it; each `show` takes the place of the last where the terminal can do that."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._height = 0

    def has_room_for(self, text: str) -> bool:
        """Whether `show` draws *text*, so that the lines below may speak of a code."""
        return sys.stderr.isatty() and columns_of(text, ink_of_stderr()) <= shutil.get_terminal_size().columns

    def show(self, text: str, *below: str) -> None:
        """Draw *text* with the lines *below*; without a terminal, or with too narrow a one, the lines alone."""
        ink = ink_of_stderr()
        size = shutil.get_terminal_size()
        drawn = qr_lines(text, ink) if self.has_room_for(text) else []
        self._clear(size.lines)
        self._out.drawing(drawn)
        for line in below:
            self._out.tell(line)
        fits = all(len(line) <= size.columns for line in below)  # a line that wraps makes the height another
        self._height = len(drawn) + len(below) if drawn and ink.colours and fits else 0

    def _clear(self, lines: int) -> None:
        if 0 < self._height < lines:
            self._out.drawing([f"\x1b[{self._height}A\x1b[J"], end="")

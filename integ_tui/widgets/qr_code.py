"""A QR code, for phones to read from a screen of either colour."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from integ_runtime.qr_code import QUIET_MODULES, qr_modules

_INK = Style(color="#000000", bgcolor="#ffffff")
"""Whatever the theme says: readers want dark on light."""
_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
_NARROW_QUIET = 2
"""Half the margin that the standard wants, which readers take, where there is no room for the whole."""


class QrCode(Widget):
    """In half blocks, two modules a line; empty until it is given a text that there is room for."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[str] = []

    def show(self, text: str, room: Size) -> bool:
        """Draw *text* within *room*; False, and nothing is drawn, when it is too large."""
        self._lines = []
        for quiet in (QUIET_MODULES, _NARROW_QUIET) if text else ():
            drawn = _in_half_blocks(qr_modules(text, quiet))
            if len(drawn) <= room.height and len(drawn[0]) <= room.width:
                self._lines = drawn
                break
        self.display = bool(self._lines)
        self.refresh(layout=True)
        return self.display

    @property
    def drawn(self) -> Size:
        return Size(len(self._lines[0]), len(self._lines)) if self._lines else Size(0, 0)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return self.drawn.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self.drawn.height

    def render_line(self, y: int) -> Strip:
        return Strip([Segment(self._lines[y], _INK)] if y < len(self._lines) else [])


def _in_half_blocks(rows: list[list[bool]]) -> list[str]:
    blank = [False] * len(rows[0])
    pairs = [(rows[at], rows[at + 1] if at + 1 < len(rows) else blank) for at in range(0, len(rows), 2)]
    return ["".join(_HALVES[half] for half in zip(upper, lower, strict=True)) for upper, lower in pairs]

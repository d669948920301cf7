"""Text for people: safe to print, in columns, with figures they can read."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import combining, east_asian_width

# Control characters, line separators and the marks that turn text round: a title must not drive the terminal it is shown on.
_GONE = [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ONE_LINE = {**dict.fromkeys(_GONE), **dict.fromkeys((9, 10, 13, 0x2028, 0x2029), " ")}
_LINES = {**_ONE_LINE, 10: "\n"}


def safe(value: object) -> str:
    """*value* as one line that can't move the cursor, change colours or hide what follows it."""
    text = str(value)
    return text if text.isascii() and text.isprintable() else text.translate(_ONE_LINE)


def safe_lines(value: str) -> str:
    """As `safe`, line breaks kept."""
    return value.translate(_LINES)


def width(text: str) -> int:
    """How many columns of a terminal *text* fills."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cropped(text: str, columns: int) -> str:
    """*text* in at most *columns* columns."""
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for char in text:
        used += width(char)
        if used > columns - 1:
            break
        kept += char
    return kept + "…"


class Table(str):
    """Aligned text whose cells are safe already; it may hold the one escape that makes its headers bold."""

    __slots__ = ()


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, columns: int | None = None, bold: bool = False) -> Table:
    """
    *rows* below *headers*, aligned; below a header that begins with `>` to the right.

    With *columns* the widest column is cropped until a line fits. Without rows there is no text at all.
    """
    if not rows:
        return Table()
    cells = [[safe(cell) for cell in row] for row in rows]
    figures = [header.startswith(">") for header in headers]
    names = [header.removeprefix(">") for header in headers]
    widths = [max(width(line[at]) for line in [names, *cells]) for at in range(len(names))]
    if columns is not None:
        widths = _squeezed(widths, columns - 2 * (len(widths) - 1))
    lines = [_line(names, widths, figures)]
    if bold:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    lines += [_line(line, widths, figures) for line in cells]
    return Table("\n".join(lines))


def _line(cells: list[str], widths: list[int], figures: list[bool]) -> str:
    shown = []
    for cell, columns, figure in zip(cells, widths, figures, strict=True):
        text = cropped(cell, columns)
        pad = " " * (columns - width(text))
        shown.append(pad + text if figure else text + pad)
    return "  ".join(shown).rstrip()


def _squeezed(widths: list[int], room: int) -> list[int]:
    widths = list(widths)
    while sum(widths) > room and max(widths) > 4:
        widths[widths.index(max(widths))] -= 1
    return widths


def size(count: int | None) -> str:
    """*count* bytes, in the unit that reads best; nothing for None."""
    if count is None:
        return "-"
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def playtime(minutes: int) -> str:
    if minutes < 1:
        return "-"
    return f"{minutes} min" if minutes < 60 else f"{minutes / 60:.1f} h" if minutes < 6000 else f"{minutes // 60} h"


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def account_state(state: str) -> str:
    return {"ok": "signed in", "signed_out": "sign in again", "private": "library is private"}.get(state, state)


def day(moment: str | None) -> str:
    """The date of an RFC 3339 moment."""
    return moment[:10] if moment else "-"

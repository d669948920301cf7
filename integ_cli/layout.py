"""Text for people: safe to print, in columns, with figures they can read."""

from __future__ import annotations

from collections.abc import Sequence

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
    from unicodedata import combining, east_asian_width  # a megabyte

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


READABLE = 20
"""Columns: what a long cell is left of, before a column that may go does go."""


class Table(str):
    """Aligned text whose cells are safe already; it may hold the one escape that makes its headers bold."""

    __slots__ = ()


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, columns: int | None = None, bold: bool = False) -> Table:
    """
    *rows* below *headers*, aligned; below a header that begins with `>` to the right.

    With *columns* a line is made to fit: columns whose header begins with `?` are left out, the last first, as long as the widest would be
    cropped below a readable width; then the widest is cropped, one that begins with `!` (what is to be typed) after all others.
    Without rows there is no text at all.
    """
    if not rows:
        return Table()
    cells = [[safe(cell) for cell in row] for row in rows]
    marks = [header[: len(header) - len(header.lstrip(">?!"))] for header in headers]
    names = [header.lstrip(">?!") for header in headers]
    widths = [max(width(line[at]) for line in [names, *cells]) for at in range(len(names))]
    if columns is not None:
        kept = _kept(widths, marks, columns)
        cells = [[line[at] for at in kept] for line in cells]
        marks, names, widths = [marks[at] for at in kept], [names[at] for at in kept], [widths[at] for at in kept]
        widths = _squeezed(widths, columns - 2 * (len(widths) - 1), [at for at, mark in enumerate(marks) if "!" not in mark])
    figures = [">" in mark for mark in marks]
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


def _kept(widths: list[int], marks: list[str], columns: int) -> list[int]:
    """Which columns there is room for."""
    kept = list(range(len(widths)))
    while True:
        least = sum(widths[at] if "!" in marks[at] else min(widths[at], READABLE) for at in kept) + 2 * (len(kept) - 1)
        spare = [at for at in kept if "?" in marks[at]]
        if least <= columns or not spare:
            return kept
        kept.remove(spare[-1])


def _squeezed(widths: list[int], room: int, first: list[int]) -> list[int]:
    widths = list(widths)
    for at_stake in (first, range(len(widths))):
        while sum(widths) > room and (widest := max(at_stake, key=widths.__getitem__, default=None)) is not None and widths[widest] > 4:
            widths[widest] -= 1
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

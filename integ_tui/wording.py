"""How things are written on the screen: foreign text made harmless, times, sizes and spans in words of a fixed width."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size

STORE_NAMES = {"steam": "Steam", "gog": "GOG"}
PLATFORM_LETTERS = {"linux": "L", "windows": "W", "mac": "M"}
PLATFORM_NAMES = {"linux": "Linux", "windows": "Windows", "mac": "macOS"}


def clean(text: str) -> str:
    """*text* on one line, without what a terminal could take for a command: control, bidi and other unprintable characters."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)


def clean_lines(text: str) -> str:
    """As `clean`, but keeps the line breaks."""
    return "\n".join(clean(line.expandtabs(4)) for line in text.splitlines())


def fit(text: str, width: int) -> str:
    """*text* in exactly *width* cells: filled up with blanks, or cut with an ellipsis."""
    if width <= 0:
        return ""
    cells = len(text) if text.isascii() else cell_len(text)
    if cells <= width:
        return text + " " * (width - cells)
    return set_cell_size(text, width - 1) + "…"


def fit_right(text: str, width: int) -> str:
    cells = cell_len(text)
    return " " * (width - cells) + text if cells <= width else fit(text, width)


def store_name(provider: str) -> str:
    return STORE_NAMES.get(provider) or clean(provider).title()


def store_names(providers: Iterable[str]) -> str:
    return ", ".join(store_name(each) for each in providers)


def platform_letters(platforms: Iterable[str]) -> str:
    """`L W M`, each at its own place."""
    have = set(platforms)
    return " ".join(letter if name in have else "·" for name, letter in PLATFORM_LETTERS.items()) if have else ""


def playtime(minutes: int) -> str:
    """At most seven cells: `45 min`, `3.5 h`, `1,204 h`; nothing when never played."""
    if minutes <= 0:
        return ""
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"


def moment(text: str | None) -> datetime | None:
    """The moment that the cache wrote as RFC 3339; None when there is none, or none that can be read."""
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def ago(when: datetime | None, now: datetime) -> str:
    """At most eleven cells: `today`, `yesterday`, `5 days ago`, `2024-03-01`."""
    if when is None:
        return ""
    days = (now.date() - when.astimezone(now.tzinfo).date()).days
    if days <= 0:
        return "today"
    if days == 1:
        return "yesterday"
    if days < 31:
        return f"{days} days ago"
    return when.strftime("%Y-%m-%d")


def size(count: int | None) -> str:
    """Bytes in decimal units, as disks and stores count them; nothing when unknown."""
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit in {"B", "kB"} else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def span(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{int(seconds)} s" if minutes < 1 else playtime(minutes)


def counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"

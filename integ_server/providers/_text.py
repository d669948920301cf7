"""What stores write, made plain: markup out of descriptions, odd numbers and moments into ones that can be trusted."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from typing import Annotated, Any

from pydantic import BeforeValidator

_BREAKS = {"br", "p", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "tr", "hr"}
_SILENT = {"script", "style"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LONGEST_TEXT = 20_000


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        if tag in _BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT))
        if tag in _BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def plain_text(markup: object) -> str:
    """HTML, or text with HTML's escapes, as paragraphs; terminal controls and direction marks are gone."""
    if not isinstance(markup, str) or not markup.strip():
        return ""
    words = _Words()
    words.feed(markup[: LONGEST_TEXT * 4])
    words.close()
    lines = (" ".join(line.split()) for line in _CONTROL.sub("", "".join(words.parts)).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()[:LONGEST_TEXT]


def plain_line(text: object) -> str:
    """A name or title: one line, no escapes, no controls."""
    return " ".join(_CONTROL.sub("", unescape(text)).split())[:500] if isinstance(text, str) else ""


def _count(value: Any) -> int:
    """A number that may be missing, a string, or nonsense: never negative, never beyond what a database holds."""
    try:
        return max(0, min(int(value or 0), 2**53))
    except (TypeError, ValueError, OverflowError):
        return 0


Count = Annotated[int, BeforeValidator(_count)]
Line = Annotated[str, BeforeValidator(plain_line)]


def moment(seconds: int) -> datetime | None:
    """An aware moment; None for the stores' ways of saying "unknown" (0, and Steam's 2 January 1970) and for what no calendar has."""
    if seconds <= 86_400 or seconds > 253_402_300_799:
        return None
    return datetime.fromtimestamp(seconds, UTC)

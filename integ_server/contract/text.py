"""What people and stores write, as it is stored and shown; the client cleans by the same rules what it shows before the backend has it."""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 300
_SHOWN_ASCII = re.compile(r"[ -~]*")


def clean_name(text: str) -> str:
    """*text* as it may be stored and shown: one line, no control characters or half characters, not endless."""
    if len(text) <= LONGEST_NAME and _SHOWN_ASCII.fullmatch(text):
        return " ".join(text.split())
    kept = "".join(" " if each.isspace() else each for each in text[: LONGEST_NAME * 4] if each.isspace() or _is_shown(each))
    return " ".join(kept.split())[:LONGEST_NAME].rstrip()


def clean_lines(text: str) -> str:
    """*text* as `clean_name()` keeps one, but with its line breaks and blanks, and as long as it is."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept = ["".join(" " if each.isspace() else each for each in line if each.isspace() or _is_shown(each)).rstrip() for line in lines]
    return "\n".join(kept).strip("\n")


def clean_options(text: str) -> str:
    """Launch options as they are kept: on one line."""
    return clean_lines(text).replace("\n", " ").strip()


def _is_shown(character: str) -> bool:
    # Cc: NUL, escape sequences; Cs: halves that no encoding takes; of Cf those that turn the writing direction of what follows
    category = unicodedata.category(character)
    return (
        category not in {"Cc", "Cs", "Cn", "Co"}
        and character not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\ufeff"
    )

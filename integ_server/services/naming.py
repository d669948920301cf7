"""Names of games: compared, sorted, and made into title ids."""

from __future__ import annotations

import re
import unicodedata

_LONGEST_SLUG = 80
_MARKS = str.maketrans("", "", "™®©℠")
_APOSTROPHES = str.maketrans("", "", "'’‘ʼ`´")
_NO_APOSTROPHE = re.compile(r"['`]")
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_ARTICLE = re.compile(r"(?:the|an?) (?=\S)")
_GAME_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def match_name(name: str) -> str:
    """
    What two names of the same game have in common: no case, accents, punctuation or trade marks.

    Numerals and edition words stay: "Part II" is not "Part 2" for certain, and a "Definitive Edition" is another game.
    """
    if name.isascii():  # nearly all are, and it is ten times as quick
        plain = _NO_APOSTROPHE.sub("", name).lower().replace("&", " and ").replace("+", " plus ")
        return _NOT_A_WORD.sub(" ", plain).strip()
    folded = unicodedata.normalize("NFKD", name.translate(_MARKS).translate(_APOSTROPHES)).casefold()
    # Casefolding may compose anew (ß, İ): take it apart once more, then drop the accents.
    plain = "".join(each for each in unicodedata.normalize("NFKD", folded) if not _is_accent(each))
    whole = unicodedata.normalize("NFC", plain.replace("&", " and ").replace("+", " plus "))
    spaced = "".join(each if each.isalnum() or unicodedata.category(each)[0] == "M" else " " for each in whole)
    return " ".join(spaced.split())


def _is_accent(character: str) -> bool:
    # Only the marks of Latin, Greek and Cyrillic: in Japanese or Hindi a combining mark makes another letter.
    return "\u0300" <= character <= "\u036f"


def sort_name(name: str, matched: str | None = None) -> str:
    """Where *name* stands in a sorted list: an article at the front does not count. *matched* is its `match_name()`, if known."""
    plain = (match_name(name) if matched is None else matched) or name.casefold()
    return _ARTICLE.sub("", plain, count=1) if _ARTICLE.match(plain) else plain


def slug_of(matched: str) -> str:
    """A title id for a `match_name()`; empty when nothing in it can be typed."""
    return matched.replace(" ", "-")[:_LONGEST_SLUG].strip("-")


def is_key(text: str) -> bool:
    """Whether *text* has the form of a release's key, `provider:id`."""
    provider, colon, game_id = text.partition(":")
    return bool(colon) and is_game_id(provider) and is_game_id(game_id)


def is_game_id(text: str) -> bool:
    """Whether *text* can be a store's id of a game: it becomes part of keys, addresses and folder names."""
    return _GAME_ID.fullmatch(text) is not None

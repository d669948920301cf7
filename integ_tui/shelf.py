"""The library as the browser holds it: one light tuple a title, searched and sorted in memory. Knows nothing of Textual."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from integ_runtime.cache.records import TitleRow
from integ_tui.wording import clean


class Entry(NamedTuple):
    """One title; its texts are clean already."""

    title_id: str
    title: str
    folded: str
    """What the filter looks at."""
    stores: tuple[str, ...]
    platforms: tuple[str, ...]
    installed: bool
    playtime_min: int
    last_played_at: str
    """RFC 3339 in UTC, so that text order is time order; empty when never."""
    favourite: bool
    update_available: bool


class Tab(NamedTuple):
    name: str
    label: str
    holds: Callable[[Entry], bool]


TABS = (
    Tab("all", "All", lambda entry: True),
    Tab("steam", "Steam", lambda entry: "steam" in entry.stores),
    Tab("gog", "GOG", lambda entry: "gog" in entry.stores),
    Tab("installed", "Installed", lambda entry: entry.installed),
)


class Sort(NamedTuple):
    name: str
    label: str
    key: Callable[[Entry], Any] | None
    """None keeps the shelf's own order, which is by title."""
    most_first: bool = False


SORTS = (
    Sort("title", "title", None),
    Sort("playtime", "play time", lambda entry: entry.playtime_min, most_first=True),
    Sort("last_played", "last played", lambda entry: entry.last_played_at, most_first=True),
)

_BLANKS = {ord(char): " " for char in map(chr, range(33, 127)) if not char.isalnum()}
_SEEN = _BLANKS | {ord("'"): None}
_SIGNS = {ord(sign): None for sign in "’™®©"}


def fold(text: str) -> str:
    """*text* as the filter compares it: case, accents, apostrophes and other signs make no difference."""
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text.translate(_SIGNS).casefold())
        text = "".join(char for char in apart if not unicodedata.combining(char)).casefold()
    return " ".join(text.translate(_SEEN).lower().split())


def entry_of(row: TitleRow) -> Entry:
    platforms = {each for release in row.releases for each in release.platforms}
    title = clean(row.title) or row.title_id
    return Entry(
        title_id=row.title_id,
        title=title,
        folded=fold(title),
        stores=tuple(dict.fromkeys(release.provider for release in row.releases)),
        platforms=tuple(each for each in ("linux", "windows", "mac") if each in platforms),
        installed=row.installed,
        playtime_min=row.playtime_min,
        last_played_at=row.last_played_at or "",
        favourite=row.favourite,
        update_available=any(release.update_available for release in row.releases),
    )


def entries_of(rows: Iterable[TitleRow]) -> list[Entry]:
    """*rows* as entries in the same order; for a thread, since it takes a while for a big library."""
    return [entry_of(row) for row in rows]


class Shelf:
    """All entries, and the views of them: each view is remembered until the entries change."""

    def __init__(self, entries: list[Entry] | None = None) -> None:
        self.entries = entries or []
        self._ordered: dict[tuple[str, str, bool], list[Entry]] = {}
        self._last: tuple[tuple[str, str, bool], str, list[Entry]] | None = None
        self.counts = {tab.name: sum(map(tab.holds, self.entries)) for tab in TABS}

    def view(self, tab: str = "all", text: str = "", sort: str = "title", backwards: bool = False) -> list[Entry]:
        """The entries of *tab* that hold every word of *text*; by title, those that begin with it come first."""
        order = (tab, sort, backwards)
        wanted = fold(text)
        entries = self._in_order(*order)
        if not wanted:
            self._last = None
            return entries
        if self._last is not None and self._last[0] == order and wanted.startswith(self._last[1]):
            entries = self._last[2]
        for word in wanted.split():
            entries = [entry for entry in entries if word in entry.folded]
        self._last = (order, wanted, entries)
        return self._best_first(entries, wanted) if sort == "title" and not backwards else entries

    def _in_order(self, tab: str, sort: str, backwards: bool) -> list[Entry]:
        order = (tab, sort, backwards)
        if order not in self._ordered:
            holds = next((each.holds for each in TABS if each.name == tab), TABS[0].holds)
            by = next((each for each in SORTS if each.name == sort), SORTS[0])
            entries = [entry for entry in self.entries if holds(entry)]
            if by.key is not None:
                entries.sort(key=by.key, reverse=by.most_first)
            if backwards:
                entries.reverse()
            self._ordered[order] = entries
        return self._ordered[order]

    @staticmethod
    def _best_first(entries: list[Entry], wanted: str) -> list[Entry]:
        begins = [entry for entry in entries if entry.folded.startswith(wanted)]
        if not begins:
            return entries
        return begins + [entry for entry in entries if not entry.folded.startswith(wanted)]

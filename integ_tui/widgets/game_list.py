"""The titles of the library, one line each, with as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from integ_tui.shelf import Entry
from integ_tui.widgets.row_list import Cell, RowList
from integ_tui.wording import ago, fit, fit_right, moment, platform_letters, playtime, store_names


class Columns(NamedTuple):
    """Widths in cells; 0 leaves a column out. The title takes what is left."""

    title: int
    stores: int
    platforms: int
    played: int
    last: int


GAP = 2
_MARK = 2


def columns_for(width: int) -> Columns:
    """What fits into *width* cells: last played goes first, then platforms, then stores."""
    stores, platforms, played, last = (10, 5, 8, 11) if width >= 70 else (10, 5, 8, 0) if width >= 56 else (0, 0, 8, 0)
    taken = sum(each + GAP for each in (stores, platforms, played, last) if each)
    return Columns(max(8, width - _MARK - taken), stores, platforms, played, last)


class GameList(RowList[Entry]):
    """The list itself; `running` are the title ids of games that are being played."""

    def __init__(self, *, empty: str = "", id: str | None = None) -> None:
        super().__init__(empty=empty, id=id)
        self.running: frozenset[str] = frozenset()
        self.now = datetime.now(UTC)
        self._columns = columns_for(0)
        self._columns_width = 0

    def show_entries(self, entries: Sequence[Entry], cursor: int, now: datetime) -> None:
        self.now = now
        self.show_rows(entries, cursor)

    def show_running(self, title_ids: frozenset[str]) -> None:
        if title_ids != self.running:
            self.running = title_ids
            self._strips.clear()
            self.refresh()

    def cells(self, row: Entry, width: int) -> list[Cell]:
        if width != self._columns_width:
            self._columns, self._columns_width = columns_for(width), width
        columns = self._columns
        mark, part = ("▶ ", "good") if row.title_id in self.running else _mark(row)
        found: list[Cell] = [(mark, part), (fit(row.title, columns.title), "title")]
        rest = ""
        if columns.stores:
            rest += "  " + fit(store_names(row.stores), columns.stores)
        if columns.platforms:
            rest += "  " + fit(platform_letters(row.platforms), columns.platforms)
        if columns.played:
            rest += "  " + fit_right(playtime(row.playtime_min), columns.played)
        if columns.last:
            rest += "  " + fit_right(ago(moment(row.last_played_at), self.now), columns.last)
        return [*found, (rest, "dim")]


def _mark(entry: Entry) -> Cell:
    if entry.installed:
        return ("↑ ", "warn") if entry.update_available else ("✓ ", "good")
    return "  ", "dim"


class GameListHeader(Widget):
    """The names of the columns above a `GameList`."""

    COMPONENT_CLASSES = {"game-list-header--name"}

    def __init__(self) -> None:
        super().__init__()
        self.sort, self.backwards = "title", False

    def show_order(self, sort: str, backwards: bool) -> None:
        self.sort, self.backwards = sort, backwards
        self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        columns = columns_for(max(0, width - 2))  # as the rows: a mark before, a cell for the scroll bar after
        text = " " * (1 + _MARK) + fit(self._heading("Title", "title"), columns.title)
        if columns.stores:
            text += "  " + fit("Stores", columns.stores)
        if columns.platforms:
            text += "  " + fit("Runs", columns.platforms)
        if columns.played:
            text += "  " + fit_right(self._heading("Played", "playtime"), columns.played)
        if columns.last:
            text += "  " + fit_right(self._heading("Last", "last_played"), columns.last)
        return Strip([Segment(fit(text, width), self.get_component_rich_style("game-list-header--name"))], width)

    def _heading(self, name: str, sort: str) -> str:
        if sort != self.sort:
            return name
        most_first = (sort != "title") != self.backwards
        return f"{name} {'▼' if most_first else '▲'}"

"""A list that draws only the rows in view, however many there are: Textual's line API, a cursor, and no widget a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from integ_tui.wording import fit

Row = TypeVar("Row")
Cell = tuple[str, str]
"""A text already fitted to its width, and the part of the row it is: `title`, `dim`, `good` or `warn`."""


class RowList(ScrollView, Generic[Row], can_focus=True, inherit_bindings=False):
    """Rows of *Row* with a cursor; a subclass says in `cells` what a row looks like."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "row-list--title",
        "row-list--dim",
        "row-list--good",
        "row-list--warn",
        "row-list--cursor",
        "row-list--cursor-blurred",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor(-1)", "Up", show=False, id="list.up", tooltip="One row up"),
        Binding("down,j", "cursor(1)", "Down", show=False, id="list.down", tooltip="One row down"),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, id="list.page_up", tooltip="One page up"),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, id="list.page_down", tooltip="One page down"),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", show=False, id="list.half_up", tooltip="Half a page up"),
        Binding("ctrl+d", "page(0.5)", "Half a page down", show=False, id="list.half_down", tooltip="Half a page down"),
        Binding("home,g", "cursor_to(0)", "First", show=False, id="list.first", tooltip="The first row"),
        Binding("end,G", "cursor_to(-1)", "Last", show=False, id="list.last", tooltip="The last row"),
        Binding("enter", "choose", "Choose", show=False, id="list.choose", tooltip="Choose this row"),
    ]

    cursor: reactive[int] = reactive(0)
    """The row the cursor is on; 0 when there are none."""

    class Moved(Message):
        """The cursor stands on another row, or the rows are other ones; a newer one makes this void."""

        def __init__(self, row_list: RowList[Any]) -> None:
            super().__init__()
            self.row_list = row_list

        @property
        def control(self) -> RowList[Any]:
            return self.row_list

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RowList.Moved) and message.row_list is self.row_list

    class Chosen(Message):
        """Enter, or a click on the row the cursor was on."""

        def __init__(self, row_list: RowList[Any]) -> None:
            super().__init__()
            self.row_list = row_list

        @property
        def control(self) -> RowList[Any]:
            return self.row_list

    def __init__(self, *, empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: Sequence[Row] = ()
        self.empty = empty
        """What stands there when there are no rows."""
        self._strips: dict[tuple[int, str], Strip] = {}

    # what a subclass says

    def cells(self, row: Row, width: int) -> list[Cell]:
        """The parts of *row*, together *width* cells wide."""
        return [(fit(str(row), width), "title")]

    # rows and cursor

    @property
    def chosen(self) -> Row | None:
        """The row the cursor is on."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def show_rows(self, rows: Sequence[Row], cursor: int = 0) -> None:
        """Draw *rows* in place of the former ones, the cursor on row number *cursor*."""
        self.rows = rows
        self._strips.clear()
        self.virtual_size = Size(0, len(rows))
        wanted = max(0, min(cursor, len(rows) - 1))
        self.set_reactive(RowList.cursor, wanted)
        self._keep_cursor_in_view()
        self.refresh()
        self.post_message(self.Moved(self))

    def say_empty(self, text: str) -> None:
        self.empty = text
        if not self.rows:
            self.refresh()

    def validate_cursor(self, cursor: int) -> int:
        return max(0, min(cursor, len(self.rows) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        if old == new:
            return
        self.refresh_line(old)
        self.refresh_line(new)
        self._keep_cursor_in_view()
        self.post_message(self.Moved(self))

    def _keep_cursor_in_view(self) -> None:
        if self.size.height:
            self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True, immediate=True, x_axis=False)

    def action_cursor(self, by: int) -> None:
        self.cursor += by

    def action_page(self, by: float) -> None:
        self.cursor += int(by * max(1, self.size.height - 1))

    def action_cursor_to(self, row: int) -> None:
        self.cursor = row if row >= 0 else len(self.rows) - 1

    def action_choose(self) -> None:
        if self.chosen is not None:
            self.post_message(self.Chosen(self))

    def on_click(self, event: events.Click) -> None:
        row = event.y + self.scroll_offset.y
        if row >= len(self.rows):
            return
        again = row == self.cursor and event.chain > 1
        self.cursor = row
        if again:
            self.post_message(self.Chosen(self))

    # drawing

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def on_resize(self) -> None:
        self._strips.clear()
        self._keep_cursor_in_view()

    def watch_has_focus(self, value: bool) -> None:
        super().watch_has_focus(value)
        self.refresh_line(self.cursor)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        row = y + self.scroll_offset.y
        if row >= len(self.rows):
            return self._blank_line(y, width)
        state = "" if row != self.cursor else "cursor" if self.has_focus else "cursor-blurred"
        strip = self._strips.get((row, state))
        if strip is None:
            if len(self._strips) > 512:
                self._strips.clear()
            strip = self._strips[row, state] = self._row_strip(row, state, width)
        return strip

    def _row_strip(self, row: int, state: str, width: int) -> Strip:
        mark = "▌" if state else " "  # seen without colours too
        cells = [(mark, "title"), *self.cells(self.rows[row], max(0, width - 2)), (" ", "dim")]  # the scroll bar lies over the last cell
        if state:
            style = self.get_component_rich_style(f"row-list--{state}")
            return Strip([Segment("".join(text for text, _ in cells), style)], width)
        return Strip([Segment(text, self._style(part)) for text, part in cells if text], width)

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"row-list--{part}")

    def _blank_line(self, y: int, width: int) -> Strip:
        if self.rows or not self.empty:
            return Strip.blank(width, self.rich_style)
        lines = self.empty.splitlines()
        number = y - max(0, (self.size.height - len(lines)) // 3)
        if not 0 <= number < len(lines):
            return Strip.blank(width, self.rich_style)
        return Strip([Segment(fit(f"  {lines[number]}", width), self._style("dim"))], width)

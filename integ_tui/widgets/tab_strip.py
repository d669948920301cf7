"""Tabs on one line, each with its key and the number of things behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget


class TabStrip(Widget):
    """One line of tabs: the active one stands in brackets as well as in colour. Clicks and `step` change it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tab-strip--tab", "tab-strip--active", "tab-strip--brand"}

    active: reactive[str] = reactive("")

    class Activated(Message):
        """Another tab is the active one."""

        def __init__(self, strip: TabStrip, name: str) -> None:
            super().__init__()
            self.strip, self.name = strip, name

        @property
        def control(self) -> TabStrip:
            return self.strip

    def __init__(self, tabs: Sequence[tuple[str, str]], *, brand: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.tabs = list(tabs)
        """Name and label of each."""
        self.brand = brand
        self.counts: Mapping[str, int] = {}
        if self.tabs:
            self.set_reactive(TabStrip.active, self.tabs[0][0])

    def show_counts(self, counts: Mapping[str, int]) -> None:
        if counts != self.counts:
            self.counts = dict(counts)
            self.refresh()

    def show_tabs(self, tabs: Sequence[tuple[str, str]], active: str) -> None:
        self.tabs = list(tabs)
        self.set_reactive(TabStrip.active, active)
        self.refresh()

    def step(self, by: int) -> None:
        names = [name for name, _ in self.tabs]
        if names:
            self.active = names[(names.index(self.active) + by) % len(names)]

    def watch_active(self, old: str, new: str) -> None:
        if old != new:
            self.post_message(self.Activated(self, new))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1

    def _pieces(self) -> list[tuple[str, str, str]]:
        """Text, tab (or nothing) and part of each piece, with counts where they fit."""
        with_counts = self._laid_out(counts=True)
        fits = sum(cell_len(text) for text, _, _ in with_counts) <= self.size.width
        return with_counts if fits else self._laid_out(counts=False)

    def _laid_out(self, *, counts: bool) -> list[tuple[str, str, str]]:
        pieces = [(f" {self.brand} ", "", "brand"), (" ", "", "tab")] if self.brand else []
        for name, label in self.tabs:
            number = f" {self.counts[name]:,}" if counts and name in self.counts else ""
            text = f"[{label}{number}]" if name == self.active else f" {label}{number} "
            pieces.append((text, name, "active" if name == self.active else "tab"))
        return pieces

    def render_line(self, y: int) -> Strip:
        segments = [Segment(text, self.get_component_rich_style(f"tab-strip--{part}")) for text, _, part in self._pieces()]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def on_click(self, event: events.Click) -> None:
        x = 0
        for text, name, _ in self._pieces():
            x += cell_len(text)
            if event.x < x:
                self.active = name or self.active
                return

"""The bottom line: the keys that do something here, as many as fit, each clickable; what can't be done now is dim."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget


class KeyHint(NamedTuple):
    key: str
    shown: str
    label: str
    enabled: bool


ALWAYS = ("cancel", "help", "quit")
"""Actions whose keys stay at the right, however narrow it gets."""


class KeyBar(Widget):
    """
    Follows the screen's active bindings, like Textual's Footer.

    Unlike it, one widget draws them all, and what does not fit is left out whole, so that `? Help` and `q Quit` are always there.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--label", "key-bar--off"}

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[KeyHint] = []
        self.last: list[KeyHint] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self.show_bindings)
        self.show_bindings(self.screen)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def show_bindings(self, screen: Screen[Any]) -> None:
        if screen is not self.screen or not self.is_attached:
            return
        hints: list[KeyHint] = []
        last: list[KeyHint] = []
        seen: set[str] = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if not binding.show or binding.action in seen:
                continue
            seen.add(binding.action)
            hint = KeyHint(binding.key, self.app.get_key_display(binding), binding.description, active.enabled)
            (last if binding.action in ALWAYS else hints).append(hint)
        if (hints, last) != (self.hints, self.last):
            self.hints, self.last = hints, last
            self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1

    def _laid_out(self) -> list[tuple[int, KeyHint]]:
        """The x of each hint that fits."""
        room = self.size.width - sum(_width(hint) for hint in self.last)
        placed: list[tuple[int, KeyHint]] = []
        x = 0
        for hint in self.hints:
            if x + _width(hint) > room:
                break
            placed.append((x, hint))
            x += _width(hint)
        x = max(room, 0)
        for hint in self.last:
            placed.append((x, hint))
            x += _width(hint)
        return placed

    def render_line(self, y: int) -> Strip:
        key, label, off = (self.get_component_rich_style(f"key-bar--{part}") for part in ("key", "label", "off"))
        segments: list[Segment] = []
        at = 0
        for x, hint in self._laid_out():
            segments.append(Segment(" " * (x - at), label))
            segments.append(Segment(f" {hint.shown}", key if hint.enabled else off))
            segments.append(Segment(f" {hint.label} ", label if hint.enabled else off))
            at = x + _width(hint)
        return Strip(segments).adjust_cell_length(self.size.width, label)

    def on_click(self, event: events.Click) -> None:
        for x, hint in self._laid_out():
            if x <= event.x < x + _width(hint) and hint.enabled:
                self.app.simulate_key(hint.key)


def _width(hint: KeyHint) -> int:
    return cell_len(hint.shown) + cell_len(hint.label) + 3

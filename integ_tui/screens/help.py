"""Every key that does something on the screen below, searchable."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Input, Label

from integ_tui.screens.base import IntegModal
from integ_tui.shelf import fold
from integ_tui.widgets.row_list import Cell, RowList
from integ_tui.wording import fit


class KeyLine(NamedTuple):
    keys: str
    what: str
    name: str
    """The binding's id, by which it can be given other keys."""


class KeyLines(RowList[KeyLine]):
    def cells(self, row: KeyLine, width: int) -> list[Cell]:
        keys = 10
        name = 17 if width >= 60 else 0
        found: list[Cell] = [(fit(row.keys, keys), "good"), (fit(f" {row.what}", max(0, width - keys - name)), "title")]
        return [*found, (fit(f" {row.name}", name), "dim")] if name else found


def key_lines(screen: Screen[object]) -> list[KeyLine]:
    """The active bindings of *screen*, keys for the same action together, what is this screen's own first."""
    together: dict[tuple[str, str], list[str]] = {}
    words: dict[tuple[str, str], str] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        what = binding.tooltip or binding.description
        if not what:
            continue
        which = (binding.action, binding.id or "")
        together.setdefault(which, []).append(screen.app.get_key_display(binding))
        words[which] = what
    lines = [KeyLine(" ".join(dict.fromkeys(keys)), words[which], which[1]) for which, keys in together.items()]
    return sorted(lines, key=lambda line: 2 if not line.name else 1 if line.name.startswith("list.") else 0)  # the screen's own first


class HelpScreen(IntegModal[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="help.leave"),
        Binding("down", "into_list", "To the list", show=False, id="help.list"),
    ]

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        self.lines = key_lines(below)

    def compose(self) -> ComposeResult:
        with Vertical(classes="box -tall"):
            yield Label("Keys", classes="box-title")
            yield Input(placeholder="type to search the keys", compact=True, id="help-search")
            yield KeyLines(empty="No key does that.")

    def on_mount(self) -> None:
        self.query_one(KeyLines).show_rows(self.lines)
        self.query_one(Input).focus()

    @on(Input.Changed, "#help-search")
    def _search(self, event: Input.Changed) -> None:
        words = fold(event.value).split()
        found = [line for line in self.lines if all(word in fold(f"{line.keys} {line.what} {line.name}") for word in words)]
        asked = event.value.strip()
        if asked and not words:  # a sign such as ? or / is a key itself
            found = [line for line in self.lines if asked in line.keys]
        self.query_one(KeyLines).show_rows(found)

    @on(Input.Submitted)
    def action_into_list(self) -> None:
        self.query_one(KeyLines).focus()

    def action_leave(self) -> None:
        self.dismiss(None)

"""Questions in a box: yes or no, and one of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Label, OptionList
from textual.widgets.option_list import Option

from integ_tui.screens.base import IntegModal


class ConfirmScreen(IntegModal[bool]):
    """Yes or no; Esc and closing mean no, and no is what Enter does for a question that loses something."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape,q", "answer(False)", "No", id="confirm.no"),
        Binding("left,right,h,l", "other_button", "Other button", show=False, id="confirm.other"),
    ]

    def __init__(self, question: str, *, detail: str = "", yes: str = "Yes", no: str = "No", danger: bool = False) -> None:
        super().__init__()
        self.question, self.detail, self.yes, self.no, self.danger = question, detail, yes, no, danger

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Label(self.question, markup=False, classes="box-title")
            if self.detail:
                with VerticalScroll(classes="box-detail", can_focus=False):
                    yield Label(self.detail, markup=False)
            with Horizontal(classes="box-buttons"):
                yield Button(self.no, id="no", compact=True)
                yield Button(self.yes, id="yes", variant="error" if self.danger else "primary", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no" if self.danger else "#yes", Button).focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_other_button(self) -> None:
        self.focus_next(Button)


class ChooseScreen(IntegModal[str | None]):
    """One of several; gives its name, or None when the player left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Back", id="choose.leave"),
        Binding("j", "down", "Down", show=False, id="choose.down"),
        Binding("k", "up", "Up", show=False, id="choose.up"),
    ]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.question, self.choices = question, choices

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Label(self.question, markup=False, classes="box-title")
            yield OptionList(*(Option(label, id=str(number)) for number, (_, label) in enumerate(self.choices)), markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_down(self) -> None:
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        self.query_one(OptionList).action_cursor_up()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.choices[event.option_index][0])

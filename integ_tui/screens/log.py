"""The end of a log, for a game that failed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Label, Static

from integ_tui.screens.base import IntegScreen
from integ_tui.wording import clean_lines

TAIL_BYTES = 64 * 1024


def read_tail(log: Path) -> str:
    """The last `TAIL_BYTES` of *log*; says so when it can't be read."""
    try:
        with log.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(max(0, length - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError as error:
        return f"The log can't be read: {error.strerror or error}"
    if length > TAIL_BYTES:
        text = f"… the first {length - TAIL_BYTES:,} bytes are left out\n{text.partition(chr(10))[2]}"
    return clean_lines(text) or "The log is empty."


class LogScreen(IntegScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Back", id="log.leave"),
        Binding("r", "read", "Read again", id="log.read", tooltip="Read the log again"),
        Binding("y", "copy", "Copy path", id="log.copy", tooltip="Copy the log's path to the clipboard"),
        Binding("j", "scroll(1)", "Down", show=False, id="log.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="log.up"),
    ]

    def __init__(self, title: str, log: Path) -> None:
        super().__init__()
        self.game_title, self.log_path = title, log

    def compose_content(self) -> ComposeResult:
        yield Label(f"{self.game_title}\n{self.log_path}", markup=False, classes="screen-title")
        with VerticalScroll(classes="pane"):
            yield Static("", markup=False, id="log-text")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self.action_read()

    @work(exclusive=True, group="log")
    async def action_read(self) -> None:
        text = await asyncio.to_thread(read_tail, self.log_path)
        self.query_one("#log-text", Static).update(text)
        self.query_one(VerticalScroll).scroll_end(animate=False)

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(str(self.log_path))
        self.notify("The log's path is in the clipboard.", markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)

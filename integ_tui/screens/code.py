"""Waiting for a yes that is said elsewhere: a QR code, its address, and how far it is."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.geometry import Size
from textual.widgets import Button, Label, Static

from integ_server.contract.errors import IntegError
from integ_tui.notices import notice_for
from integ_tui.screens.base import IntegScreen, Result
from integ_tui.widgets.qr_code import QrCode
from integ_tui.widgets.tab_strip import TabStrip
from integ_tui.wording import clean

_BARS = 2
"""Lines that the heading and the keys take."""
_LEAST_WORDS_COLUMNS = 32
_LEAST_WORDS_LINES = 5


class CodeScreen(IntegScreen[Result | None]):
    """Gives what the sign-in answers, or None when the player left; one that failed stays, to be begun again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel", id="code.leave", tooltip="Back; nothing is signed in"),
        Binding("r", "again", "Again", id="code.again", tooltip="Begin again, with a new code"),
        Binding("ctrl+o", "open", "Open", id="code.open", tooltip="Open the address in the desktop's browser"),
        Binding("ctrl+y", "copy", "Copy", id="code.copy", tooltip="Copy the address to the clipboard"),
    ]
    AUTO_FOCUS = ""  # a button that has the focus is scrolled to, and the words are not seen
    heading: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self._address = ""
        self._is_over = False

    async def sign_in(self) -> Result:
        """Begin, show what there is to show by `show_code` and `say`, and wait for the yes; an IntegError is the end."""
        raise NotImplementedError

    def compose_content(self) -> ComposeResult:
        yield TabStrip([], brand=self.heading)
        with Container(id="code-body"):
            yield QrCode(id="qr")
            with VerticalScroll(id="words", can_focus=False):
                yield Label("", id="how", markup=False, classes="form-line")
                yield Static("", id="address", markup=False)
                yield Label("", id="user-code", markup=False)
                yield Label("", id="state", markup=False)
                yield Label("", id="care", markup=False, classes="form-line")
                with Horizontal(classes="form-buttons"):
                    yield Button("Open", id="open", compact=True)
                    yield Button("Copy", id="copy", compact=True)
                    yield Button("Again", id="again", compact=True)
                    yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        self._begin()

    def on_resize(self) -> None:
        self._draw()

    @work(exclusive=True, group="sign-in")
    async def _begin(self) -> None:
        self._is_over = False
        self.show_code("", how="", care="")
        self.say("Asking for a code…")
        try:
            answer = await self.sign_in()
        except IntegError as error:
            self._is_over = True
            self.show_code("", how="", care="")
            self.say(f"{_sentence(notice_for(error).message.splitlines()[0])}\nr begins again with a new code.", "warn")
            return
        self.dismiss(answer)

    def show_code(self, address: str, *, how: str, care: str, shown: str = "", user_code: str = "") -> None:
        """*address* as a code, and *shown* of it, or all, beside; *how* is what to do with both."""
        self._address = address if address.startswith(("https://", "http://")) and address.isprintable() else ""
        self._put("#how", how)
        self._put("#address", clean(shown) or self._address)
        self._put("#user-code", f"Code  {clean(user_code)}" if user_code else "")
        self._put("#care", care)
        for name in ("open", "copy"):
            self.query_one(f"#{name}").set_class(not self._address, "-empty")
        self.query_one("#again").set_class(not self._is_over, "-empty")
        self._draw()
        self.refresh_bindings()

    def say(self, state: str, severity: str = "") -> None:
        """How far it is."""
        label = self.query_one("#state", Label)
        label.update(state)
        label.set_class(severity == "warn", "-warn")

    def _put(self, where: str, text: str) -> None:
        label = self.query_one(where, Static)
        label.update(text)
        label.set_class(not text, "-empty")  # a display of its own would win over the sheet's

    def _draw(self) -> None:
        """The code beside the words where both have room, else above them; the words alone where it has none."""
        code, room = self.query_one(QrCode), Size(self.size.width, self.size.height - _BARS)
        beside = Size(room.width - _LEAST_WORDS_COLUMNS, room.height)
        above = Size(room.width, room.height - _LEAST_WORDS_LINES)
        is_beside = code.show(self._address, beside)
        if not is_beside:
            code.show(self._address, above)
        self.query_one("#code-body").set_class(is_beside, "-beside")

    def action_again(self) -> None:
        if self._is_over:
            self._begin()

    @on(Button.Pressed, "#again")
    def _again(self) -> None:
        self.action_again()

    @on(Button.Pressed, "#open")
    async def action_open(self) -> None:
        await self.open_address(self._address)

    @on(Button.Pressed, "#copy")
    def action_copy(self) -> None:
        self.copy_address(self._address)

    @on(Button.Pressed, "#cancel")
    def action_leave(self) -> None:
        self.workers.cancel_group(self, "sign-in")
        self.dismiss(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"open", "copy"}:
            return True if self._address else False if self._is_over else None
        return self._is_over if action == "again" else True


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."

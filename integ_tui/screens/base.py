"""What every screen of Integ has: expected failures as toasts, the key bar, what goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from textual.app import ComposeResult
from textual.screen import ModalScreen, Screen

from integ_server.contract.errors import IntegError
from integ_tui.notices import notice_for
from integ_tui.widgets.activity_bar import ActivityBar
from integ_tui.widgets.key_bar import KeyBar

if TYPE_CHECKING:
    from integ_tui.app import IntegApp

Result = TypeVar("Result")


class IntegScreen(Screen[Result]):
    """A whole screen: its content, then the activities, then the keys."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]

    @property
    def integ(self) -> IntegApp:
        """The app, as what it is."""
        return cast("IntegApp", self.app)

    def compose(self) -> ComposeResult:
        yield from self.compose_content()
        yield ActivityBar()
        yield KeyBar()

    def compose_content(self) -> ComposeResult:
        yield from ()

    def on_screen_resume(self) -> None:
        self.query_one(ActivityBar).views = self.integ.activities.views
        self.query_one(KeyBar).show_bindings(self)

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        """Tell Integ's own errors as toasts; anything else is a bug and ends the app."""
        try:
            yield
        except IntegError as error:
            tell(self, error)

    async def open_address(self, address: str) -> None:
        """In the desktop's browser, or tell that there is none; without an address, nothing."""
        if address and not await self.integ.open_web(address):
            self.notify("There is no browser here: copy the address.", severity="warning", markup=False)

    def copy_address(self, address: str) -> None:
        """Into the clipboard; without an address, nothing."""
        if address:
            self.app.copy_to_clipboard(address)
            self.notify("The address is in the clipboard.", markup=False)


class IntegModal(ModalScreen[Result]):
    """A box over the screen below."""

    HORIZONTAL_BREAKPOINTS = IntegScreen.HORIZONTAL_BREAKPOINTS
    VERTICAL_BREAKPOINTS = IntegScreen.VERTICAL_BREAKPOINTS


def tell(node: Screen[Result], error: IntegError) -> None:
    notice = notice_for(error)
    node.notify(notice.message, title=notice.title, severity=notice.severity, timeout=8, markup=False)

"""The first thing a new player sees: what Integ found on this machine, and how to sign in."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.widgets import Button, Label

from integ_tui.screens.base import IntegScreen


class WelcomeScreen(IntegScreen[str | None]):
    """Gives the store to sign in to, `device` for a backend, `look` for the library as it is, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "choose('device')", "Sign in", id="welcome.device", tooltip="Sign this device in to your backend"),
        Binding("s", "choose('steam')", "Steam", id="welcome.steam", tooltip="Sign in to Steam"),
        Binding("g", "choose('gog')", "GOG", id="welcome.gog", tooltip="Sign in to GOG"),
        Binding("l,escape", "choose('look')", "Library", id="welcome.look", tooltip="Go to the library without signing in"),
        Binding("right,down,j", "app.focus_next", "Next", show=False, id="welcome.next"),
        Binding("left,up,k", "app.focus_previous", "Previous", show=False, id="welcome.previous"),
    ]

    def __init__(self, *, steam_is_here: bool, is_for_backend: bool = False) -> None:
        super().__init__()
        self.steam_is_here = steam_is_here
        self.is_for_backend = is_for_backend

    def compose_content(self) -> ComposeResult:
        found = "Steam is on this machine, with no game installed." if self.steam_is_here else "Steam was not found on this machine."
        with Container(id="welcome"), Vertical(classes="box"):
            yield Label("Welcome to Integ", classes="box-title")
            yield Label("Every game you own on Steam and GOG, in one terminal.", classes="box-line")
            yield Label(found, id="found", markup=False, classes="box-line")
            where = "Sign this device in to your backend" if self.is_for_backend else "Sign in to a store"
            yield Label(f"{where} to see the games you own there.", classes="box-line")
            with Horizontal(classes="box-buttons"):
                if self.is_for_backend:
                    yield Button("Sign in", id="device", variant="primary", compact=True)
                else:
                    yield Button("Steam", id="steam", variant="primary", compact=True)
                    yield Button("GOG", id="gog", variant="primary", compact=True)
                yield Button("Library", id="look", compact=True)

    def on_mount(self) -> None:
        self.query(Button).first().focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where a backend asks who it is, the stores come after that."""
        if action != "choose" or parameters == ("look",):
            return True
        return self.is_for_backend is (parameters == ("device",))

    def action_choose(self, what: str) -> None:
        self.dismiss(what)

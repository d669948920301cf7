"""The details of one title on a screen of their own, for terminals too narrow to show them beside the list."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from integ_tui.screens.base import IntegScreen
from integ_tui.widgets.game_details import GameDetails, Shown


class GameScreen(IntegScreen[str | None]):
    """Gives the action to take on the title, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "leave", "Back", id="game.leave"),
        Binding("p", "take('play')", "Play", id="game.play", tooltip="Start the game, its output in a log"),
        Binding("i", "take('install')", "Install", id="game.install", tooltip="Put the game on this machine"),
    ]

    def __init__(self, shown: Shown, now: datetime, allowed: frozenset[str]) -> None:
        super().__init__()
        self.shown, self.now, self.allowed = shown, now, allowed

    def compose_content(self) -> ComposeResult:
        yield GameDetails()

    def on_mount(self) -> None:
        self.show(self.shown)
        self.query_one(GameDetails).focus()

    def show(self, shown: Shown) -> None:
        """What has been read of the title meanwhile."""
        self.shown = shown
        for details in self.query(GameDetails):
            details.show(shown, self.now)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if action == "take" and parameters[0] not in self.allowed else True

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_take(self, action: str) -> None:
        self.dismiss(action)

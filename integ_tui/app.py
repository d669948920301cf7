"""The browser as a Textual app: its parts, its first screen, the keys that work everywhere."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.signal import Signal

from integ_runtime.cache.records import ReleaseRow
from integ_server.contract.errors import IntegError
from integ_tui.actions import Actions
from integ_tui.activities import Activities, ActivitiesMoved, ActivityView
from integ_tui.browser import open_in_browser
from integ_tui.notices import notice_for
from integ_tui.themes import DARK, LIGHT, THEMES
from integ_tui.widgets.activity_bar import ActivityBar
from integ_tui.wording import clean

if TYPE_CHECKING:
    from integ_tui.parts import Parts
    from integ_tui.screens.library import LibraryScreen


def local_now() -> datetime:
    return datetime.now(UTC).astimezone()


class IntegApp(App[int]):
    """The full-screen browser; gives its exit code."""

    TITLE = "Integ"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("?", "help", "Help", id="app.help", tooltip="All keys of this screen"),
        Binding("q", "quit", "Quit", id="app.quit", tooltip="Leave Integ"),
        Binding("c", "cancel", "Cancel", id="app.cancel", tooltip="Cancel what is going on"),
        Binding("t", "turn_theme", "Dark or light", show=False, id="app.theme", tooltip="Change between the dark and the light theme"),
    ]

    def __init__(
        self,
        parts: Parts,
        *,
        clock: Callable[[], datetime] = local_now,
        open_url: Callable[[str], Awaitable[bool]] = open_in_browser,
        watch_s: float = 1.0,
        theme: str | None = None,
        install_options: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        self.parts = parts
        self.clock = clock
        self.open_web = open_url
        self._watch_s = watch_s
        self.activities = Activities(self, self.tell_failure, self.tell)
        self.actions = Actions(
            parts, self.activities, told=self.tell, failed=self.tell_failure, changed=self.tell_changed, options=install_options
        )
        self.library_changed: Signal[None] = Signal(self, "library_changed")
        self.activities_moved: Signal[tuple[ActivityView, ...]] = Signal(self, "activities_moved")
        for each in THEMES:
            self.register_theme(each)
        self.theme = theme if theme in self.available_themes else DARK.name

    def get_default_screen(self) -> Screen[object]:
        from integ_tui.screens.library import LibraryScreen

        return cast("Screen[object]", LibraryScreen(self.parts, watch_s=self._watch_s))

    @property
    def library_screen(self) -> LibraryScreen:
        return cast("LibraryScreen", self.screen_stack[0])

    # telling

    def tell(self, message: str, **options: object) -> None:
        self.notify(message, markup=False, **options)  # type: ignore[arg-type]

    def tell_failure(self, error: IntegError) -> None:
        notice = notice_for(error)
        self.notify(notice.message, title=notice.title, severity=notice.severity, timeout=8, markup=False)

    def tell_changed(self) -> None:
        self.library_changed.publish(None)

    def on_activities_moved(self, message: ActivitiesMoved) -> None:
        self.activities.heard()
        views = self.activities.views
        for bar in self.screen.query(ActivityBar):
            if bool(bar.views) != bool(views):
                self.screen.refresh_bindings()
            bar.views = views
        self.activities_moved.publish(views)

    def on_activity_bar_pressed(self) -> None:
        self.action_cancel()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Cancel is there while there is something to cancel."""
        return len(self.activities) > 0 if action == "cancel" else True

    # screens

    async def welcome(self) -> None:
        """Greet a player who has no account; waits for the answer and follows it."""
        from integ_tui.screens.welcome import WelcomeScreen

        def roots() -> object:
            return self.parts.steam.roots()  # made here, for its import

        found = await asyncio.to_thread(roots)
        is_for_backend = await self.parts.needs_device_login()
        answer = await self.push_screen_wait(WelcomeScreen(steam_is_here=bool(found), is_for_backend=is_for_backend))
        if answer not in {None, "look"}:
            self.show_accounts(None if answer == "device" else answer)

    def show_accounts(self, store: str | None = None) -> None:
        self.run_worker(self._show_accounts(store), group="screen", exclusive=True)

    async def _show_accounts(self, store: str | None) -> None:
        from integ_tui.screens.login import LoginScreen

        accounts = await asyncio.to_thread(lambda: self.parts.accounts)  # a heavy import
        try:
            if await self.parts.needs_device_login():
                if not await self._sign_device_in():
                    return
                self.tell_changed()
                if await accounts.all():  # of before, or linked on the page
                    self.actions.sync()
                    return
        except IntegError as error:
            self.tell_failure(error)
            return
        self.push_screen(LoginScreen(accounts, store), self._signed_in)

    async def _sign_device_in(self) -> bool:
        """Whether the player said yes in a browser."""
        from integ_tui.screens.device import DeviceScreen

        login = await asyncio.to_thread(lambda: self.parts.device)
        signed_in = await self.push_screen_wait(DeviceScreen(login))
        if signed_in is None:
            return False
        self.tell(f"Signed in to this backend as {clean(signed_in.user.name)}.", title="Signed in")
        if signed_in.place == "memory":
            self.tell("It ends with Integ: there is no keyring here, and a sign-in is never written to a disk.", severity="warning")
        return True

    def _signed_in(self, provider: str | None) -> None:
        if provider:
            self.actions.sync([provider])

    def show_proton(self) -> None:
        self.run_worker(self._show_proton(), group="screen", exclusive=True)

    async def _show_proton(self) -> None:
        from integ_tui.screens.proton import ProtonScreen

        proton = await asyncio.to_thread(lambda: self.parts.proton)
        self.push_screen(ProtonScreen(proton))

    def show_log(self) -> None:
        from integ_tui.screens.log import LogScreen

        if self.actions.last_log is not None:
            self.push_screen(LogScreen(*self.actions.last_log))

    def action_help(self) -> None:
        from integ_tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    # keys that work everywhere

    def action_turn_theme(self) -> None:
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    def action_cancel(self) -> None:
        self.run_worker(self._cancel_one(), group="cancel", exclusive=True)

    async def _cancel_one(self) -> None:
        from integ_tui.screens.confirm import ChooseScreen, ConfirmScreen

        views = self.activities.views
        if not views:
            self.tell("Nothing is going on.")
            return
        name: str | None = views[0].name
        if len(views) > 1:
            name = await self.push_screen_wait(ChooseScreen("Cancel what?", [(view.name, view.label) for view in views]))
        if name is None:
            return
        question = self.activities.stop_question(name)
        if not question or await self.push_screen_wait(ConfirmScreen(question, yes="Stop", no="Go on", danger=True)):
            self.activities.cancel(name)

    async def action_quit(self) -> None:
        """Leave at once, or ask when that would end something; a game that is played goes on."""
        lost = self.activities.lost_by_leaving()
        if not lost:
            self.exit(0)
            return
        from integ_tui.screens.confirm import ConfirmScreen

        detail = "\n".join(f"• {label}" for label in lost)
        ask = ConfirmScreen("Leave and end what is going on?", detail=detail, yes="Leave", no="Stay", danger=True)
        self.push_screen(ask, lambda leave: self.exit(0) if leave else None)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Everything a key does here, and the themes."""
        seen: set[str] = set()
        for node, binding, enabled, tooltip in screen.active_bindings.values():
            if not enabled or binding.action in seen or not binding.id or binding.id.startswith("list."):
                continue
            seen.add(binding.action)

            async def run(action: str = binding.action, namespace: object = node) -> None:
                await self.run_action(action, namespace)  # type: ignore[arg-type]

            key = self.get_key_display(binding)
            yield SystemCommand(tooltip or binding.description, f"{binding.description} · key {key}", run)
        yield SystemCommand("Choose a theme", "Dark, light and all others", self.action_change_theme)

    # the terminal for a game

    @property
    def can_suspend(self) -> bool:
        return self._driver is not None and self._driver.can_suspend

    async def play_here(self, release: ReleaseRow) -> None:
        """
        Give the terminal to a native game until it ends.

        The event loop goes on, so all drawing is held back meanwhile: the driver can't take any then.
        """
        launcher = await self.actions.launcher()
        plan = await launcher.plan(release.key)
        title = clean(release.title)
        if plan.runner != "native":
            self.tell(f"{title} is no native Linux game.\n→ p plays it, its output in a log", title="Not in a terminal", severity="warning")
            return
        self.actions.here.add(release.key)
        with self.batch_update(), self.suspend():
            try:
                outcome = await launcher.run(plan, attach=True)
                if outcome.exit_code:
                    await _hold(f"\n{title} ended with exit code {outcome.exit_code}. Enter leads back to Integ.")
            except IntegError as error:
                await _hold(f"\n{notice_for(error).message}\nEnter leads back to Integ.")
                raise
            finally:
                self.actions.here.discard(release.key)
        self.refresh(layout=True)
        self.actions.ended(title, outcome)


async def _hold(message: str) -> None:
    """Leave the game's last words on the terminal until the player has read them."""

    def ask() -> None:
        terminal = sys.__stdout__
        if terminal is None or sys.__stdin__ is None:
            return
        terminal.write(message)
        terminal.flush()
        sys.__stdin__.readline()

    await asyncio.to_thread(ask)


async def run_browser(runtime: Parts) -> int:
    """Run the browser inside an opened runtime until the player leaves; its exit code."""
    app = IntegApp(runtime, theme=os.environ.get("TEXTUAL_THEME"))
    code = await app.run_async()
    return app.return_code or code or 0

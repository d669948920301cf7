"""What works on every screen: help, the palette, themes, the end."""

from __future__ import annotations

import pytest
from rich.color import Color, ColorSystem
from textual.binding import Binding
from textual.command import CommandList, CommandPalette
from textual.dom import DOMNode
from textual.widgets import Input

from integ_tui.app import IntegApp, run_browser
from integ_tui.screens.confirm import ConfirmScreen
from integ_tui.screens.game import GameScreen
from integ_tui.screens.help import HelpScreen, KeyLines
from integ_tui.screens.library import LibraryScreen
from integ_tui.screens.log import LogScreen
from integ_tui.screens.login import LoginScreen
from integ_tui.screens.proton import ProtonScreen
from integ_tui.screens.welcome import WelcomeScreen
from integ_tui.widgets.game_list import GameList
from integ_tui.widgets.key_bar import KeyBar
from tests.tui.fakes_tui import FakeLauncher, FakeRuntime, app_with, settled, shown_toasts, until
from tests.tui.test_library_screen import screen_text


async def test_q_leaves_with_0() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("q")
    assert app.return_value == 0


async def test_help_lists_the_keys_of_the_screen_and_finds_one() -> None:
    app = app_with()
    async with app.run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        lines = app.screen.query_one(KeyLines)
        assert len(lines.rows) > 20
        await pilot.press(*"proton")
        await settled(pilot)
        assert [line.name for line in lines.rows] == ["library.proton"]
        await pilot.press("escape")
        await settled(pilot)
        assert app.screen is app.library_screen


async def test_help_finds_a_sign_that_is_a_key() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("slash")
        await settled(pilot)
        assert [line.name for line in app.screen.query_one(KeyLines).rows] == ["library.filter"]


@pytest.mark.parametrize(
    "keyed", [IntegApp, LibraryScreen, GameScreen, LoginScreen, ProtonScreen, WelcomeScreen, HelpScreen, LogScreen, ConfirmScreen, GameList]
)
def test_every_key_has_an_id_to_rebind_it_by_and_words_to_find_it_by(keyed: type[DOMNode]) -> None:
    bindings = [each for cls in keyed.__mro__ if cls.__module__.startswith("integ_tui") for each in vars(cls).get("BINDINGS", [])]
    assert bindings
    for binding in bindings:
        assert isinstance(binding, Binding)
        assert binding.id and (binding.tooltip or binding.description), binding


async def test_a_key_can_be_rebound_by_its_id() -> None:
    app = app_with()
    app.set_keymap({"library.proton": "o"})
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ProtonScreen))


async def test_the_palette_does_what_a_key_does() -> None:
    runtime = FakeRuntime()
    app = app_with(runtime)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"stores libraries")
        await until(pilot, lambda: app.screen.query_one(CommandList).option_count)
        await pilot.press("enter")
        await until(pilot, lambda: runtime.synced)
        assert runtime.synced == [()]


async def test_the_palette_holds_no_greyed_action() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        names = {command.title for command in app.get_system_commands(app.screen)}
        assert "Put the game on this machine" in names
        assert "Start the game, its output in a log" not in names


@pytest.mark.parametrize(("width", "shown"), [(40, False), (120, True)])
async def test_the_key_bar_leaves_out_whole_keys_but_never_help_and_quit(width: int, shown: bool) -> None:
    app = app_with()
    async with app.run_test(size=(width, 24)) as pilot:
        await settled(pilot)
        bar = screen_text(app).splitlines()[-1]
        assert "? Help" in bar and "q Quit" in bar
        assert ("v Proton" in bar) is shown


async def test_a_click_on_the_key_bar_presses_the_key() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        bar = screen_text(app).splitlines()[-1]
        await pilot.click(KeyBar, offset=(bar.index("Proton"), 0))
        await until(pilot, lambda: isinstance(app.screen, ProtonScreen))


async def test_t_changes_between_dark_and_light() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        assert app.theme == "integ-dark"
        await pilot.press("t")
        assert app.theme == "integ-light" and not app.current_theme.dark
        await pilot.press("t")
        assert app.theme == "integ-dark"


async def test_an_unknown_theme_is_the_default_one() -> None:
    assert app_with(theme="no-such-theme").theme == "integ-dark"


@pytest.mark.parametrize("theme", ["integ-dark", "integ-light"])
@pytest.mark.parametrize("system", [ColorSystem.STANDARD, ColorSystem.EIGHT_BIT])
async def test_every_part_of_a_row_can_be_read_with_few_colours(theme: str, system: ColorSystem) -> None:
    app = app_with(theme=theme)
    async with app.run_test() as pilot:
        await settled(pilot)
        games = app.library_screen.query_one(GameList)
        for part in sorted(GameList.COMPONENT_CLASSES):
            style = games.get_component_rich_style(part)
            assert isinstance(style.color, Color) and isinstance(style.bgcolor, Color)
            assert style.color.downgrade(system) != style.bgcolor.downgrade(system), part


async def test_without_colours_the_cursor_and_the_installed_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("j")
        await settled(pilot)
        text = screen_text(app)
        assert "▌✓ Clockwork Harbour" in text and " ✓ Moss & Iron" in text
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                for colour in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    if colour is not None and colour.triplet is not None:
                        assert len(set(colour.triplet)) == 1, "a colour other than grey"


async def test_a_game_without_a_terminal_to_play_in_is_not_offered_one() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("4", "G")
        await settled(pilot)
        assert app.library_screen.check_action("play", ()) is True
        assert app.library_screen.check_action("play_here", ()) is None  # nothing to suspend in a test


async def test_a_windows_game_is_not_given_the_terminal() -> None:
    launcher = FakeLauncher(runner="umu")
    app = app_with(FakeRuntime(launcher=launcher))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await app.play_here(app.parts.library.rows[1].releases[0])  # type: ignore[attr-defined]
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Clockwork Harbour is no native Linux game.\n→ p plays it, its output in a log"]
        assert launcher.asked == []


async def test_the_browser_gives_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_async(self: IntegApp) -> int:
        return 0

    monkeypatch.setattr(IntegApp, "run_async", run_async)
    assert await run_browser(FakeRuntime()) == 0


async def test_focus_goes_round_with_tab() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        focused = []
        for _ in range(3):
            await pilot.press("tab")
            focused.append(type(app.focused).__name__)
        assert focused == ["GameDetails", "Input", "GameList"]
        assert not app.library_screen.query_one("#filter", Input).has_focus

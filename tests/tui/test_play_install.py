"""Playing and installing from the main screen, with what can go wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import OptionList

from integ_runtime.cache.records import TitleRow
from integ_runtime.errors import LaunchError
from integ_server.contract.errors import IntegrityError, StorageError
from integ_tui import actions
from integ_tui.app import IntegApp
from integ_tui.screens.confirm import ChooseScreen, ConfirmScreen
from integ_tui.screens.log import LogScreen, read_tail
from integ_tui.widgets.game_list import GameList
from tests.tui.fakes_tui import (
    FakeGames,
    FakeLauncher,
    FakeLibrary,
    FakeOutcome,
    FakePlay,
    FakeRuntime,
    Gate,
    app_with,
    release,
    settled,
    shown_toasts,
    some_titles,
    title_row,
    until,
)
from tests.tui.test_library_screen import screen_text


def cursor_on(app: IntegApp, title_id: str) -> None:
    games = app.library_screen.query_one(GameList)
    games.cursor = next(n for n, entry in enumerate(games.rows) if entry.title_id == title_id)


def twice_installed() -> list[TitleRow]:
    return [title_row("moss", "Moss", release("gog:1", "Moss", installed=True), release("steam:2", "Moss", installed=True))]


async def test_a_game_runs_and_its_end_is_told() -> None:
    gate = Gate()
    launcher = FakeLauncher(gate=gate)
    app = app_with(FakeRuntime(launcher=launcher))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, gate.waiting.is_set)
        assert launcher.asked == [("run", "gog:1400", False)]
        assert "▶ Moss & Iron" in screen_text(app) and "▶ running" in screen_text(app)
        gate.open()
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Moss & Iron ended after 12 min."]
        assert "▶" not in screen_text(app)


async def test_a_game_that_somebody_else_started_is_shown_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "LOOK_EVERY_S", 0.01)
    launcher = FakeLauncher(plays=[FakePlay("gog:1400", "Moss & Iron"), FakePlay("local:kettle", "Kettle")])
    app = app_with(FakeRuntime(launcher=launcher))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: len(app.activities) == 2)
        cursor_on(app, "moss")
        await until(pilot, lambda: "▶ Moss & Iron" in screen_text(app) and "▶ running" in screen_text(app))
        await app.library_screen.integ.actions.find_plays()
        assert len(app.activities) == 2, "what is watched already is not watched twice"
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: shown_toasts(app))
        assert launcher.asked == [("stop", "gog:1400")]
        assert shown_toasts(app) == ["Moss & Iron has ended."]
        await until(pilot, lambda: "▶ Moss" not in screen_text(app))
        assert len(app.activities) == 1


async def test_a_game_that_fails_shows_its_exit_code_and_offers_its_log(tmp_path: Path) -> None:
    log = tmp_path / "moss.log"
    log.write_text("starting\n\x1b[31msegfault\x1b[0m\n")
    app = app_with(FakeRuntime(launcher=FakeLauncher(outcome=FakeOutcome(exit_code=3, log_path=log))))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Moss & Iron ended with exit code 3 after 12 min.\n→ L shows its log"]
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, LogScreen))
        await until(pilot, lambda: "segfault" in screen_text(app))
        await pilot.press("escape")
        await settled(pilot)
        assert app.screen is app.library_screen


async def test_what_a_launch_does_beside_starting_the_game_is_told_before_it_runs() -> None:
    note = "GE-Proton10-1 has used this prefix, and GE-Proton9-27 is older or of another family: a snapshot is kept before it starts"
    app = app_with(FakeRuntime(launcher=FakeLauncher(runner="umu", notes=(note,))))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: len(shown_toasts(app)) == 2)
        assert shown_toasts(app) == [note, "Moss & Iron ended after 12 min."]


async def test_a_game_that_dies_by_a_signal_says_which() -> None:
    app = app_with(FakeRuntime(launcher=FakeLauncher(outcome=FakeOutcome(exit_code=139))))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Moss & Iron ended by signal 11 after 12 min."]


async def test_a_game_that_cannot_start_is_told_with_what_to_do() -> None:
    failure = LaunchError("GE-Proton10-26 is not installed", hint="integ install-proton")
    app = app_with(FakeRuntime(launcher=FakeLauncher(fails=failure)))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["GE-Proton10-26 is not installed\n→ integ install-proton"]
        assert not len(app.activities)


async def test_play_is_grey_for_a_game_that_is_not_installed() -> None:
    launcher = FakeLauncher()
    app = app_with(FakeRuntime(launcher=launcher))
    async with app.run_test() as pilot:
        await settled(pilot)
        assert app.library_screen.check_action("play", ()) is None
        assert app.library_screen.check_action("install", ()) is True
        await pilot.press("p")
        await settled(pilot)
        assert launcher.asked == []


async def test_a_game_installed_from_two_stores_asks_which() -> None:
    launcher = FakeLauncher()
    app = app_with(FakeRuntime(library=FakeLibrary(rows=twice_installed()), launcher=launcher))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press("j", "enter")
        await until(pilot, lambda: shown_toasts(app))
        assert launcher.asked == [("run", "steam:2", False)]


async def test_leaving_the_question_plays_nothing() -> None:
    launcher = FakeLauncher()
    app = app_with(FakeRuntime(library=FakeLibrary(rows=twice_installed()), launcher=launcher))
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        assert app.screen.query_one(OptionList).option_count == 2
        await pilot.press("escape")
        await settled(pilot)
        assert launcher.asked == []


async def test_stopping_a_game_asks_first_and_then_ends_it() -> None:
    gate = Gate()
    launcher = FakeLauncher(gate=gate)
    app = app_with(FakeRuntime(launcher=launcher))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, gate.waiting.is_set)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "Stop Moss & Iron?" in screen_text(app)
        await pilot.press("y")
        await until(pilot, lambda: shown_toasts(app))
        assert ("stop", "gog:1400") in launcher.asked


async def test_leaving_while_a_game_runs_leaves_it_running() -> None:
    gate = Gate()
    launcher = FakeLauncher(gate=gate)
    app = app_with(FakeRuntime(launcher=launcher))
    async with app.run_test() as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, gate.waiting.is_set)
        await pilot.press("q")
        await pilot.pause()
    assert app.return_value == 0
    assert ("stop", "gog:1400") not in launcher.asked


@pytest.mark.parametrize(("answer", "leaves"), [("n", False), ("y", True)])
async def test_leaving_while_something_would_be_lost_asks(answer: str, leaves: bool) -> None:
    gate = Gate()
    app = app_with(FakeRuntime(sync_gate=gate))
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("r")
        await until(pilot, gate.waiting.is_set)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press(answer)
        await pilot.pause()
        assert (app.return_value == 0) is leaves
        assert (len(app.activities) == 0) is leaves or not leaves


async def test_an_install_tells_its_size_first_and_then_how_far_it_is() -> None:
    gate = Gate()
    games = FakeGames(gate=gate)
    runtime = FakeRuntime(games=games)
    app = app_with(runtime)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        text = screen_text(app)
        for part in ("Install Amber Road from GOG?", "1.2 GB", "3.4 GB", "/home/ada/Games/Amber Road"):
            assert part in text
        await pilot.press("enter")
        await until(pilot, gate.waiting.is_set)
        assert "300.0 MB of 1.2 GB 25%" in screen_text(app)
        runtime.local = [title_row("amber-road", "Amber Road", release("gog:1100", "Amber Road", installed=True))]
        gate.open()
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Amber Road is installed in /home/ada/Games/Amber Road."]
        assert games.asked == [("plan", "gog:1100"), ("install", "gog:1100")]
        await until(pilot, lambda: "✓ Amber Road" in screen_text(app))


async def test_an_install_that_was_not_agreed_to_does_nothing() -> None:
    games = FakeGames()
    app = app_with(FakeRuntime(games=games))
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("escape")
        await settled(pilot)
        assert games.asked == [("plan", "gog:1100")]


@pytest.mark.parametrize("failure", [StorageError("no space", hint="free 3 GB"), IntegrityError("a chunk is damaged")])
async def test_an_install_that_fails_is_told(failure: Exception) -> None:
    app = app_with(FakeRuntime(games=FakeGames(fails=failure)))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app)[0].startswith(str(failure))
        assert not len(app.activities)


async def test_uninstalling_asks_and_no_is_what_enter_does() -> None:
    games = FakeGames()
    app = app_with(FakeRuntime(games=games))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("enter")
        await settled(pilot)
        assert games.asked == []
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: shown_toasts(app))
        assert games.asked == [("uninstall", "gog:1400")]


async def test_two_games_at_once_are_both_shown_and_cancel_asks_which() -> None:
    gate = Gate()
    app = app_with(FakeRuntime(launcher=FakeLauncher(gate=gate), sync_gate=gate, library=FakeLibrary(rows=some_titles())))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await settled(pilot)
        cursor_on(app, "moss")
        await settled(pilot)
        await pilot.press("p", "r")
        await until(pilot, lambda: len(app.activities) == 2)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        text = screen_text(app)
        assert "Moss & Iron" in text and "Sync" in text
        await pilot.press("escape")
        gate.open()
        await until(pilot, lambda: len(shown_toasts(app)) == 2)


def test_the_end_of_a_long_log_is_what_is_read(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_bytes(b"".join(b"line %d\n" % n for n in range(20_000)))
    text = read_tail(log)
    assert text.endswith("line 19999") and text.startswith("… the first ") and len(text) < 70_000


def test_a_log_that_is_gone_is_said_so(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "none.log") == "The log can't be read: No such file or directory"

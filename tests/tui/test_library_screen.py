"""The main screen: what it shows, finds and sorts, and how it follows the library."""

from __future__ import annotations

import asyncio

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from integ_server.contract.errors import BackendUnreachableError, StorageError
from integ_tui.app import IntegApp
from integ_tui.screens.game import GameScreen
from integ_tui.screens.library import LibraryScreen
from integ_tui.widgets.activity_bar import ActivityBar
from integ_tui.widgets.game_details import GameDetails
from integ_tui.widgets.game_list import GameList
from integ_tui.widgets.tab_strip import TabStrip
from tests.tui.fakes_tui import FakeLibrary, FakeRuntime, Gate, app_with, release, settled, shown_toasts, some_titles, title_row, until


def library_of(app: IntegApp) -> LibraryScreen:
    return app.library_screen


def listed(app: IntegApp) -> list[str]:
    return [entry.title_id for entry in library_of(app).query_one(GameList).rows]


def chosen(app: IntegApp) -> str:
    entry = library_of(app).query_one(GameList).chosen
    return entry.title_id if entry else ""


def screen_text(app: IntegApp) -> str:
    """What stands on the screen, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    assert len(lines) == height
    return "\n".join("".join(segment.text for segment in line)[:width] for line in lines)


async def type_text(pilot: Pilot[int], text: str) -> None:
    await pilot.press(*("space" if char == " " else char for char in text))
    await settled(pilot)


async def test_the_list_shows_each_title_with_stores_platforms_play_time_and_last_played() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        [line] = [line for line in screen_text(app).splitlines() if "Moss & Iron" in line]
        for part in ("✓ Moss & Iron", "GOG", "L · ·", "1.6 h", "12 days ago"):
            assert part in line


async def test_hostile_titles_stay_text() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        text = screen_text(app)
        assert "Foxglove [beta]" in text
        assert "\x1b" not in text and "\u202e" not in text
        library_of(app).query_one(GameList).cursor = 1
        await settled(pilot)
        assert "[bold]or none[/]." in screen_text(app)


@pytest.mark.parametrize(("key", "tab", "count"), [("2", "steam", 6), ("3", "gog", 5), ("4", "installed", 3), ("1", "all", 9)])
async def test_a_number_shows_its_tab(key: str, tab: str, count: int) -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press(key)
        await settled(pilot)
        assert library_of(app).query_one(TabStrip).active == tab
        assert len(listed(app)) == count


async def test_left_and_right_go_round_the_tabs() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("left")
        assert library_of(app).query_one(TabStrip).active == "installed"
        await pilot.press("l")
        assert library_of(app).query_one(TabStrip).active == "all"


async def test_a_click_on_a_tab_shows_it() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.click(TabStrip, offset=(16, 0))
        await settled(pilot)
        assert library_of(app).query_one(TabStrip).active == "steam"


async def test_the_tab_keeps_the_cursor_on_its_title() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("j", "4")
        await settled(pilot)
        assert chosen(app) == "clockwork-harbour"


async def test_typing_after_a_slash_filters_and_escape_ends_it() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("slash")
        await type_text(pilot, "or ed")
        assert listed(app) == ["clockwork-harbour", "orbit"]
        await pilot.press("enter")
        assert library_of(app).query_one(GameList).has_focus
        await pilot.press("escape")
        await settled(pilot)
        assert len(listed(app)) == 9


async def test_letters_in_the_filter_are_no_commands() -> None:
    runtime = FakeRuntime()
    app = app_with(runtime)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("slash")
        await type_text(pilot, "rpiq")
        assert library_of(app).query_one("#filter", Input).value == "rpiq"
        assert app.is_running and not runtime.synced
        assert "No title fits." in screen_text(app)


async def test_sorting_goes_round_and_turns() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await settled(pilot)
        orders = []
        for key in ("s", "s", "S", "s"):
            await pilot.press(key)
            await settled(pilot)
            orders.append(listed(app)[0])
        assert orders == ["elan", "foxglove", "zephyr", "amber-road"]


@pytest.mark.parametrize(
    ("keys", "at"),
    [(["j", "j", "k"], 1), (["G"], 8), (["G", "g"], 0), (["end", "up"], 7), (["pagedown"], 8), (["k"], 0), (["G", "j"], 8)],
)
async def test_vi_and_arrow_keys_move_the_cursor(keys: list[str], at: int) -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press(*keys)
        assert library_of(app).query_one(GameList).cursor == at


async def test_a_click_chooses_a_row() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.click(GameList, offset=(5, 3))
        await settled(pilot)
        assert chosen(app) == "foxglove"


async def test_details_follow_the_cursor() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("j")
        await settled(pilot)
        text = screen_text(app)
        for part in ("Tin Lantern", "/home/ada/Games", "The Far Pier", "steam:2200"):
            assert part in text


async def test_the_details_hold_the_player_s_note_in_plain_words() -> None:
    app = app_with(FakeRuntime(library=FakeLibrary(notes="the [b]red[/b] key\n\x1b[31mis upstairs")))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        text = screen_text(app)
        for part in ("Your note", "the [b]red[/b] key", "is upstairs"):
            assert part in text
        assert "\x1b" not in text


async def test_a_slower_earlier_answer_about_a_title_is_dropped() -> None:
    slow = Gate()
    app = app_with(FakeRuntime(library=FakeLibrary(slow_details={"clockwork-harbour": slow})))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("j")
        await slow.waiting.wait()
        await pilot.press("k")
        slow.open()
        await settled(pilot)
        shown = library_of(app).shown
        assert shown is not None and shown.entry.title_id == "amber-road"
        assert "gog:1100" in screen_text(app)


async def test_the_details_are_beside_below_or_behind_enter_as_there_is_room() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        details, games = library_of(app).query_one(GameDetails), library_of(app).query_one("#games")
        assert details.region.x >= games.region.right
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert details.region.y >= games.region.bottom
        await pilot.resize_terminal(40, 24)
        await settled(pilot)
        assert not details.display
        await pilot.press("j", "enter")
        await until(pilot, lambda: isinstance(app.screen, GameScreen))
        assert "Definitive" in screen_text(app)
        await pilot.press("escape")
        await settled(pilot)
        assert app.screen is library_of(app)


async def test_details_opened_before_they_are_read_follow_on_their_own_screen() -> None:
    gate = Gate()
    app = app_with(FakeRuntime(library=FakeLibrary(slow_details={"clockwork-harbour": gate})))
    async with app.run_test(size=(40, 24)) as pilot:
        await settled(pilot)
        await pilot.press("j")
        await gate.waiting.wait()
        await pilot.press("enter")
        while not isinstance(app.screen, GameScreen):
            await asyncio.sleep(0)
        assert "Tin Lantern" not in screen_text(app)
        gate.open()
        await until(pilot, lambda: library_of(app).shown is not None)
        assert "Tin Lantern" in screen_text(app)


async def test_escape_leads_from_the_details_back_to_the_list() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: library_of(app).query_one(GameDetails).has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: library_of(app).query_one(GameList).has_focus)


async def test_a_terminal_that_becomes_narrow_takes_no_keys_with_the_details_that_it_hides() -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: library_of(app).query_one(GameDetails).has_focus)
        await pilot.resize_terminal(40, 24)
        await until(pilot, lambda: library_of(app).query_one(GameList).has_focus)


@pytest.mark.parametrize("size", [(1, 1), (10, 3), (20, 8), (40, 12), (300, 100)])
async def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.resize_terminal(*size)
        await settled(pilot)
        assert len(screen_text(app).splitlines()) == size[1]


async def test_what_another_process_changed_appears_and_the_cursor_stays_on_its_title() -> None:
    library = FakeLibrary()
    app = app_with(FakeRuntime(library=library))
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("j")
        library.put([title_row("aaa", "Aaa", release("gog:1", "Aaa")), *some_titles()])
        library_of(app).look()
        await settled(pilot)
        assert listed(app)[0] == "aaa"
        assert chosen(app) == "clockwork-harbour"


async def test_an_unchanged_library_is_not_read_again() -> None:
    library = FakeLibrary()
    app = app_with(FakeRuntime(library=library))
    async with app.run_test() as pilot:
        await settled(pilot)
        library.rows = []  # without telling
        library_of(app).look()
        await settled(pilot)
        assert len(listed(app)) == 9


async def test_the_cache_is_looked_at_all_the_time() -> None:
    library = FakeLibrary()
    app = IntegApp(FakeRuntime(library=library), watch_s=0.01)
    async with app.run_test() as pilot:
        await settled(pilot)
        library.put(some_titles()[:2])
        while len(listed(app)) != 2:
            await pilot.pause(0.01)


async def test_local_games_are_there_without_any_account() -> None:
    local = some_titles()[1:2]
    app = app_with(FakeRuntime(library=FakeLibrary(rows=[]), local=local))
    async with app.run_test() as pilot:
        await settled(pilot)
        assert listed(app) == ["clockwork-harbour"]
        assert app.screen is library_of(app)


async def test_a_cache_that_cannot_be_read_is_told_and_the_screen_stays() -> None:
    app = app_with(FakeRuntime(library=FakeLibrary(fails=StorageError("the library cache can't be used", hint="integ doctor"))))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        assert app.is_running
        assert "the library cache can't be used\n→ integ doctor" in shown_toasts(app)


async def test_sync_shows_how_far_it_is_and_what_it_changed() -> None:
    gate = Gate()
    runtime = FakeRuntime(sync_gate=gate)
    app = app_with(runtime)
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("r")
        await gate.waiting.wait()
        await pilot.pause()
        assert "90 of 214 42%" in screen_text(app)
        runtime.library.put(some_titles()[:3])
        gate.open()
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Steam: 214 games, 2 added, 1 removed"]
        assert len(listed(app)) == 3
        assert "90 of 214" not in screen_text(app)


async def test_an_unreachable_backend_is_told_and_the_library_stays() -> None:
    app = app_with(FakeRuntime(sync_fails=BackendUnreachableError("no answer", hint="integ doctor")))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("r")
        await until(pilot, lambda: shown_toasts(app))
        assert app.is_running and shown_toasts(app) == ["no answer\n→ integ doctor"]
        assert len(listed(app)) == 9


async def test_half_a_sync_is_told_and_its_good_half_is_shown() -> None:
    runtime = FakeRuntime()
    runtime.outcome.accounts.append(
        {"provider": "gog", "account": "2", "added": 0, "changed": 0, "removed": 0, "total": 0, "error": {"message": "GOG is down"}}
    )
    app = app_with(runtime)
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        runtime.library.put(some_titles()[:4])
        await pilot.press("r")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["gog: GOG is down\n→ integ sync"]
        assert len(listed(app)) == 4


async def test_a_click_on_what_goes_on_cancels_it() -> None:
    gate = Gate()
    app = app_with(FakeRuntime(sync_gate=gate))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("r")
        await gate.waiting.wait()
        await settled(pilot)
        await pilot.click(ActivityBar)
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Sync: cancelled"]


async def test_a_sync_can_be_cancelled() -> None:
    gate = Gate()
    app = app_with(FakeRuntime(sync_gate=gate))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        assert "c Cancel" not in screen_text(app)
        await pilot.press("r")
        await gate.waiting.wait()
        await settled(pilot)
        assert "c Cancel" in screen_text(app)
        await pilot.press("c")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Sync: cancelled"]
        assert not len(app.activities)

"""Signing in to the stores and out again."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from integ_server.contract.errors import AuthenticationError, ProviderUnavailableError
from integ_tui.app import IntegApp
from integ_tui.screens.confirm import ConfirmScreen
from integ_tui.screens.login import LoginScreen
from integ_tui.screens.welcome import WelcomeScreen
from integ_tui.widgets.tab_strip import TabStrip
from tests.tui.fakes_tui import (
    GOG_PAGE,
    STEAM_PAGE,
    Browser,
    FakeAccounts,
    FakeLibrary,
    FakeRuntime,
    Gate,
    app_with,
    settled,
    shown_toasts,
    some_titles,
    until,
)
from tests.tui.test_library_screen import screen_text


def secrets_shown(app: IntegApp) -> list[str]:
    return [field.value for field in app.screen.query(Input) if field.password and field.value]


async def test_steam_by_the_browser_shows_its_page_waits_and_then_syncs() -> None:
    answer, browser = Gate(), Browser()
    accounts = FakeAccounts(answer=answer)
    runtime = FakeRuntime(accounts=accounts)
    app = app_with(runtime, browser=browser)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        app.screen.query_one("#openid-key", Input).value = "0123456789ABCDEF0123456789ABCDEF"
        await pilot.press("enter")
        await until(pilot, answer.waiting.is_set)
        assert browser.opened == [STEAM_PAGE]
        text = screen_text(app)
        assert "https://steamcommunity.com/openid/login" in text and "Waiting for the browser's answer" in text
        assert "0123456789ABCDEF" not in text
        answer.open()
        await until(pilot, lambda: len(shown_toasts(app)) == 2)
        assert accounts.asked == [("browser", "steam", "0123456789ABCDEF0123456789ABCDEF")]
        assert shown_toasts(app)[0] == "Signed in to Steam as Ada."
        assert runtime.synced == [("steam",)]
        assert app.screen is app.library_screen


async def test_steam_asks_for_the_key_it_needs_before_anything_is_sent() -> None:
    accounts = FakeAccounts()
    app = app_with(FakeRuntime(accounts=accounts))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        assert "https://steamcommunity.com/dev/apikey" in screen_text(app)
        await pilot.press("enter")
        await settled(pilot)
        assert shown_toasts(app) == ["The Web API key is missing."]
        assert accounts.asked == []


async def test_a_refused_sign_in_is_told_and_the_key_does_not_stay() -> None:
    accounts = FakeAccounts(fails=AuthenticationError("Steam refused the key", hint="check the key"))
    runtime = FakeRuntime(accounts=accounts)
    app = app_with(runtime)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        app.screen.query_one("#key-account", Input).value = "ada"
        app.screen.query_one("#key-key", Input).value = "WRONG"
        app.screen.query_one("#key-key", Input).focus()
        await pilot.press("enter")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Steam refused the key\n→ check the key"]
        assert isinstance(app.screen, LoginScreen) and not secrets_shown(app)
        assert accounts.asked == [("key", "steam", "WRONG", "ada")] and not runtime.synced


async def test_a_sign_in_that_waits_can_be_cancelled_and_begun_again() -> None:
    answer = Gate()
    app = app_with(FakeRuntime(accounts=FakeAccounts(answer=answer)))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        app.screen.query_one("#openid-key", Input).value = "KEY"
        await pilot.press("enter")
        await until(pilot, answer.waiting.is_set)
        await pilot.click("#cancel")
        await settled(pilot)
        assert "Sign in with the browser" in screen_text(app) and "openid/login" not in screen_text(app)
        assert shown_toasts(app) == []


async def test_leaving_the_screen_ends_the_waiting() -> None:
    answer = Gate()
    app = app_with(FakeRuntime(accounts=FakeAccounts(answer=answer)))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        app.screen.query_one("#openid-key", Input).value = "KEY"
        await pilot.press("enter")
        await until(pilot, answer.waiting.is_set)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.library_screen)
        answer.open()
        await settled(pilot)
        assert shown_toasts(app) == []


async def test_gog_shows_its_page_and_takes_what_is_pasted() -> None:
    accounts = FakeAccounts()
    runtime = FakeRuntime(accounts=accounts)
    app = app_with(runtime)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        await pilot.press("f3")
        await until(pilot, lambda: "auth.gog.com" in screen_text(app))
        assert app.screen.query_one("#pasted", Input).has_focus
        await pilot.press("ctrl+y")
        assert app.clipboard == GOG_PAGE
        landed = "https://embed.gog.com/on_login_success?origin=client&code=abc"
        app.screen.query_one("#pasted", Input).value = f"  {landed} "
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.library_screen)
        assert accounts.asked == [("begin", "gog", "code"), ("code", "gog", landed, "st4te")]
        await until(pilot, lambda: runtime.synced)
        assert runtime.synced == [("gog",)]


async def test_a_code_too_old_is_told_and_a_fresh_page_is_shown() -> None:
    accounts = FakeAccounts(fails=AuthenticationError("GOG refused the code", hint="sign in again and paste within a minute"))
    app = app_with(FakeRuntime(accounts=accounts))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        await pilot.press("f3")
        await until(pilot, lambda: "auth.gog.com" in screen_text(app))
        app.screen.query_one("#pasted", Input).value = "old"
        await pilot.press("enter")
        await until(pilot, lambda: shown_toasts(app) and len(accounts.asked) == 3)
        assert [asked[0] for asked in accounts.asked] == ["begin", "code", "begin"]
        assert not secrets_shown(app)


async def test_without_a_desktop_the_address_is_to_be_copied() -> None:
    app = app_with(browser=Browser(works=False))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        await pilot.press("f3")
        await until(pilot, lambda: "auth.gog.com" in screen_text(app))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["There is no browser here: copy the address."]


async def test_stores_that_cannot_be_read_are_told_and_the_screen_stays() -> None:
    class Down(FakeAccounts):
        async def providers(self):  # type: ignore[no-untyped-def]
            raise ProviderUnavailableError("the backend is down")

    app = app_with(FakeRuntime(accounts=Down()))
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: shown_toasts(app))
        assert isinstance(app.screen, LoginScreen)
        assert "The stores can't be read now." in screen_text(app)


async def test_signing_out_asks_and_then_the_account_is_gone() -> None:
    accounts = FakeAccounts()
    app = app_with(FakeRuntime(accounts=accounts))
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        await until(pilot, lambda: "synced 2 days ago" in screen_text(app))
        app.screen.query_one("#accounts").focus()
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: accounts.accounts == [])
        assert accounts.asked == [("out", "steam", "76561198000000001")]
        assert "synced" not in screen_text(app)


def a_newcomer() -> FakeRuntime:
    return FakeRuntime(library=FakeLibrary(rows=[]), accounts=FakeAccounts(accounts=[]))


@pytest.mark.parametrize(("key", "store"), [("s", "steam"), ("g", "gog"), ("enter", "steam")])
async def test_a_newcomer_is_greeted_and_led_to_a_store(key: str, store: str) -> None:
    app = app_with(a_newcomer())
    async with app.run_test() as pilot:
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))
        assert "Steam was not found on this machine." in screen_text(app)
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, LoginScreen))
        await until(pilot, lambda: app.screen.query_one(TabStrip).active == store)


async def test_a_newcomer_hears_that_steam_was_found() -> None:
    newcomer = a_newcomer()
    newcomer.steam.found.append("/home/ada/.local/share/Steam")
    app = app_with(newcomer)
    async with app.run_test() as pilot:
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))
        assert "Steam is on this machine" in screen_text(app)


async def test_a_newcomer_with_local_games_sees_them_and_is_told_how_to_sign_in() -> None:
    newcomer = a_newcomer()
    newcomer.local = some_titles()[3:4]
    app = app_with(newcomer)
    async with app.run_test(notifications=True) as pilot:
        await until(pilot, lambda: shown_toasts(app))
        assert app.screen is app.library_screen and "Foxglove" in screen_text(app)
        assert "a signs in to a store" in shown_toasts(app)[0]


async def test_a_newcomer_can_look_around_first() -> None:
    app = app_with(a_newcomer())
    async with app.run_test() as pilot:
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))
        await pilot.press("l")
        await until(pilot, lambda: app.screen is app.library_screen)
        assert "No games yet." in screen_text(app)


async def test_who_is_signed_in_is_not_greeted_again() -> None:
    app = app_with(FakeRuntime(library=FakeLibrary(rows=[])))
    async with app.run_test() as pilot:
        await until(pilot, lambda: "No games yet." in screen_text(app))
        assert app.screen is app.library_screen

"""Signing in by a yes that is said elsewhere: this device at a backend, a store by the phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from integ_server.contract.errors import AuthenticationError, BackendUnreachableError, PermissionDeniedError
from integ_tui.app import IntegApp
from integ_tui.screens.code import CodeScreen
from integ_tui.screens.device import DeviceScreen
from integ_tui.screens.login import LoginScreen
from integ_tui.screens.phone import PhoneScreen
from integ_tui.screens.welcome import WelcomeScreen
from integ_tui.widgets.qr_code import QrCode
from tests.cli.test_qr import modules_of, read_halves
from tests.tui.fakes_tui import (
    DEVICE_CODE,
    QR_PAGE,
    Browser,
    FakeAccounts,
    FakeDevice,
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

PAGE = DEVICE_CODE.verification_uri_complete


def on(kind: type[Any], app: IntegApp) -> Callable[[], bool]:
    return lambda: isinstance(app.screen, kind)


def says(app: IntegApp, text: str) -> Callable[[], bool]:
    """Whether it stands on the screen, which may not be drawn yet."""
    return lambda: text in " ".join(strip.text for strip in app.screen._compositor.render_strips())


def drawn(app: IntegApp) -> list[list[bool]]:
    """The modules of the code on the screen."""
    code = app.screen.query_one(QrCode)
    return read_halves([code.render_line(y).text for y in range(code.size.height)]) if code.display else []


async def at_the_phone(pilot: Pilot[int], app: IntegApp) -> None:
    await settled(pilot)
    await pilot.press("a")
    await until(pilot, lambda: isinstance(app.screen, LoginScreen) and app.screen.query_one("#phone").display)
    app.screen.query_one("#phone-go").focus()
    await pilot.press("enter")
    await until(pilot, on(PhoneScreen, app))


async def test_a_device_shows_its_code_and_syncs_once_the_player_said_yes() -> None:
    answer, browser = Gate(), Browser()
    runtime = FakeRuntime(device=FakeDevice(is_in=False, answer=answer))
    app = app_with(runtime, browser=browser)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, answer.waiting.is_set)
        await until(pilot, says(app, "for your yes"))
        text = screen_text(app)
        assert "WDJB-MJHT" in text and "https://games.example/device" in text and "Opened in your browser; waiting for your yes" in text
        assert drawn(app)[:37] == modules_of(PAGE) and browser.opened == [PAGE]
        assert DEVICE_CODE.device_code not in text
        answer.open()
        await until(pilot, lambda: runtime.synced)
        assert runtime.synced == [()] and app.screen is app.library_screen
        assert shown_toasts(app)[0] == "Signed in to this backend as Ada."


async def test_with_no_store_linked_yet_the_stores_come_next() -> None:
    app = app_with(FakeRuntime(accounts=FakeAccounts(accounts=[]), device=FakeDevice(is_in=False, place="memory")))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, on(LoginScreen, app))
        assert "It ends with Integ" in shown_toasts(app)[1]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionDeniedError("the sign-in was refused on the page", hint="integ login --device"), "was refused on the page."),
        (AuthenticationError("the code is over: nobody confirmed it in time", hint="integ login --device"), "nobody confirmed it in time."),
        (BackendUnreachableError("no answer from https://games.example"), "No answer from https://games.example."),
    ],
)
async def test_the_end_without_a_yes_is_told_and_r_begins_again(error: Exception, said: str) -> None:
    answer = Gate()
    device = FakeDevice(is_in=False, answer=answer, fails=[error])
    app = app_with(FakeRuntime(device=device))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, answer.waiting.is_set)
        await pilot.press("r")
        await settled(pilot)
        assert device.began == 1, "while one waits there is nothing to begin again"
        answer.open()
        await until(pilot, says(app, "begins again"))
        assert said in " ".join(screen_text(app).split())
        assert drawn(app) == [] and "WDJB-MJHT" not in screen_text(app), "a code that is over misleads"
        assert shown_toasts(app) == []
        await pilot.press("r")
        await until(pilot, lambda: app.screen is app.library_screen)
        assert device.began == 2 and device.is_in


async def test_esc_ends_the_waiting_and_nothing_is_signed_in() -> None:
    answer = Gate()
    runtime = FakeRuntime(device=FakeDevice(is_in=False, answer=answer))
    app = app_with(runtime)
    async with app.run_test(notifications=True) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, answer.waiting.is_set)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.library_screen)
        answer.open()
        await settled(pilot)
        assert not runtime.device.is_in and runtime.synced == [] and shown_toasts(app) == []


@pytest.mark.parametrize(("size", "quiet"), [((80, 24), 4), ((40, 24), 2), ((120, 40), 4), ((36, 20), 0), ((60, 12), 0)])
async def test_the_code_is_whole_or_not_there_and_the_words_are_in_any_case(size: tuple[int, int], quiet: int) -> None:
    app = app_with(FakeRuntime(device=FakeDevice(is_in=False, answer=Gate())), browser=Browser(works=False))
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, says(app, "WDJB-MJHT"))
        assert "https://games.example/device" in screen_text(app)
        wanted = [row[4 - quiet : len(row) - 4 + quiet] for row in modules_of(PAGE)][4 - quiet : 33 + quiet] if quiet else []
        assert drawn(app)[: len(wanted)] == wanted and bool(drawn(app)) is bool(quiet)
        code = app.screen.query_one(QrCode)
        assert not quiet or app.screen.region.contains_region(code.region)


async def test_the_code_follows_the_size_of_the_terminal() -> None:
    app = app_with(FakeRuntime(device=FakeDevice(is_in=False, answer=Gate())), browser=Browser(works=False))
    async with app.run_test(size=(36, 12)) as pilot:
        await settled(pilot)
        await pilot.press("a")
        await until(pilot, says(app, "WDJB-MJHT"))
        assert drawn(app) == []
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: drawn(app)[:37] == modules_of(PAGE))


async def test_a_newcomer_with_a_backend_is_led_to_its_sign_in() -> None:
    runtime = FakeRuntime(library=FakeLibrary(rows=[]), device=FakeDevice(is_in=False, answer=Gate()))
    app = app_with(runtime)
    async with app.run_test(notifications=True) as pilot:
        await until(pilot, on(WelcomeScreen, app))
        assert "Sign this device in to your backend" in screen_text(app)
        await pilot.press("g")
        await settled(pilot)
        assert isinstance(app.screen, WelcomeScreen), "the stores come after the backend"
        await pilot.press("s")
        await until(pilot, on(DeviceScreen, app))
        assert shown_toasts(app) == []


async def test_with_local_games_the_way_to_the_backend_is_told() -> None:
    runtime = FakeRuntime(library=FakeLibrary(rows=[]), device=FakeDevice(is_in=False), local=some_titles()[3:4])
    app = app_with(runtime)
    async with app.run_test(notifications=True) as pilot:
        await until(pilot, lambda: shown_toasts(app))
        assert "a signs in to your backend" in shown_toasts(app)[0]


async def test_steam_by_the_phone_needs_no_key() -> None:
    scan, answer = Gate(), Gate()
    accounts = FakeAccounts(scan=scan, answer=answer)
    runtime = FakeRuntime(accounts=accounts)
    app = app_with(runtime)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await at_the_phone(pilot, app)
        await until(pilot, scan.waiting.is_set)
        assert drawn(app)[:37] == modules_of(QR_PAGE) and "Waiting for your phone" in screen_text(app)
        await pilot.press("ctrl+y")
        assert app.clipboard == QR_PAGE
        scan.open()
        await until(pilot, says(app, "Scanned. Now confirm it on your phone."))
        answer.open()
        await until(pilot, lambda: runtime.synced)
        assert runtime.synced == [("steam",)] and accounts.asked == [("qr", "steam")] and app.screen is app.library_screen


async def test_a_no_on_the_phone_is_told_and_esc_leads_back_to_the_other_ways() -> None:
    app = app_with(FakeRuntime(accounts=FakeAccounts(fails=AuthenticationError("it was refused on the phone"))))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await at_the_phone(pilot, app)
        await until(pilot, says(app, "It was refused on the phone."))
        assert isinstance(app.screen, CodeScreen)
        await pilot.press("escape")
        await until(pilot, on(LoginScreen, app))

"""The screens as pictures, each looked at before it was accepted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from integ_server.contract.errors import PermissionDeniedError
from integ_tui.screens.login import LoginScreen
from integ_tui.screens.proton import ProtonScreen
from integ_tui.screens.welcome import WelcomeScreen
from tests.tui.fakes_tui import Browser, FakeAccounts, FakeDevice, FakeLibrary, FakeProton, FakeRuntime, Gate, app_with, settled, until

Compare = Callable[..., bool]
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "40x24": (40, 24)}
THEMES = ("integ-dark", "integ-light")


def still(pilot: Pilot[int]) -> None:
    for field in pilot.app.screen.query(Input):
        field.cursor_blink = False


def pressing(*keys: str, then: Callable[[Pilot[int]], object] | None = None) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        if then is not None:
            await until(pilot, lambda: then(pilot))
        still(pilot)
        await settled(pilot)

    return before


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_library(snap_compare: Compare, size: str, theme: str) -> None:
    assert snap_compare(app_with(theme=theme), terminal_size=SIZES[size], run_before=pressing("j"))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_welcome(snap_compare: Compare, size: str, theme: str) -> None:
    app = app_with(FakeRuntime(library=FakeLibrary(rows=[]), accounts=FakeAccounts(accounts=[])), theme=theme)
    greeted = pressing(then=lambda pilot: isinstance(pilot.app.screen, WelcomeScreen))
    assert snap_compare(app, terminal_size=SIZES[size], run_before=greeted)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_proton_while_a_version_is_installed(snap_compare: Compare, size: str, theme: str) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await pressing("v", then=lambda pilot: isinstance(pilot.app.screen, ProtonScreen))(pilot)
        await pressing("2", "i", then=lambda pilot: "25%" in shown(pilot))(pilot)

    app = app_with(FakeRuntime(proton=FakeProton(gate=Gate())), theme=theme)
    assert snap_compare(app, terminal_size=SIZES[size], run_before=before)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("store", ["steam", "gog"])
def test_login(snap_compare: Compare, store: str, size: str, theme: str) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await pressing("a", then=lambda pilot: isinstance(pilot.app.screen, LoginScreen))(pilot)
        if store == "gog":
            await pressing("f3", then=lambda pilot: "auth.gog.com" in shown(pilot))(pilot)

    assert snap_compare(app_with(theme=theme), terminal_size=SIZES[size], run_before=before)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_this_device_waits_for_its_yes(snap_compare: Compare, size: str, theme: str) -> None:
    app = app_with(FakeRuntime(device=FakeDevice(is_in=False, answer=Gate())), theme=theme, browser=Browser(works=False))
    assert snap_compare(app, terminal_size=SIZES[size], run_before=pressing("a", then=lambda pilot: "WDJB-MJHT" in shown(pilot)))


@pytest.mark.parametrize("size", SIZES)
def test_a_store_s_code_waits_for_the_phone(snap_compare: Compare, size: str) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await pressing("a", then=lambda pilot: isinstance(pilot.app.screen, LoginScreen))(pilot)
        pilot.app.screen.query_one("#phone-go").focus()
        await pressing("enter", then=lambda pilot: "Waiting for your phone" in shown(pilot))(pilot)

    app = app_with(FakeRuntime(accounts=FakeAccounts(answer=Gate())))
    assert snap_compare(app, terminal_size=SIZES[size], run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_a_no_in_the_browser(snap_compare: Compare, size: str) -> None:
    refused = PermissionDeniedError("the sign-in was refused on the page", hint="integ login --device")
    app = app_with(FakeRuntime(device=FakeDevice(is_in=False, fails=[refused])))
    assert snap_compare(app, terminal_size=SIZES[size], run_before=pressing("a", then=lambda pilot: "begins again" in shown(pilot)))


def test_installed_versions(snap_compare: Compare) -> None:
    assert snap_compare(app_with(), run_before=pressing("v", then=lambda pilot: isinstance(pilot.app.screen, ProtonScreen)))


def test_confirm(snap_compare: Compare) -> None:
    assert snap_compare(app_with(), run_before=pressing("i", then=lambda pilot: "1.2 GB" in shown(pilot)))


def test_help(snap_compare: Compare) -> None:
    assert snap_compare(app_with(), run_before=pressing("question_mark"))


def test_details_at_40_columns(snap_compare: Compare) -> None:
    assert snap_compare(app_with(), terminal_size=(40, 24), run_before=pressing("j", "enter", then=lambda pilot: "Tin" in shown(pilot)))


def test_nothing_fits_the_filter(snap_compare: Compare) -> None:
    assert snap_compare(app_with(), run_before=pressing("slash", "q", "x"))


def test_without_colours(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app_with(), run_before=pressing("j"))


def shown(pilot: Pilot[int]) -> str:
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())

"""Proton versions: installing with progress, the default, removing."""

from __future__ import annotations

from textual.pilot import Pilot

from integ_server.contract.errors import IntegrityError, ProviderUnavailableError, WouldLoseDataError
from integ_tui.app import IntegApp
from integ_tui.screens.confirm import ConfirmScreen
from integ_tui.screens.proton import BuildList, ProtonScreen
from tests.tui.fakes_tui import FakeProton, FakeRuntime, Gate, app_with, settled, shown_toasts, until
from tests.tui.test_library_screen import screen_text


async def opened(app: IntegApp, pilot: Pilot[int]) -> ProtonScreen:
    await settled(pilot)
    await pilot.press("v")
    await until(pilot, lambda: isinstance(app.screen, ProtonScreen))
    screen = app.screen
    assert isinstance(screen, ProtonScreen)
    return screen


async def test_installed_versions_show_the_default_their_size_and_who_uses_them() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        await opened(app, pilot)
        text = screen_text(app)
        for part in ("★ GE-Proton10-26", "1.4 GB  default", "used by 1 game", "Steam's own"):
            assert part in text


async def test_a_version_is_installed_with_its_progress_shown() -> None:
    gate = Gate()
    proton = FakeProton(gate=gate)
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("2")
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, gate.waiting.is_set)
        assert "120.0 MB of 480.0 MB 25%" in screen_text(app)
        assert "██████░░" in screen_text(app)
        gate.open()
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["GE-Proton10-27 is installed."]
        await until(pilot, lambda: any(build.version == "GE-Proton10-27" and build.installed for build in screen.available))
        assert screen.check_action("install", ()) is None


async def test_an_install_can_be_cancelled_and_its_work_ends() -> None:
    gate = Gate()
    proton = FakeProton(gate=gate)
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test(notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("2")
        await settled(pilot)
        await pilot.press("enter")
        await until(pilot, gate.waiting.is_set)
        await pilot.press("c")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["Install GE-Proton10-27: cancelled"]
        assert ("cancelled", "GE-Proton10-27") in proton.asked
        assert "120.0 MB" not in screen_text(app)


async def test_an_install_goes_on_while_another_screen_is_shown() -> None:
    gate = Gate()
    app = app_with(FakeRuntime(proton=FakeProton(gate=gate)))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("2")
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, gate.waiting.is_set)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.library_screen)
        assert "120.0 MB of 480.0 MB 25%" in screen_text(app)
        gate.open()
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["GE-Proton10-27 is installed."]


async def test_the_same_version_is_not_installed_twice_at_once() -> None:
    gate = Gate()
    proton = FakeProton(gate=gate)
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test(notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("2")
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, gate.waiting.is_set)
        await pilot.press("i")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["GE-Proton10-27 is being installed already."]
        assert [asked for asked in proton.asked if asked[0] == "install"] == [("install", "GE-Proton10-27", "ge")]
        gate.open()


async def test_a_damaged_download_is_told() -> None:
    app = app_with(FakeRuntime(proton=FakeProton(fails=IntegrityError("it does not match its published SHA-512", hint="try again"))))
    async with app.run_test(notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("2")
        await settled(pilot)
        await pilot.press("i")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["it does not match its published SHA-512\n→ try again"]
        assert not len(app.activities)


async def test_a_feed_out_of_reach_leaves_what_is_installed() -> None:
    app = app_with(FakeRuntime(proton=FakeProton(fails_to_list=ProviderUnavailableError("GitHub did not answer", hint="try again later"))))
    async with app.run_test(notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("2")
        await until(pilot, lambda: shown_toasts(app))
        assert shown_toasts(app) == ["GitHub did not answer\n→ try again later"]
        await pilot.press("1")
        await settled(pilot)
        assert "GE-Proton8-26" in screen_text(app)


async def test_the_default_can_be_set() -> None:
    proton = FakeProton()
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test(notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("j", "d")
        await until(pilot, lambda: shown_toasts(app))
        assert ("use", "GE-Proton8-26") in proton.asked
        await until(pilot, lambda: "★ GE-Proton8-26" in screen_text(app))


async def test_removing_asks_and_says_who_uses_it() -> None:
    proton = FakeProton()
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test(notifications=True) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("j", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "Used by gog:1200." in screen_text(app) and "1.2 GB" in screen_text(app)
        await pilot.press("y")
        await until(pilot, lambda: shown_toasts(app))
        assert ("remove", "/p/8", False) in proton.asked
        await until(pilot, lambda: len(screen.query_one(BuildList).rows) == 2)


async def test_a_version_in_use_is_removed_only_after_a_second_yes() -> None:
    proton = FakeProton(fails_to_remove=WouldLoseDataError("gog:1200 uses it"))
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test(notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("j", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen) and "all the same" in app.screen.question)
        await pilot.press("y")
        await until(pilot, lambda: shown_toasts(app))
        assert [asked for asked in proton.asked if asked[0] == "remove"] == [
            ("remove", "/p/8", False),
            ("remove", "/p/8", True),
        ]


async def test_steams_own_version_cannot_be_removed() -> None:
    app = app_with()
    async with app.run_test() as pilot:
        screen = await opened(app, pilot)
        await pilot.press("G")
        await settled(pilot)
        assert screen.check_action("remove", ()) is None
        assert "Steam's own: Steam removes it, in Library, Tools" in screen_text(app)
        await pilot.press("x")
        await settled(pilot)
        assert app.screen is screen


async def test_a_version_that_integ_put_into_steams_folder_is_removed_there() -> None:
    proton = FakeProton()
    for steam in ("native", "flatpak"):
        there = {"version": "GE-Proton9-1", "family": "ge", "path": f"/s/{steam}/GE-Proton9-1"}
        proton.items.append({**there, "default": False, "used_by": [], "size_bytes": 1_000_000_000})
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test(notifications=True) as pilot:
        await opened(app, pilot)
        await pilot.press("G", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "In /s/flatpak/GE-Proton9-1." in screen_text(app)
        await pilot.press("y")
        await until(pilot, lambda: shown_toasts(app))
        assert ("remove", "/s/flatpak/GE-Proton9-1", False) in proton.asked
        assert [item["path"] for item in proton.items][-1] == "/s/native/GE-Proton9-1", "the other Steam's stays"


async def test_what_is_installed_is_removed_from_the_list_of_what_can_be_had_too() -> None:
    proton = FakeProton()
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test(notifications=True) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("2")
        await until(pilot, lambda: len(screen.query_one(BuildList).rows) == 3 and screen.tab == "available")
        await pilot.press("j", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: shown_toasts(app))
        assert ("remove", "/p/10", False) in proton.asked


async def test_another_family_is_asked_for() -> None:
    proton = FakeProton()
    app = app_with(FakeRuntime(proton=proton))
    async with app.run_test() as pilot:
        await opened(app, pilot)
        await pilot.press("f")
        await until(pilot, lambda: ("available", "umu", False) in proton.asked)
        await settled(pilot)
        assert "UMU-Proton" in screen_text(app) and "Nothing was found." in screen_text(app)
        await pilot.press("f", "f")
        await until(pilot, lambda: ("available", "wine-ge", False) in proton.asked)
        await settled(pilot)
        assert "Wine-GE, plain Wine" in screen_text(app)

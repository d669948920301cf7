"""The browser on the real runtime, the embedded backend and the sandbox: from the greeting to the end of a game."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.request
from pathlib import Path

from textual.widgets import Input

from integ_runtime.runtime import open_runtime
from integ_runtime.settings import read_settings
from integ_server.sandbox.steam_auth import Knobs, Phone
from integ_tui.app import IntegApp
from integ_tui.screens.confirm import ConfirmScreen
from integ_tui.screens.login import LoginScreen
from integ_tui.screens.proton import ProtonScreen
from integ_tui.screens.welcome import WelcomeScreen
from integ_tui.widgets.game_list import GameList
from integ_tui.widgets.tab_strip import TabStrip
from tests.backends import served
from tests.conftest_sandbox import RunningSandbox
from tests.servers import redis_server
from tests.tui.fakes_tui import settled, shown_toasts, until
from tests.tui.test_codes import says
from tests.tui.test_library_screen import screen_text


class PlayersBrowser:
    """Opens an address as a web browser would, following where it leads."""

    def __init__(self) -> None:
        self.landed = ""

    async def open(self, address: str) -> bool:
        def get() -> str:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return str(answer.url)

        self.landed = await asyncio.to_thread(get)
        return True


class Nowhere:
    """Over SSH there is no browser."""

    async def open(self, address: str) -> bool:
        return False


async def test_from_the_greeting_to_the_end_of_a_game(sandbox: RunningSandbox) -> None:
    settings = read_settings({**os.environ, "INTEG_UPSTREAM_URL": sandbox.url})
    browser = PlayersBrowser()
    async with open_runtime(settings) as runtime:
        app = IntegApp(runtime, open_url=browser.open, watch_s=0)
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))

            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, LoginScreen) and app.screen.query_one("#openid").display)
            app.screen.query_one("#openid-key", Input).value = sandbox.world.steam_key
            app.screen.query_one("#openid-key", Input).focus()
            await pilot.press("enter")
            await until(pilot, lambda: app.screen is app.library_screen)
            await until(pilot, lambda: len(app.activities) == 0 and app.library_screen.shelf.counts["steam"])

            await pilot.press("a")
            await until(pilot, lambda: isinstance(app.screen, LoginScreen))
            await until(pilot, lambda: "[Steam]" in screen_text(app) or "[GOG]" in screen_text(app))
            app.screen.query_one(TabStrip).active = "gog"
            await until(pilot, lambda: "auth.gog.com" in screen_text(app))
            await pilot.press("ctrl+o")
            await until(pilot, lambda: browser.landed and "on_login_success" in browser.landed)
            app.screen.query_one("#pasted", Input).value = browser.landed
            app.screen.query_one("#pasted", Input).focus()
            await pilot.press("enter")
            await until(pilot, lambda: app.screen is app.library_screen)
            await until(pilot, lambda: len(app.activities) == 0 and app.library_screen.shelf.counts["gog"])

            games = app.library_screen.query_one(GameList)
            native = next(
                product.id for title in sandbox.world.titles if (product := title.gog) is not None and product.content == "native-game"
            )
            row = await runtime.library.get_title(f"gog:{native}")
            games.cursor = next(n for n, entry in enumerate(games.rows) if entry.title_id == row.title_id)
            await settled(pilot)
            await pilot.press("i")
            await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            await pilot.press("enter")
            await until(pilot, lambda: app.library_screen.shelf.counts["installed"] == 1)

            app.clear_notifications()
            await pilot.press("p")
            await until(pilot, lambda: shown_toasts(app))
            assert "ended after" in shown_toasts(app)[-1]

            await pilot.press("v")
            await until(pilot, lambda: isinstance(app.screen, ProtonScreen))
            await pilot.press("2")
            screen = app.screen
            assert isinstance(screen, ProtonScreen)
            await until(pilot, lambda: screen.available)
            await pilot.press("i")
            await until(pilot, lambda: screen.installed)
            await pilot.press("escape", "q")
    assert app.return_value == 0


async def test_from_the_greeting_over_a_backend_s_code_to_its_library(sandbox: RunningSandbox, tmp_path: Path) -> None:
    with redis_server() as redis, served(tmp_path / "backend", sandbox.url, "", f"unix://{redis.folder}/s") as backend:
        settings = read_settings({**os.environ, "INTEG_BACKEND_URL": backend.url})
        user = await asyncio.to_thread(backend.new_user, "Ann")
        async with open_runtime(settings) as runtime:
            app = IntegApp(runtime, open_url=Nowhere().open, watch_s=0)
            async with app.run_test(size=(100, 30), notifications=True) as pilot:
                await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))
                await pilot.press("s")
                await until(pilot, says(app, "Code  "))
                (code,) = re.findall(r"Code  ([A-Z]{4}-[A-Z]{4})", screen_text(app))
                await asyncio.to_thread(backend.say_yes, code, user)
                await until(pilot, says(app, "[GOG]"))
                assert shown_toasts(app)[0] == "Signed in to this backend as Ann."
                sandbox.sandbox.state.part(Knobs).interval_s = 1.0
                await pilot.press("f3")
                await until(pilot, lambda: app.screen.query_one("#phone").display)
                app.screen.query_one("#phone-go").focus()
                await pilot.press("enter")
                await until(pilot, says(app, "https://s.team/q/"))
                sandbox.sandbox.state.part(Phone).newest.stage = "approved"
                await until(pilot, lambda: app.screen is app.library_screen and len(app.activities) == 0)
                await until(pilot, lambda: app.library_screen.shelf.counts["steam"])

"""Device login as a player does it: the code on a terminal, its page in Chromium on a phone's and a desk's screen, then the library."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends import Served, served
from tests.cli.terminal import on_a_terminal, plain
from tests.cli.test_qr import drawn_on, modules_of, read_halves
from tests.e2e.conftest import Player

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.integration
SMALLEST = 320
"""Pixels: what WCAG's 1.4.10 wants no page to be scrolled sideways on."""
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@pytest.fixture
def chromium(need: Callable[[str], str]) -> Iterator[Browser]:
    program = need("chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=[*quiet, "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture
def backend(tmp_path: Path, sandbox: Any) -> Iterator[Served]:
    with served(tmp_path / "backend", sandbox.url) as running:
        yield running


def seen(page: Page, name: str, heading: str) -> None:
    """
    The page with this *heading* is there: nothing sticks out to the side, and everything that is pressed is large enough for a thumb.

    Kept as a picture where one is wanted.
    """
    page.get_by_role("heading", name=heading, level=1).wait_for()  # a click does not wait for the page that it leads to
    page.wait_for_load_state()
    screen = page.viewport_size
    for width in (SMALLEST, screen["width"]):
        page.set_viewport_size({"width": width, "height": screen["height"]})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} pixels wide on a screen of {width}"
    for control in page.locator("button:visible, a.button:visible").all():
        box = control.bounding_box()
        assert box is not None and box["height"] >= 40, f"{name}: {control.inner_text()} is {box}"
    if folder := os.environ.get("PYTEST_PICTURES"):
        page.screenshot(path=f"{folder}/{page.viewport_size['width']}-{name}.png", full_page=True)


@pytest.mark.parametrize("screen", [PHONE, DESK], ids=["phone", "desk"])
def test_from_the_code_on_the_terminal_over_the_pages_to_the_library(
    home: Path, backend: Served, sandbox: Any, chromium: Browser, runtime_dir: Path, screen: dict[str, int]
) -> None:
    environ = {"INTEG_BACKEND_URL": backend.url, "XDG_RUNTIME_DIR": str(runtime_dir)}
    with on_a_terminal("login", "--device", **environ) as terminal:
        terminal.until("Confirm it only if you began this yourself.")
        found = re.search(r"^  ([A-Z]{4}-[A-Z]{4})$", plain(terminal.shown), re.M)
        assert found is not None
        code, address = found[1], f"{backend.url}/device?user_code={found[1]}"
        wanted = modules_of(address)
        assert read_halves(drawn_on(terminal.shown))[: len(wanted)] == wanted, "a phone's camera reads this address"

        page = chromium.new_page(viewport=screen)  # type: ignore[arg-type]
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        seen(page, "1-code", "Sign in a device")
        assert page.get_by_label("Code on the device").input_value() == code
        page.get_by_role("button", name="It is the same, go on").click()
        seen(page, "2-stores", "Who are you?")
        page.get_by_role("link", name="Steam", exact=True).click()
        seen(page, "3-steam", "Sign in with Steam")
        page.get_by_role("link", name="Go to Steam").click()
        seen(page, "4-key", "One more thing: a key")
        page.get_by_label("Web API key").fill(sandbox.world.steam_key)
        page.get_by_role("button", name="Sign in").click()
        seen(page, "5-confirm", "Sign in this device?")
        assert code in page.inner_text("main")
        page.get_by_role("button", name="Yes, sign it in").click()
        seen(page, "6-done", "Your device is signed in")
        assert wrong == []

        terminal.until(f"Signed in to this backend as {sandbox.world.persona}.")
        assert terminal.end() == 0

    player = Player(home, None, environ)
    player.done("sync")
    listed = {release["key"] for item in player.done("list", "--json").data["items"] for release in item["releases"]}
    assert {f"steam:{app.appid}" for app in sandbox.world.owned_steam if app.kind == "game"} <= listed


def test_no_on_the_page_is_told_on_the_terminal(home: Path, backend: Served, sandbox: Any, chromium: Browser, runtime_dir: Path) -> None:
    with on_a_terminal("login", "--device", INTEG_BACKEND_URL=backend.url, XDG_RUNTIME_DIR=str(runtime_dir)) as terminal:
        terminal.until("Confirm it only if you began this yourself.")
        found = re.search(r"^  ([A-Z]{4}-[A-Z]{4})$", plain(terminal.shown), re.M)
        assert found is not None
        page = chromium.new_page(viewport=PHONE)  # type: ignore[arg-type]
        page.goto(f"{backend.url}/sign-in")
        page.get_by_role("link", name="Steam", exact=True).click()
        page.get_by_role("link", name="Go to Steam").click()
        page.get_by_label("Web API key").fill(sandbox.world.steam_key)
        page.get_by_role("button", name="Sign in").click()
        page.goto(f"{backend.url}/device")
        page.get_by_label("Code on the device").fill(found[1].lower().replace("-", " "))
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="No", exact=True).click()
        seen(page, "7-refused", "Refused")
        terminal.until("refused on the page")
        assert terminal.end() == 4
    assert list(runtime_dir.rglob("*.json")) == []

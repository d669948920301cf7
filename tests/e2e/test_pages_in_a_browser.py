# ruff: noqa: F811
"""The pages in Chromium beyond the straight way: GOG, a phone's code, no script, no mouse, wrong codes, forms of others, both colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from integ_server.sandbox.steam_auth import Knobs, Phone
from tests.backends import Served
from tests.e2e.test_device_in_a_browser import DESK, PHONE, backend, chromium, seen  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.integration
LEAST_CONTRAST = 4.5
"""WCAG's AA for text of this size."""
_CONTRASTS = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = each => {
    for (let at = each; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const each of document.querySelectorAll("body *")) {
    if (![...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()) || !each.checkVisibility()) continue;
    const [one, other] = [light(parts(getComputedStyle(each).color)), light(behind(each))].sort((a, b) => b - a);
    found.push([each.textContent.trim().slice(0, 40), (one + 0.05) / (other + 0.05)]);
  }
  return found;
}"""


@pytest.fixture
def phone(sandbox: Any) -> Phone:
    """The Steam app, and a Steam that may be asked every second."""
    sandbox.sandbox.state.part(Knobs).interval_s = 1.0
    return sandbox.sandbox.state.part(Phone)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A phone's screen on which no page's script or policy may fail."""
    made = chromium.new_page(viewport=PHONE)  # type: ignore[arg-type]
    wrong = watched(made)
    yield made
    assert wrong == []


def watched(page: Page) -> list[str]:
    """What goes wrong on it from now on; an answer with an error's status is none of that."""
    wrong: list[str] = []
    page.on(
        "console", lambda said: wrong.append(said.text) if said.type == "error" and "Failed to load resource" not in said.text else None
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    return wrong


def a_code(backend: Served) -> dict[str, Any]:
    found: dict[str, Any] = httpx.post(f"{backend.url}/auth/device", json={"device": "Ann's Deck"}).json()["data"]
    return found


def told_to(backend: Served, code: dict[str, Any]) -> httpx.Response:
    """What the device hears."""
    return httpx.post(f"{backend.url}/auth/device/token", json={"device_code": code["device_code"]})


def by_gog(page: Page) -> None:
    """From GOG's page on Integ, over the blank one that GOG ends on, back."""
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open GOG in a new tab").click()
    opened.value.wait_for_url("**/on_login_success?**")
    landing = opened.value.url
    opened.value.close()
    page.get_by_label("The address, or the code in it").fill(landing)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_player_of_gog_signs_a_device_in_by_the_pasted_address(page: Page, backend: Served, sandbox: Any) -> None:
    code = a_code(backend)
    page.goto(code["verification_uri_complete"])
    page.get_by_role("button", name="It is the same, go on").click()
    page.get_by_role("link", name="GOG", exact=True).click()
    seen(page, "gog", "Sign in with GOG")
    page.get_by_label("The address, or the code in it").fill("nonsense")
    page.get_by_role("button", name="Sign in", exact=True).click()
    assert "GOG does not take that code" in page.get_by_role("alert").inner_text()
    seen(page, "gog-wrong", "Sign in with GOG")
    by_gog(page)
    assert sandbox.world.gog_username in page.locator("main").inner_text()
    page.get_by_role("button", name="Yes, sign it in").click()
    page.get_by_role("heading", name="Your device is signed in").wait_for()
    assert told_to(backend, code).status_code == 200


def test_the_page_follows_the_phone_by_itself(page: Page, backend: Served, sandbox: Any, phone: Phone) -> None:
    page.goto(f"{backend.url}/auth/steam/login")
    page.get_by_role("button", name="Show the code").click()
    picture = page.get_by_alt_text("QR code for the Steam app")
    seen(page, "qr", "Scan with the Steam app")
    assert picture.evaluate("each => each.complete && each.naturalWidth > 0"), "the picture is drawn"
    before = picture.get_attribute("src")
    sandbox.faults.on("qr.rotated", times=1)
    page.wait_for_function("before => document.querySelector('[data-picture]').getAttribute('src') !== before", arg=before)
    with page.expect_popup() as app:
        page.get_by_role("link", name="Open it in the Steam app").click()
    page.get_by_text("Scanned. Now confirm it on your phone.").wait_for()
    app.value.get_by_role("button", name="approve").click()
    page.wait_for_url("**/account")
    assert sandbox.world.persona in page.locator("main").inner_text()


def test_a_no_on_the_phone_is_told(page: Page, backend: Served, phone: Phone) -> None:
    page.goto(f"{backend.url}/auth/steam/login")
    page.get_by_role("button", name="Show the code").click()
    phone.newest.stage = "denied"
    assert "refused on the phone" in page.get_by_role("alert").inner_text()
    seen(page, "refused-on-the-phone", "That did not work")
    page.get_by_role("link", name="Try again").click()
    page.wait_for_url("**/auth/steam/login")


def test_all_of_it_works_without_a_script(chromium: Browser, backend: Served, phone: Phone) -> None:
    page = chromium.new_context(java_script_enabled=False, viewport=PHONE).new_page()  # type: ignore[arg-type]
    code = a_code(backend)
    page.goto(code["verification_uri_complete"])
    page.get_by_role("button", name="It is the same, go on").click()
    page.get_by_role("link", name="Steam", exact=True).click()
    page.get_by_role("button", name="Show the code").click()
    page.get_by_role("link", name="I have confirmed it").wait_for()
    phone.newest.stage = "approved"
    page.wait_for_url("**/device/confirm")  # the page asks by loading itself again
    page.get_by_role("button", name="Yes, sign it in").click()
    page.get_by_role("heading", name="Your device is signed in").wait_for()
    assert told_to(backend, code).status_code == 200


def test_all_of_it_works_without_a_mouse(page: Page, backend: Served, sandbox: Any) -> None:
    code = a_code(backend)

    def focused() -> str:
        """What has the focus; it has to show."""
        told: list[str] = page.evaluate(
            "() => { const at = document.activeElement, style = getComputedStyle(at);"
            " return [at.labels?.[0]?.textContent ?? at.textContent.trim(), style.outlineStyle]; }"
        )
        assert told[1] == "solid", f"the focus on {told[0]!r} is not to be seen"
        return told[0]

    def press_on(name: str) -> None:
        for _ in range(12):
            page.keyboard.press("Tab")
            if focused() == name:
                page.keyboard.press("Enter")
                return
        raise AssertionError(f"Tab never comes to {name!r}")

    page.goto(f"{backend.url}/device")
    assert focused() == "Code on the device", "what is to be typed has the focus at once"
    page.keyboard.type(code["user_code"].lower())
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in")
    press_on("Steam")
    page.wait_for_url("**/auth/steam/login")
    press_on("Go to Steam")
    page.wait_for_url("**/sign-in/steam/key")
    assert focused() == "Web API key"
    page.keyboard.type(sandbox.world.steam_own_key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/device/confirm")
    press_on("Yes, sign it in")
    page.get_by_role("heading", name="Your device is signed in").wait_for()
    assert told_to(backend, code).status_code == 200


def test_a_wrong_code_is_told_beside_its_field(page: Page, backend: Served) -> None:
    page.goto(f"{backend.url}/device")
    page.get_by_label("Code on the device").fill("bcdf ghjk")
    page.get_by_role("button", name="Go on").click()
    assert "No device shows this code" in page.get_by_role("alert").inner_text()
    field = page.get_by_label("Code on the device")
    assert field.get_attribute("aria-invalid") == "true"
    assert "failure" in (field.get_attribute("aria-describedby") or "")
    assert field.evaluate("each => each === document.activeElement")
    seen(page, "wrong-code", "Sign in a device")


def test_a_lost_device_is_signed_out_by_the_account_s_page(page: Page, backend: Served, sandbox: Any) -> None:
    code = a_code(backend)
    page.goto(code["verification_uri_complete"])
    page.get_by_role("button", name="It is the same, go on").click()
    page.get_by_role("link", name="GOG", exact=True).click()
    by_gog(page)
    page.get_by_role("button", name="Yes, sign it in").click()
    page.get_by_role("heading", name="Your device is signed in").wait_for()
    token = told_to(backend, code).json()["data"]["access_token"]
    page.get_by_role("link", name="Your account", exact=True).click()
    seen(page, "account-with-device", "Your account")
    page.get_by_role("button", name="Sign out Ann's Deck").click()
    page.get_by_text("Ann's Deck").wait_for(state="detached")
    assert httpx.get(f"{backend.url}/users/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    page.get_by_role("button", name="Sign out everywhere").click()
    page.wait_for_url("**/sign-in")


def test_a_form_on_somebody_else_s_page_does_nothing(page: Page, backend: Served) -> None:
    page.goto(f"{backend.url}/auth/gog/login")
    by_gog(page)
    page.wait_for_url("**/account")
    form_key = page.locator("input[name=form_key]").first.input_value()
    for key in ("", form_key):  # even if it were known
        page.goto("data:text/html,<title>elsewhere</title>")
        page.set_content(
            f'<form method=post action="{backend.url}/account/leave"><input name=form_key value="{key}"><button>win a game</button></form>'
        )
        page.get_by_role("button", name="win a game").click()
        assert "came from another page" in page.get_by_role("alert").inner_text()
    page.goto(f"{backend.url}/account")
    assert page.get_by_role("heading", name="Your account").is_visible()


def test_a_page_runs_no_script_that_is_not_its_own(chromium: Browser, backend: Served) -> None:
    page = chromium.new_page()
    refused = watched(page)
    page.goto(f"{backend.url}/device")
    page.evaluate(
        "() => { const made = document.createElement('script'); made.textContent = 'window.ran = 1'; document.body.append(made); }"
    )
    assert page.evaluate("() => window.ran") is None
    assert any("Content Security Policy" in each for each in refused)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [PHONE, DESK], ids=["phone", "desk"])
def test_every_text_is_readable_in_both_colours(
    chromium: Browser,
    backend: Served,
    phone: Phone,
    scheme: Any,
    screen: Any,
) -> None:
    page = chromium.new_context(color_scheme=scheme, viewport=screen).new_page()

    def looked_at(name: str, heading: str) -> None:
        seen(page, f"{scheme}-{name}", heading)
        pale = [(text, round(ratio, 2)) for text, ratio in page.evaluate(_CONTRASTS) if ratio < LEAST_CONTRAST]
        assert not pale, f"{name}: {pale}"

    code = a_code(backend)
    page.goto(f"{backend.url}/device?user_code=BCDF-GHJK")
    page.get_by_role("button", name="It is the same, go on").click()
    page.get_by_role("alert").wait_for()
    looked_at("wrong-code", "Sign in a device")
    page.goto(code["verification_uri_complete"])
    looked_at("code", "Sign in a device")
    page.get_by_role("button", name="It is the same, go on").click()
    looked_at("stores", "Who are you?")
    page.goto(f"{backend.url}/auth/steam/login")
    looked_at("steam", "Sign in with Steam")
    page.get_by_role("button", name="Show the code").click()
    looked_at("qr", "Scan with the Steam app")
    page.goto(f"{backend.url}/sign-in/steam/openid")
    looked_at("key", "One more thing: a key")
    page.goto(f"{backend.url}/auth/gog/login")
    looked_at("gog", "Sign in with GOG")
    by_gog(page)
    page.wait_for_url("**/device/confirm")
    looked_at("confirm", "Sign in this device?")
    page.get_by_role("button", name="No", exact=True).click()
    looked_at("refused", "Refused")
    page.goto(f"{backend.url}/account")
    looked_at("account", "Your account")
    page.goto(f"{backend.url}/auth/steam/callback?state=made-up")
    looked_at("failure", "That did not work")
